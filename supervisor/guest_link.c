#include "guest_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>

#define FRAME_BUF (GUEST_FRAME_HDR_LEN + GUEST_FRAME_MAX)
/* Of FRAME_BUF at most; a socket's buffer is smaller than that. */
#define DRAIN_READS 256

/* One stream of frames from the guest. */
struct stream {
	struct loop_fd w;
	struct guest_link *link;
	int fd;
	bool used; /* each is accepted once in a boot */
	int (*frame)(struct guest_link *g, const struct guest_frame_hdr *h, const uint8_t *payload);
	uint8_t *buf; /* FRAME_BUF, while open */
	size_t len;
};

struct guest_link {
	struct loop *loop;
	struct guest_link_config cfg;
	struct stream control;
	struct stream log;
	bool hello;
	bool ready;
	bool exited;
};

static void stream_close(struct stream *s)
{
	loop_fd_del(&s->w);
	close_fd(&s->fd);
	free(s->buf);
	s->buf = NULL;
	s->len = 0;
}

static void fault(struct guest_link *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fault(struct guest_link *g, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	stream_close(&g->control);
	g->cfg.ops->fault(g->cfg.user, text);
}

/* Handles the whole frames that are there. -EPROTO, or 0. */
static int take_frames(struct stream *s)
{
	size_t pos = 0;

	while (s->buf && s->len - pos >= GUEST_FRAME_HDR_LEN) {
		struct guest_frame_hdr h;
		int r = guest_hdr_decode(s->buf + pos, &h);

		if (r < 0)
			return r;
		if (s->len - pos - GUEST_FRAME_HDR_LEN < h.len)
			break;
		r = s->frame(s->link, &h, s->buf + pos + GUEST_FRAME_HDR_LEN);
		if (r < 0)
			return r;
		pos += GUEST_FRAME_HDR_LEN + h.len;
	}
	if (s->buf && pos > 0) {
		memmove(s->buf, s->buf + pos, s->len - pos);
		s->len -= pos;
	}
	return 0;
}

/* Reads once: 1 more may be there, 0 nothing now, -errno the stream is over. */
static int stream_read(struct stream *s)
{
	ssize_t n = recv(s->fd, s->buf + s->len, FRAME_BUF - s->len, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ENODATA;
	s->len += (size_t)n;
	return take_frames(s) < 0 ? -EPROTO : 1;
}

static void stream_ready(struct loop_fd *w, uint32_t events)
{
	struct stream *s = container_of(w, struct stream, w);
	struct guest_link *g = s->link;
	int r;

	(void)events;
	r = stream_read(s);
	if (r == -EPROTO)
		fault(g, "guest broke the protocol on its %s stream",
			s == &g->log ? "log" : "control");
	if (r < 0)
		stream_close(s);
}

static int send_frame(struct guest_link *g, struct guest_writer *w)
{
	int len = guest_writer_end(w);
	ssize_t n;

	if (len < 0)
		return len;
	/* The socket's buffer is larger than any frame sent here; the guest that does not read
	 * loses the link. */
	n = send(g->control.fd, w->buf, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	return n == len ? 0 : -EAGAIN;
}

static int send_config(struct guest_link *g)
{
	_cleanup_free_ uint8_t *buf = malloc(FRAME_BUF);
	const struct manifest *m = g->cfg.manifest;
	struct guest_writer w;

	if (!buf)
		return -ENOMEM;
	guest_writer_begin(&w, buf, FRAME_BUF, GUEST_CONFIG);
	guest_put_text(&w, GUEST_F_HOSTNAME, m->name);
	guest_put_text(&w, GUEST_F_USER, m->user);
	guest_put_text(&w, GUEST_F_CWD, m->workdir);
	guest_put_u64(&w, GUEST_F_TIME_NS, clock_real_ns());
	guest_put_u32(&w, GUEST_F_HAS_STATE, m->state > 0);
	for (char **a = m->argv; *a; a++)
		guest_put_text(&w, GUEST_F_ARGV, *a);
	for (char **v = m->env; *v; v++)
		guest_put_text(&w, GUEST_F_ENV, *v);
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

struct report {
	uint32_t code;
	uint32_t signal;
	bool has_code;
	uint32_t version;
	bool has_signal;
	bool has_version;
	char text[400];
};

/* It ends up in logs and on terminals: printable ASCII only. */
static void take_text(struct report *ret, const struct guest_value *v)
{
	size_t n = v->len < sizeof(ret->text) - 1 ? v->len : sizeof(ret->text) - 1;

	for (size_t i = 0; i < n; i++)
		ret->text[i] = v->data[i] >= 0x20 && v->data[i] <= 0x7e ? (char)v->data[i] : '?';
	ret->text[n] = '\0';
}

static int read_report(const struct guest_frame_hdr *h, const uint8_t *payload, struct report *ret)
{
	struct guest_value v;
	size_t pos = 0;
	int r;

	*ret = (struct report){ 0 };
	while ((r = guest_field_next(payload, h->len, &pos, &v)) == 1) {
		if (v.field == GUEST_F_CODE) {
			ret->has_code = true;
			r = guest_value_u32(&v, &ret->code);
		} else if (v.field == GUEST_F_SIGNAL) {
			ret->has_signal = true;
			r = guest_value_u32(&v, &ret->signal);
		} else if (v.field == GUEST_F_PROTO_VERSION) {
			ret->has_version = true;
			r = guest_value_u32(&v, &ret->version);
		} else if (v.field == GUEST_F_TEXT) {
			take_text(ret, &v);
		}
		if (r < 0)
			return r;
	}
	return r;
}

static int control_frame(
	struct guest_link *g, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	struct report rep = { 0 };
	int r = 0;

	/* PING and PONG carry anything at all, the others fields. */
	if (h->type != GUEST_PING && h->type != GUEST_PONG)
		r = read_report(h, payload, &rep);
	if (r < 0)
		return r;
	if (h->type != GUEST_HELLO && !g->hello)
		return -EPROTO;
	switch (h->type) {
	case GUEST_HELLO:
		if (g->hello || !rep.has_version)
			return -EPROTO;
		g->hello = true;
		if (rep.version != GUEST_PROTO_VERSION) {
			fault(g,
				"the guest's kosvm-init speaks version %u, kosvmd %d: import the "
				"initramfs again",
				rep.version, GUEST_PROTO_VERSION);
			return 0;
		}
		r = send_config(g);
		if (r < 0)
			fault(g, "configuration cannot be sent to the guest: %s", strerror(-r));
		return 0;
	case GUEST_READY:
		if (g->ready)
			return -EPROTO;
		g->ready = true;
		g->cfg.ops->ready(g->cfg.user);
		return 0;
	case GUEST_EXITED:
		if (g->exited || !g->ready || rep.has_code == rep.has_signal || rep.code > 255 ||
			rep.signal > 64)
			return -EPROTO;
		g->exited = true;
		g->cfg.ops->exited(g->cfg.user, rep.has_code ? (int)rep.code : -1, (int)rep.signal);
		return 0;
	case GUEST_ERROR:
		fault(g, "guest: %s", rep.text);
		return 0;
	case GUEST_PING:
		r = send_pong(g, h, payload);
		if (r < 0)
			fault(g, "the guest does not read its control stream: %s", strerror(-r));
		return 0;
	case GUEST_BYE:
		stream_close(&g->control); /* kosvm-init waits for that before it powers off */
		return 0;
	default:
		return -EPROTO;
	}
}

static int log_frame(struct guest_link *g, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	if (h->type != GUEST_STDOUT && h->type != GUEST_STDERR)
		return -EPROTO;
	agent_log_append(g->cfg.log, h->type == GUEST_STDOUT ? AGENT_LOG_STDOUT : AGENT_LOG_STDERR,
		payload, h->len);
	return 0;
}

int guest_link_new(struct guest_link **ret, struct loop *loop, const struct guest_link_config *cfg,
	struct kerr *e)
{
	struct guest_link *g = calloc(1, sizeof(*g));

	if (!g)
		return kerr_errno(e, ENOMEM, "guest link");
	g->loop = loop;
	g->cfg = *cfg;
	g->control = (struct stream){
		.link = g, .fd = -1, .frame = control_frame, .w = { .fn = stream_ready, .fd = -1 }
	};
	g->log = (struct stream){
		.link = g, .fd = -1, .frame = log_frame, .w = { .fn = stream_ready, .fd = -1 }
	};
	*ret = g;
	return 0;
}

void guest_link_free(struct guest_link *g)
{
	if (!g)
		return;
	stream_close(&g->control);
	stream_close(&g->log);
	free(g);
}

int guest_link_accept(struct guest_link *g, uint32_t port, uint32_t src_port, int *ret_fd)
{
	struct stream *s = port == GUEST_PORT_CONTROL ? &g->control
		: port == GUEST_PORT_LOG              ? &g->log
						      : NULL;
	int sv[2];
	int r;

	if (!s || s->used || src_port >= GUEST_SRC_PORT_END)
		return -ECONNREFUSED;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0)
		return -errno;
	s->buf = malloc(FRAME_BUF);
	r = s->buf ? loop_fd_add(g->loop, &s->w, sv[0], EPOLLIN) : -ENOMEM;
	if (r < 0) {
		free(s->buf);
		s->buf = NULL;
		(void)close(sv[0]);
		(void)close(sv[1]);
		return r;
	}
	s->fd = sv[0];
	s->used = true;
	*ret_fd = sv[1];
	return 0;
}

int guest_link_shutdown(struct guest_link *g, uint64_t grace_ns)
{
	uint8_t buf[64];
	struct guest_writer w;

	/* Before its configuration the guest has nothing to end, and would not understand. */
	if (g->control.fd < 0 || !g->hello)
		return -ENOTCONN;
	guest_writer_begin(&w, buf, sizeof(buf), GUEST_SHUTDOWN);
	guest_put_u32(&w, GUEST_F_GRACE_MS, (uint32_t)(grace_ns / CLOCK_NS_PER_MS));
	return send_frame(g, &w);
}

void guest_link_drain(struct guest_link *g)
{
	struct stream *both[] = { &g->log, &g->control };

	for (size_t i = 0; i < array_size(both); i++) {
		/*
		 * The VMM is gone and what is in the socket finite; unless the
		 * VMM was the guest's in the end and left somebody behind.
		 */
		for (int n = 0; n < DRAIN_READS && both[i]->fd >= 0; n++) {
			if (stream_read(both[i]) != 1)
				break;
		}
		stream_close(both[i]);
	}
}
