#include "guest_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "guest_log.h"
#include "guest_report.h"
#include "guest_stream.h"

/* Of a frame's length at most; a socket's buffer is smaller than that. */
#define DRAIN_READS 256

struct guest_link {
	struct loop *loop;
	struct guest_link_config cfg;
	struct guest_stream control;
	struct guest_log log;
	uint64_t control_since, log_since; /* when each was opened last; 0: never */
	bool hello;
	bool ready;
	bool exited;
	bool faulty;
	uint64_t ping_sent, ping_heard; /* numbers of the last PING and PONG */
};

static void control_close(struct guest_link *g)
{
	bool was_up = g->hello && g->control.fd >= 0;

	guest_stream_close(&g->control);
	g->hello = false;
	if (was_up && g->cfg.ops->linked)
		g->cfg.ops->linked(g->cfg.user, false);
}

static void fault(struct guest_link *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fault(struct guest_link *g, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (g->faulty)
		return;
	g->faulty = true;
	control_close(g);
	g->cfg.ops->fault(g->cfg.user, text);
}

static int send_frame(struct guest_link *g, struct guest_writer *w)
{
	/* The socket's buffer is larger than any frame sent here; the guest that does not read
	 * loses the link. */
	return guest_stream_send(&g->control, w->buf, guest_writer_end(w));
}

static int send_config(struct guest_link *g)
{
	const size_t cap = GUEST_FRAME_HDR_LEN + GUEST_FRAME_MAX;
	_cleanup_free_ uint8_t *buf = malloc(cap);
	const struct guest_link_config *c = &g->cfg;
	const struct manifest *m = c->manifest;
	struct guest_writer w;

	if (!buf)
		return -ENOMEM;
	guest_writer_begin(&w, buf, cap, GUEST_CONFIG);
	guest_put_text(&w, GUEST_F_HOSTNAME, c->hostname ? c->hostname : m->name);
	guest_put_text(&w, GUEST_F_USER, m->user);
	guest_put_text(&w, GUEST_F_CWD, m->workdir);
	guest_put_u64(&w, GUEST_F_TIME_NS, clock_real_ns());
	guest_put_u32(&w, GUEST_F_HAS_STATE, m->state > 0);
	for (char **a = m->argv; *a; a++)
		guest_put_text(&w, GUEST_F_ARGV, *a);
	for (char **v = m->env; *v; v++)
		guest_put_text(&w, GUEST_F_ENV, *v);
	for (char *const *v = c->extra_env; v && *v; v++)
		guest_put_text(&w, GUEST_F_ENV, *v);
	guest_put_u32(&w, GUEST_F_TTY, c->tty);
	if (c->tty && c->rows && c->cols) {
		guest_put_u32(&w, GUEST_F_ROWS, c->rows);
		guest_put_u32(&w, GUEST_F_COLS, c->cols);
	}
	guest_put_u32(&w, GUEST_F_STDIN, c->open_stdin);
	return send_frame(g, &w);
}

static int send_pong(struct guest_link *g, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	_cleanup_free_ uint8_t *buf = malloc(GUEST_FRAME_HDR_LEN + h->len);
	struct guest_writer w;

	if (!buf)
		return -ENOMEM;
	guest_writer_begin(&w, buf, GUEST_FRAME_HDR_LEN + h->len, GUEST_PONG);
	guest_put_raw(&w, payload, h->len);
	return send_frame(g, &w);
}

static void take_ready(struct guest_link *g)
{
	if (g->ready)
		return;
	g->ready = true;
	g->cfg.ops->ready(g->cfg.user);
}

static void take_exited(struct guest_link *g, const struct guest_report *rep)
{
	if (g->exited)
		return;
	g->exited = true;
	g->cfg.ops->exited(g->cfg.user, rep->has_code ? (int)rep->code : -1, (int)rep->signal);
}

/* A new control stream: the guest says where it is, and gets what it needs. */
static int take_hello(struct guest_link *g, const struct guest_report *rep)
{
	uint8_t buf[GUEST_SMALL_FRAME];
	int r;

	if (g->hello || !rep->has_version)
		return -EPROTO;
	if (rep->version != GUEST_PROTO_VERSION) {
		fault(g,
			"the guest's kosvm-init speaks version %u, kosvmd %d: import the "
			"initramfs again",
			rep->version, GUEST_PROTO_VERSION);
		return 0;
	}
	/* An agent is started once in the life of a guest, and does not come back from its end. */
	if (rep->phase > GUEST_PHASE_ENDED || (g->ready && rep->phase < GUEST_PHASE_RUNS) ||
		(g->exited && rep->phase < GUEST_PHASE_ENDED) ||
		(rep->phase == GUEST_PHASE_ENDED && !guest_report_is_end(rep)))
		return -EPROTO;
	g->hello = true;
	g->ping_heard = g->ping_sent;
	if (rep->phase == GUEST_PHASE_WANTS_CONFIG)
		r = send_config(g);
	else
		r = guest_stream_send(&g->control, buf,
			guest_make_u64(buf, GUEST_WELCOME, GUEST_F_TIME_NS, clock_real_ns()));
	if (r < 0) {
		fault(g, "configuration cannot be sent to the guest: %s", strerror(-r));
		return 0;
	}
	if (g->cfg.ops->linked)
		g->cfg.ops->linked(g->cfg.user, true);
	if (rep->phase >= GUEST_PHASE_RUNS)
		take_ready(g);
	if (rep->phase == GUEST_PHASE_ENDED)
		take_exited(g, rep);
	return 0;
}

/* The answer to one of our pings that was not answered yet. */
static int take_pong(struct guest_link *g, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	struct guest_value v;
	uint64_t number;
	size_t pos = 0;

	if (guest_field_next(payload, h->len, &pos, &v) != 1 || v.field != GUEST_F_BYTES ||
		guest_value_u64(&v, &number) < 0 || number <= g->ping_heard ||
		number > g->ping_sent)
		return -EPROTO;
	g->ping_heard = number;
	if (g->cfg.ops->beat)
		g->cfg.ops->beat(g->cfg.user);
	return 0;
}

static int control_frame(
	struct guest_stream *s, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	struct guest_link *g = container_of(s, struct guest_link, control);
	struct guest_report rep = { 0 };
	int r = 0;

	/* PING and PONG carry anything at all, the others fields. */
	if (h->type != GUEST_PING && h->type != GUEST_PONG)
		r = guest_report_read(&rep, payload, h->len);
	if (r < 0)
		return r;
	if (h->type != GUEST_HELLO && !g->hello)
		return -EPROTO;
	switch (h->type) {
	case GUEST_HELLO:
		return take_hello(g, &rep);
	case GUEST_READY:
		if (g->ready)
			return -EPROTO;
		take_ready(g);
		return 0;
	case GUEST_EXITED:
		if (g->exited || !g->ready || !guest_report_is_end(&rep))
			return -EPROTO;
		take_exited(g, &rep);
		return 0;
	case GUEST_ERROR:
		fault(g, "guest: %s", rep.text);
		return 0;
	case GUEST_PING:
		r = send_pong(g, h, payload);
		if (r < 0)
			fault(g, "the guest does not read its control stream: %s", strerror(-r));
		return 0;
	case GUEST_PONG:
		return take_pong(g, h, payload);
	case GUEST_BYE:
		control_close(g); /* kosvm-init waits for that before it powers off */
		return 0;
	default:
		return -EPROTO;
	}
}

static void control_ended(struct guest_stream *s, int err)
{
	struct guest_link *g = container_of(s, struct guest_link, control);
	bool was_up = g->hello;

	g->hello = false;
	if (was_up && g->cfg.ops->linked)
		g->cfg.ops->linked(g->cfg.user, false);
	if (err == -EPROTO)
		fault(g, "guest broke the protocol on its control stream");
}

static void log_broken(struct guest_log *l)
{
	fault(container_of(l, struct guest_link, log),
		"guest broke the protocol on its log stream");
}

/* ---- the whole ---- */

int guest_link_new(struct guest_link **ret, struct loop *loop, const struct guest_link_config *cfg,
	struct kerr *e)
{
	struct guest_link *g = calloc(1, sizeof(*g));

	if (!g)
		return kerr_errno(e, ENOMEM, "guest link");
	g->loop = loop;
	g->cfg = *cfg;
	g->ready = cfg->resumed;
	g->control = (struct guest_stream){
		.w = LOOP_FD_INIT, .fd = -1, .frame = control_frame, .ended = control_ended
	};
	guest_log_init(&g->log, loop, cfg->log, log_broken);
	*ret = g;
	return 0;
}

void guest_link_free(struct guest_link *g)
{
	if (!g)
		return;
	guest_stream_close(&g->control);
	guest_log_done(&g->log);
	free(g);
}

int guest_link_accept(struct guest_link *g, uint32_t port, uint32_t src_port, int *ret_fd)
{
	bool control = port == GUEST_PORT_CONTROL;
	struct guest_stream *s = control ? &g->control : &g->log.stream;
	uint64_t *since = control ? &g->control_since : &g->log_since;
	uint64_t now = clock_mono_ns();
	int r;

	if ((!control && port != GUEST_PORT_LOG) || g->faulty || s->fd >= 0 ||
		src_port >= GUEST_SRC_PORT_END)
		return -ECONNREFUSED;
	/* A guest that does nothing but dial must not keep us busy. */
	if (*since && now - *since < GUEST_LINK_PAUSE_MS * CLOCK_NS_PER_MS)
		return -ECONNREFUSED;
	r = guest_stream_open(s, g->loop, ret_fd);
	if (r < 0)
		return r;
	*since = now;
	if (!control)
		guest_log_restart(&g->log);
	return 0;
}

bool guest_link_is_up(const struct guest_link *g)
{
	return g->hello && g->control.fd >= 0;
}

int guest_link_shutdown(struct guest_link *g, uint64_t grace_ns)
{
	uint64_t ms = grace_ns / CLOCK_NS_PER_MS;
	uint8_t buf[GUEST_SMALL_FRAME];

	/* Before its configuration the guest has nothing to end, and would not understand. */
	if (!guest_link_is_up(g))
		return -ENOTCONN;
	return guest_stream_send(&g->control, buf,
		guest_make_u32(buf, GUEST_SHUTDOWN, GUEST_F_GRACE_MS,
			ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX));
}

int guest_link_ping(struct guest_link *g)
{
	uint8_t buf[GUEST_SMALL_FRAME];
	int r;

	if (!guest_link_is_up(g))
		return -ENOTCONN;
	r = guest_stream_send(
		&g->control, buf, guest_make_u64(buf, GUEST_PING, GUEST_F_BYTES, g->ping_sent + 1));
	if (r == 0)
		g->ping_sent++;
	return r;
}

int guest_link_signal(struct guest_link *g, int signo)
{
	uint8_t buf[GUEST_SMALL_FRAME];

	if (signo < 1 || signo > 64)
		return -EINVAL;
	if (!guest_link_is_up(g))
		return -ENOTCONN;
	return guest_stream_send(&g->control, buf, guest_make_signal(buf, (uint32_t)signo));
}

void guest_link_drain(struct guest_link *g)
{
	struct guest_stream *both[] = { &g->log.stream, &g->control };

	for (size_t i = 0; i < array_size(both); i++) {
		/*
		 * The VMM is gone and what is in the socket finite; unless the
		 * VMM was the guest's in the end and left somebody behind.
		 */
		for (int n = 0; n < DRAIN_READS && both[i]->fd >= 0; n++) {
			if (guest_stream_read(both[i]) != 1)
				break;
		}
		guest_stream_close(both[i]);
	}
	g->hello = false;
}
