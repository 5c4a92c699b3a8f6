#include "chan.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>

/* What EPOLLOUT was asked for stays asked for until it came: somebody may wait for `space`. */
static void chan_arm(struct chan *c, uint32_t keep)
{
	uint32_t events = keep & EPOLLOUT;

	if (!c->held || c->finishing)
		events |= EPOLLIN;
	if (c->out_len || (c->finishing && !c->ended))
		events |= EPOLLOUT;
	(void)loop_fd_mod(&c->w, events);
}

static void chan_end(struct chan *c, int err)
{
	const struct chan_ops *ops = c->ops;

	chan_done(c);
	ops->closed(c, err);
}

/* Writes what the socket takes. 0 or -errno; a full socket is fine. */
static int chan_flush(struct chan *c)
{
	while (c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_head, c->out_len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		c->out_head += (size_t)n;
		c->out_len -= (size_t)n;
	}
	c->out_head = 0;
	return 0;
}

/* Hands on every whole frame that is in the buffer. */
static int chan_dispatch(struct chan *c)
{
	size_t pos = 0;
	int r = 0;

	while (!c->finishing && c->in_len - pos >= GUEST_FRAME_HDR_LEN) {
		struct guest_frame_hdr h;
		size_t need;

		r = guest_hdr_decode(c->in + pos, &h);
		if (r < 0)
			break;
		need = GUEST_FRAME_HDR_LEN + h.len;
		if (c->in_len - pos < need)
			break;
		r = c->ops->frame(c, &h, c->in + pos + GUEST_FRAME_HDR_LEN);
		if (r == CHAN_HOLD)
			c->held = true;
		if (r != 0)
			break;
		pos += need;
	}
	c->in_len -= pos;
	memmove(c->in, c->in + pos, c->in_len);
	return r < 0 ? r : 0;
}

/* 0: go on; 1: the peer closed; -errno. */
static int chan_read(struct chan *c)
{
	ssize_t n;

	/* A partial frame always fits: the buffer holds the longest. */
	n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return 1;
	c->in_len += (size_t)n;
	return chan_dispatch(c);
}

/* As chan_read, for a chan that is finishing. */
static int chan_drop(struct chan *c)
{
	ssize_t n = recv(c->fd, c->in, sizeof(c->in), 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return n == 0;
}

static void chan_event(struct loop_fd *w, uint32_t events)
{
	struct chan *c = container_of(w, struct chan, w);
	int r;

	r = chan_flush(c);
	if (r == 0 && c->finishing && c->out_len == 0 && !c->ended) {
		c->ended = true;
		(void)shutdown(c->fd, SHUT_WR);
	}
	if (r == 0 && (events & EPOLLOUT) && c->ops->space)
		c->ops->space(c);
	if (r == 0 && (!c->held || c->finishing)) {
		if (events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP))
			r = c->finishing ? chan_drop(c) : chan_read(c);
	} else if (r == 0 && (events & (EPOLLHUP | EPOLLERR))) {
		r = 1; /* nobody there any more, and nothing is being read that would tell */
	}
	if (r != 0)
		chan_end(c, r < 0 ? r : 0);
	else
		chan_arm(c, 0);
}

static bool sink_keeps(const struct sink *s)
{
	const struct chan *c = container_of(s, struct chan, sink);

	return chan_is_open(c) && !c->finishing;
}

static size_t sink_room(const struct sink *s)
{
	return chan_room(container_of(s, struct chan, sink));
}

static uint8_t *sink_reserve(struct sink *s, size_t len)
{
	return chan_reserve(container_of(s, struct chan, sink), len);
}

static void sink_commit(struct sink *s, enum guest_frame_type type, size_t len)
{
	chan_commit(container_of(s, struct chan, sink), type, len);
}

