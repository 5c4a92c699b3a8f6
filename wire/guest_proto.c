#include <wire/guest_proto.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIELD_HDR_LEN 8u

static void put_le(uint8_t *p, uint64_t v, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_le(const uint8_t *p, size_t bytes)
{
	uint64_t v = 0;

	for (size_t i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

/* Room for len more bytes, or NULL and the overflow is remembered. */
static uint8_t *writer_room(struct guest_writer *w, size_t len)
{
	uint8_t *p;

	if (w->overflow || len > w->cap - w->len) {
		w->overflow = true;
		return NULL;
	}
	p = w->buf + w->len;
	w->len += len;
	return p;
}

void guest_writer_begin(
	struct guest_writer *w, uint8_t *buf, size_t cap, enum guest_frame_type type)
{
	uint8_t *p;

	*w = (struct guest_writer){ .buf = buf, .cap = cap };
	p = writer_room(w, GUEST_FRAME_HDR_LEN);
	if (!p)
		return;
	memset(p, 0, GUEST_FRAME_HDR_LEN);
	put_le(p, type, 2);
}

void guest_put_raw(struct guest_writer *w, const void *data, size_t len)
{
	uint8_t *p = writer_room(w, len);

	if (p && len)
		memcpy(p, data, len);
}

static void put_field(struct guest_writer *w, enum guest_field f, const void *data, size_t len)
{
	uint8_t hdr[FIELD_HDR_LEN] = { 0 };

	if (len > GUEST_FRAME_MAX) {
		w->overflow = true;
		return;
	}
	put_le(hdr, f, 2);
	put_le(hdr + 4, len, 4);
	guest_put_raw(w, hdr, sizeof(hdr));
	guest_put_raw(w, data, len);
}

void guest_put_text(struct guest_writer *w, enum guest_field f, const char *s)
{
	put_field(w, f, s, strlen(s));
}

void guest_put_u32(struct guest_writer *w, enum guest_field f, uint32_t v)
{
	uint8_t raw[4];

	put_le(raw, v, sizeof(raw));
	put_field(w, f, raw, sizeof(raw));
}

void guest_put_u64(struct guest_writer *w, enum guest_field f, uint64_t v)
{
	uint8_t raw[8];

	put_le(raw, v, sizeof(raw));
	put_field(w, f, raw, sizeof(raw));
}

int guest_writer_end(struct guest_writer *w)
{
	if (w->overflow || w->len - GUEST_FRAME_HDR_LEN > GUEST_FRAME_MAX)
		return -EMSGSIZE;
	put_le(w->buf + 4, w->len - GUEST_FRAME_HDR_LEN, 4);
	return (int)w->len;
}

int guest_make_u32(uint8_t *buf, enum guest_frame_type type, enum guest_field f, uint32_t v)
{
	struct guest_writer w;

	guest_writer_begin(&w, buf, GUEST_SMALL_FRAME, type);
	guest_put_u32(&w, f, v);
	return guest_writer_end(&w);
}

int guest_make_u64(uint8_t *buf, enum guest_frame_type type, enum guest_field f, uint64_t v)
{
	struct guest_writer w;

	guest_writer_begin(&w, buf, GUEST_SMALL_FRAME, type);
	guest_put_u64(&w, f, v);
	return guest_writer_end(&w);
}

int guest_make_signal(uint8_t *buf, uint32_t signo)
{
	return guest_make_u32(buf, GUEST_SIGNAL, GUEST_F_SIGNAL, signo);
}

int guest_make_winsize(uint8_t *buf, uint32_t rows, uint32_t cols)
{
	struct guest_writer w;

	guest_writer_begin(&w, buf, GUEST_SMALL_FRAME, GUEST_WINSIZE);
	guest_put_u32(&w, GUEST_F_ROWS, rows);
	guest_put_u32(&w, GUEST_F_COLS, cols);
	return guest_writer_end(&w);
}

int guest_make_attach(uint8_t *buf, uint32_t rows, uint32_t cols)
{
	struct guest_writer w;

	guest_writer_begin(&w, buf, GUEST_SMALL_FRAME, GUEST_ATTACH);
	if (rows && cols) {
		guest_put_u32(&w, GUEST_F_ROWS, rows);
		guest_put_u32(&w, GUEST_F_COLS, cols);
	}
	return guest_writer_end(&w);
}

int guest_make_copy(
	uint8_t *buf, size_t cap, enum guest_frame_type type, const char *path, bool owners)
{
	struct guest_writer w;

	guest_writer_begin(&w, buf, cap, type);
	guest_put_text(&w, GUEST_F_PATH, path);
	if (owners)
		guest_put_u32(&w, GUEST_F_OWNERS, 1);
	return guest_writer_end(&w);
}

int guest_hdr_decode(const uint8_t raw[static 8], struct guest_frame_hdr *ret)
{
	struct guest_frame_hdr h = {
		.type = (uint16_t)get_le(raw, 2),
		.reserved = (uint16_t)get_le(raw + 2, 2),
		.len = (uint32_t)get_le(raw + 4, 4),
	};

	if (h.type < GUEST_HELLO || h.type > GUEST_FRAME_LAST || h.reserved != 0 ||
		h.len > GUEST_FRAME_MAX)
		return -EPROTO;
	*ret = h;
	return 0;
}

int guest_field_next(const uint8_t *payload, size_t len, size_t *pos, struct guest_value *ret)
{
	const uint8_t *p;
	size_t left;
	uint32_t data_len;

	if (*pos == len)
		return 0;
	if (*pos > len || len - *pos < FIELD_HDR_LEN)
		return -EPROTO;
	p = payload + *pos;
	left = len - *pos - FIELD_HDR_LEN;
	data_len = (uint32_t)get_le(p + 4, 4);
	if (get_le(p + 2, 2) != 0 || data_len > left)
		return -EPROTO;
	*ret = (struct guest_value){
		.field = (enum guest_field)get_le(p, 2),
		.data = p + FIELD_HDR_LEN,
		.len = data_len,
	};
	*pos += FIELD_HDR_LEN + data_len;
	return 1;
}

int guest_value_u32(const struct guest_value *v, uint32_t *ret)
{
	if (v->len != 4)
		return -EPROTO;
	*ret = (uint32_t)get_le(v->data, 4);
	return 0;
}

int guest_value_u64(const struct guest_value *v, uint64_t *ret)
{
	if (v->len != 8)
		return -EPROTO;
	*ret = get_le(v->data, 8);
	return 0;
}

int guest_value_text(const struct guest_value *v, char **ret)
{
	char *s;

	if (v->len && memchr(v->data, '\0', v->len))
		return -EPROTO;
	s = malloc((size_t)v->len + 1);
	if (!s)
		return -ENOMEM;
	if (v->len)
		memcpy(s, v->data, v->len);
	s[v->len] = '\0';
	*ret = s;
	return 0;
}
