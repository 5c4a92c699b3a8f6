#include "link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "child.h"

/* Room that PONG leaves to our own reports. */
#define LINK_RESERVE 4096u
#define LINK_BYE_MS  300

static void link_send(struct link *l, struct guest_writer *w)
{
	if (chan_is_open(&l->chan))
		(void)chan_send_made(&l->chan, w->buf, guest_writer_end(w));
}

void link_error(struct link *l, const char *text)
{
	uint8_t buf[1024];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_ERROR);
	guest_put_text(&w, GUEST_F_TEXT, text);
	link_send(l, &w);
}

static int take_shutdown(struct link *l, const uint8_t *payload, size_t len)
{
	uint32_t grace = LINK_GRACE_MS;
	struct guest_value v;
	size_t pos = 0;
	int r;

	while ((r = guest_field_next(payload, len, &pos, &v)) > 0) {
		if (v.field == GUEST_F_GRACE_MS && guest_value_u32(&v, &grace) < 0)
			return -EPROTO;
	}
	if (r < 0)
		return r;
	if (!l->stopping) {
		l->stopping = true;
		l->ops->shutdown(l, grace);
	}
	return 0;
}

static int take_welcome(struct link *l, const uint8_t *payload, size_t len)
{
	struct guest_value v;
	uint64_t now = 0;
	size_t pos = 0;
	int r;

	while ((r = guest_field_next(payload, len, &pos, &v)) > 0) {
		if (v.field == GUEST_F_TIME_NS && guest_value_u64(&v, &now) < 0)
			return -EPROTO;
	}
	if (r == 0)
		l->ops->welcome(l, now);
	return r;
}

static int take_signal(struct link *l, const uint8_t *payload, size_t len)
{
	uint32_t signo;
	int r = child_signal_decode(payload, len, &signo);

	if (r == 0)
		l->ops->signal(l, (int)signo);
	return r;
}

static int link_frame(struct chan *c, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	struct link *l = container_of(c, struct link, chan);
	size_t need;

	dial_good(&l->dial);
	switch (h->type) {
	case GUEST_CONFIG:
	case GUEST_WELCOME:
		if (l->answered)
			return -EPROTO;
		l->answered = true;
		if (h->type == GUEST_WELCOME)
			return take_welcome(l, payload, h->len);
		l->ops->config(l, payload, h->len);
		return 0;
	case GUEST_SIGNAL:
		return take_signal(l, payload, h->len);
	case GUEST_SHUTDOWN:
		return take_shutdown(l, payload, h->len);
	case GUEST_PING:
		need = h->len + LINK_RESERVE;
		if (chan_room(c) < (need < GUEST_FRAME_MAX ? need : GUEST_FRAME_MAX))
			return CHAN_HOLD;
		return chan_send(c, GUEST_PONG, payload, h->len);
	default:
		return -EPROTO;
	}
}

static void link_space(struct chan *c)
{
	chan_resume(c);
}

static void link_closed(struct chan *c, int err)
{
	struct link *l = container_of(c, struct link, chan);

	dial_again(&l->dial);
	l->ops->lost(l, err);
}

static const struct chan_ops link_ops = {
	.frame = link_frame,
	.space = link_space,
	.closed = link_closed,
};

static void say_failed(struct link *l)
{
	if (!l->failed[0] || l->said_failed || !chan_is_open(&l->chan))
		return;
	l->said_failed = true;
	link_error(l, l->failed);
}

static void say_hello(struct link *l)
{
	uint8_t buf[256];
	struct guest_writer w;
	struct utsname u = { 0 };

	(void)uname(&u);
	guest_writer_begin(&w, buf, sizeof(buf), GUEST_HELLO);
	guest_put_u32(&w, GUEST_F_PROTO_VERSION, GUEST_PROTO_VERSION);
	guest_put_text(&w, GUEST_F_KERNEL, u.release);
	guest_put_u32(&w, GUEST_F_PHASE, l->phase);
	if (l->phase == GUEST_PHASE_RUNS)
		guest_put_u32(&w, GUEST_F_PID, l->pid);
	if (l->phase == GUEST_PHASE_ENDED)
		child_put_status(&w, l->status);
	link_send(l, &w);
}

static void link_connected(struct dial *d, int fd)
{
	struct link *l = container_of(d, struct link, dial);

	if (chan_open(&l->chan, d->loop, fd, &link_ops) < 0) {
		(void)close(fd);
		dial_again(d);
		return;
	}
	l->answered = l->said_failed = false;
	say_hello(l);
	say_failed(l);
	l->ops->up(l);
}

void link_init(
	struct link *l, struct loop *loop, const struct link_ops *ops, int (*open)(uint32_t port))
{
	l->ops = ops;
	l->answered = l->stopping = l->said_failed = false;
	l->phase = GUEST_PHASE_WANTS_CONFIG;
	l->pid = 0;
	l->status = 0;
	l->failed[0] = '\0';
	l->chan.fd = -1;
	dial_init(&l->dial, loop, GUEST_PORT_CONTROL, open, link_connected);
}

void link_start(struct link *l)
{
	dial_start(&l->dial);
}

void link_done(struct link *l)
{
	dial_done(&l->dial);
	chan_done(&l->chan);
}

void link_ready(struct link *l, uint32_t pid)
{
	uint8_t buf[GUEST_SMALL_FRAME];

	l->phase = GUEST_PHASE_RUNS;
	l->pid = pid;
	if (chan_is_open(&l->chan))
		(void)chan_send_made(
			&l->chan, buf, guest_make_u32(buf, GUEST_READY, GUEST_F_PID, pid));
}

void link_failed(struct link *l, const char *text)
{
	(void)snprintf(l->failed, sizeof(l->failed), "%s", text);
	say_failed(l);
}

void link_exited(struct link *l, int status)
{
	uint8_t buf[GUEST_SMALL_FRAME];

	l->phase = GUEST_PHASE_ENDED;
	l->status = status;
	if (chan_is_open(&l->chan))
		(void)chan_send_made(&l->chan, buf, child_exited_frame(buf, sizeof(buf), status));
}

void link_bye(struct link *l)
{
	struct pollfd p = { .fd = l->chan.fd, .events = POLLIN };
	uint64_t end = clock_mono_ns() + LINK_BYE_MS * CLOCK_NS_PER_MS;
	uint8_t scrap[256];

	dial_done(&l->dial);
	if (!chan_is_open(&l->chan))
		return;
	(void)chan_send(&l->chan, GUEST_BYE, NULL, 0);
	if (!chan_flush_wait(&l->chan, LINK_BYE_MS))
		return;
	/* A power-off drops what is still on its way: the host's closing says that all was read. */
	while (clock_mono_ns() < end && poll(&p, 1, LINK_BYE_MS) > 0) {
		ssize_t n = recv(p.fd, scrap, sizeof(scrap), 0);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			break;
	}
}
