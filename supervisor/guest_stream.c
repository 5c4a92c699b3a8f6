#include "guest_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>

#define STREAM_BUF (GUEST_FRAME_HDR_LEN + GUEST_FRAME_MAX)

void guest_stream_close(struct guest_stream *s)
{
	loop_fd_del(&s->w);
	close_fd(&s->fd);
	free(s->buf);
	s->buf = NULL;
	s->len = 0;
}

/* Handles the whole frames that are there. 0 or -errno. */
static int take_frames(struct guest_stream *s)
{
	size_t pos = 0;

	while (s->buf && s->len - pos >= GUEST_FRAME_HDR_LEN) {
		struct guest_frame_hdr h;
		int r = guest_hdr_decode(s->buf + pos, &h);

		if (r < 0)
			return r;
		if (s->len - pos - GUEST_FRAME_HDR_LEN < h.len)
			break;
		r = s->frame(s, &h, s->buf + pos + GUEST_FRAME_HDR_LEN);
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

int guest_stream_read(struct guest_stream *s)
{
	ssize_t n = recv(s->fd, s->buf + s->len, STREAM_BUF - s->len, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ENODATA;
	s->len += (size_t)n;
	return take_frames(s) < 0 ? -EPROTO : 1;
}

static void stream_ready(struct loop_fd *w, uint32_t events)
{
	struct guest_stream *s = container_of(w, struct guest_stream, w);
	int r;

	(void)events;
	r = guest_stream_read(s);
	if (s->fd < 0)
		return;
	if (r < 0) {
		guest_stream_close(s);
		s->ended(s, r);
	} else if (s->turn) {
		s->turn(s);
	}
}

int guest_stream_open(struct guest_stream *s, struct loop *loop, int *ret_fd)
{
	int sv[2];
	int r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0)
		return -errno;
	s->w = (struct loop_fd){ .fn = stream_ready, .fd = -1 };
	s->len = 0;
	s->buf = malloc(STREAM_BUF);
	r = s->buf ? loop_fd_add(loop, &s->w, sv[0], EPOLLIN) : -ENOMEM;
	if (r < 0) {
		free(s->buf);
		s->buf = NULL;
		(void)close(sv[0]);
		(void)close(sv[1]);
		return r;
	}
	s->fd = sv[0];
	*ret_fd = sv[1];
	return 0;
}

int guest_stream_send(struct guest_stream *s, const uint8_t *frame, int len)
{
	ssize_t n;

	if (len < 0)
		return len;
	if (s->fd < 0)
		return -ENOTCONN;
	/* A unix socket takes a message of this size whole or not at all; a frame that was cut
	 * would be the end of the stream. */
	n = send(s->fd, frame, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	return n == len ? 0 : -EIO;
}
