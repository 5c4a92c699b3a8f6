#include "link.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/utsname.h>

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

static int link_frame(struct chan *c, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	struct link *l = container_of(c, struct link, chan);
	size_t need;

	switch (h->type) {
	case GUEST_CONFIG:
		if (l->configured)
			return -EPROTO;
		l->configured = true;
		l->ops->config(l, payload, h->len);
		return 0;
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

	l->ops->lost(l, err);
}

static const struct chan_ops link_ops = {
	.frame = link_frame,
	.space = link_space,
	.closed = link_closed,
};

int link_start(struct link *l, struct loop *loop, int fd, const struct link_ops *ops)
{
	uint8_t buf[256];
	struct guest_writer w;
	struct utsname u = { 0 };
	int r;

	l->ops = ops;
	l->configured = l->stopping = false;
	r = chan_open(&l->chan, loop, fd, &link_ops);
	if (r < 0)
		return r;
	(void)uname(&u);
	guest_writer_begin(&w, buf, sizeof(buf), GUEST_HELLO);
	guest_put_u32(&w, GUEST_F_PROTO_VERSION, GUEST_PROTO_VERSION);
	guest_put_text(&w, GUEST_F_KERNEL, u.release);
	link_send(l, &w);
	return 0;
}

void link_ready(struct link *l, uint32_t pid)
{
	uint8_t buf[64];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_READY);
	guest_put_u32(&w, GUEST_F_PID, pid);
	link_send(l, &w);
}

void link_error(struct link *l, const char *text)
{
	uint8_t buf[1024];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_ERROR);
	guest_put_text(&w, GUEST_F_TEXT, text);
	link_send(l, &w);
}

void link_exited(struct link *l, int status)
{
	uint8_t buf[64];
	int len = child_exited_frame(buf, sizeof(buf), status);

	if (chan_is_open(&l->chan))
		(void)chan_send_made(&l->chan, buf, len);
}

void link_bye(struct link *l)
{
	struct pollfd p = { .fd = l->chan.fd, .events = POLLIN };
	uint64_t end = clock_mono_ns() + LINK_BYE_MS * CLOCK_NS_PER_MS;
	uint8_t scrap[256];

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