int chan_open(struct chan *c, struct loop *loop, int fd, const struct chan_ops *ops)
{
	int r = io_set_nonblock(fd, 1);

	if (r < 0)
		return r;
	c->sink = (struct sink){
		.keeps = sink_keeps,
		.room = sink_room,
		.reserve = sink_reserve,
		.commit = sink_commit,
	};
	c->loop = loop;
	c->ops = ops;
	c->held = c->finishing = c->ended = false;
	c->in_len = c->out_head = c->out_len = 0;
	c->w.fn = chan_event;
	r = loop_fd_add(loop, &c->w, fd, EPOLLIN);
	if (r == 0)
		c->fd = fd;
	return r;
}

void chan_done(struct chan *c)
{
	if (c->fd < 0)
		return;
	loop_fd_del(&c->w);
	close_fd(&c->fd);
}

size_t chan_room(const struct chan *c)
{
	size_t left = sizeof(c->out) - c->out_len;

	if (c->fd < 0 || c->finishing || left <= GUEST_FRAME_HDR_LEN)
		return 0;
	return left - GUEST_FRAME_HDR_LEN;
}

uint8_t *chan_reserve(struct chan *c, size_t len)
{
	if (c->fd < 0 || c->finishing || sizeof(c->out) - c->out_len < GUEST_FRAME_HDR_LEN + len)
		return NULL;
	if (sizeof(c->out) - c->out_head - c->out_len < GUEST_FRAME_HDR_LEN + len) {
		memmove(c->out, c->out + c->out_head, c->out_len);
		c->out_head = 0;
	}
	return c->out + c->out_head + c->out_len + GUEST_FRAME_HDR_LEN;
}

void chan_commit(struct chan *c, enum guest_frame_type type, size_t len)
{
	uint8_t *place = c->out + c->out_head + c->out_len;
	struct guest_writer w;

	guest_writer_begin(&w, place, GUEST_FRAME_HDR_LEN + len, type);
	w.len += len; /* the payload is there already */
	c->out_len += (size_t)guest_writer_end(&w);
	/* A failing socket reports itself through the loop: closed() must not be called from here.
	 */
	(void)chan_flush(c);
	chan_arm(c, c->w.events);
}

int chan_send(struct chan *c, enum guest_frame_type type, const void *payload, size_t len)
{
	uint8_t *p = chan_reserve(c, len);

	if (!p)
		return -EAGAIN;
	if (len)
		memcpy(p, payload, len);
	chan_commit(c, type, len);
	return 0;
}

int chan_send_made(struct chan *c, const uint8_t *frame, int len)
{
	struct guest_frame_hdr h;
	int r;

	if (len < 0)
		return len;
	r = guest_hdr_decode(frame, &h);
	if (r < 0)
		return r;
	return chan_send(c, (enum guest_frame_type)h.type, frame + GUEST_FRAME_HDR_LEN, h.len);
}

void chan_resume(struct chan *c)
{
	int r;

	if (c->fd < 0 || !c->held)
		return;
	c->held = false;
	r = chan_dispatch(c);
	if (r < 0)
		/* Reported by the loop: reading from here on fails. */
		(void)shutdown(c->fd, SHUT_RDWR);
	chan_arm(c, c->w.events);
}

void chan_finish(struct chan *c)
{
	if (c->fd < 0)
		return;
	c->finishing = true;
	chan_arm(c, c->w.events);
}

bool chan_flush_wait(struct chan *c, int timeout_ms)
{
	uint64_t end = clock_mono_ns() + (uint64_t)timeout_ms * CLOCK_NS_PER_MS;

	while (c->fd >= 0 && c->out_len) {
		struct pollfd p = { .fd = c->fd, .events = POLLOUT };
		uint64_t now = clock_mono_ns();

		if (chan_flush(c) < 0 || now >= end)
			break;
		if (c->out_len)
			(void)poll(&p, 1, (int)((end - now) / CLOCK_NS_PER_MS) + 1);
	}
	return c->fd >= 0 && c->out_len == 0;
}
