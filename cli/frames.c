#include "frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <base/cleanup.h>
#include <base/io.h>

struct frames *frames_new(int fd)
{
	struct frames *f = calloc(1, sizeof(*f));

	if (!f)
		abort();
	f->fd = fd;
	return f;
}

void frames_free(struct frames *f)
{
	free(f);
}

int frames_next(struct frames *f, struct guest_frame_hdr *ret, uint8_t **ret_payload)
{
	struct guest_frame_hdr h;
	int r;

	if (f->len - f->pos < GUEST_FRAME_HDR_LEN)
		return 0;
	r = guest_hdr_decode(f->buf + f->pos, &h);
	if (r < 0)
		return r;
	if (f->len - f->pos - GUEST_FRAME_HDR_LEN < h.len)
		return 0;
	*ret = h;
	*ret_payload = f->buf + f->pos + GUEST_FRAME_HDR_LEN;
	f->pos += GUEST_FRAME_HDR_LEN + h.len;
	return 1;
}

int frames_read(struct frames *f)
{
	ssize_t n;

	memmove(f->buf, f->buf + f->pos, f->len - f->pos);
	f->len -= f->pos;
	f->pos = 0;
	n = recv(f->fd, f->buf + f->len, sizeof(f->buf) - f->len, 0);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	f->len += (size_t)n;
	return 0;
}

int frames_wait(struct frames *f, struct guest_frame_hdr *ret, uint8_t **ret_payload)
{
	for (;;) {
		int r = frames_next(f, ret, ret_payload);

		if (r == 0)
			r = frames_read(f);
		else
			return r < 0 ? r : 0;
		if (r < 0)
			return r;
	}
}

int frames_send_raw(struct frames *f, enum guest_frame_type type, const void *data, size_t len)
{
	uint8_t head[GUEST_FRAME_HDR_LEN];
	struct guest_writer w;
	int r;

	if (len > GUEST_FRAME_MAX)
		return -EMSGSIZE;
	guest_writer_begin(&w, head, sizeof(head), type);
	r = guest_writer_end(&w);
	if (r < 0)
		return r;
	/* The length, little-endian, is the header's second half. */
	for (unsigned i = 0; i < 4; i++)
		head[4 + i] = (uint8_t)(len >> (8 * i));
	r = io_write_full(f->fd, head, sizeof(head));
	return r < 0 || len == 0 ? r : io_write_full(f->fd, data, len);
}

int frames_end(
	const struct guest_frame_hdr *h, const uint8_t *payload, int *ret_code, char **ret_text)
{
	_cleanup_free_ char *text = NULL;
	struct guest_value v;
	uint32_t n = 0;
	size_t pos = 0;
	int code = -1;
	int r;

	if (h->type != GUEST_EXITED && h->type != GUEST_ERROR)
		return -EPROTO;
	while ((r = guest_field_next(payload, h->len, &pos, &v)) == 1) {
		if (v.field == GUEST_F_CODE && guest_value_u32(&v, &n) == 0)
			code = (int)(n & 255);
		else if (v.field == GUEST_F_SIGNAL && guest_value_u32(&v, &n) == 0)
			code = 128 + (int)(n & 127);
		else if (v.field == GUEST_F_TEXT && !text)
			(void)guest_value_text(&v, &text);
	}
	if (r < 0 || code < 0)
		return -EPROTO;
	*ret_code = code;
	*ret_text = NULL;
	if (h->type == GUEST_ERROR)
		*ret_text = text ? steal_ptr(text) : strdup("the guest gives no reason");
	return 0;
}

int frames_explain(int r, const char *what, struct kerr *e)
{
	if (r == -ECONNRESET || r == -EPIPE)
		return kerr_set(e, ECONNRESET, "the agent's VM ended before %s did", what);
	if (r == -EPROTO)
		return kerr_set(e, EPROTO, "the guest broke the protocol");
	return r < 0 ? kerr_errno(e, -r, "stream") : r;
}
