/*
 * The stream a hostile guest sends to the host: headers, fields, values.
 * Whatever comes, everything handed out lies inside the payload, and what
 * is written again from what was read is read as the same.
 */
#include <stdlib.h>
#include <string.h>

#include <wire/guest_proto.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void value(const struct guest_value *v)
{
	uint32_t n = 0;
	uint64_t big = 0;
	char *s = NULL;

	must((guest_value_u32(v, &n) == 0) == (v->len == 4));
	must((guest_value_u64(v, &big) == 0) == (v->len == 8));
	if (guest_value_text(v, &s) == 0) {
		must(strlen(s) == v->len);
		free(s);
	}
}

/* Copies one field with the writer's calls. */
static void copy_field(struct guest_writer *w, const struct guest_value *v)
{
	uint8_t hdr[8] = { (uint8_t)v->field, (uint8_t)((unsigned)v->field >> 8), 0, 0 };

	for (int i = 0; i < 4; i++)
		hdr[4 + i] = (uint8_t)(v->len >> (8 * i));
	guest_put_raw(w, hdr, sizeof(hdr));
	guest_put_raw(w, v->data, v->len);
}

static void payload_walk(const struct guest_frame_hdr *h, const uint8_t *payload)
{
	static uint8_t again[GUEST_FRAME_HDR_LEN + GUEST_FRAME_MAX];
	struct guest_writer w;
	struct guest_value v;
	size_t pos = 0;
	size_t last = 0;
	int r;

	guest_writer_begin(&w, again, sizeof(again), (enum guest_frame_type)h->type);
	while ((r = guest_field_next(payload, h->len, &pos, &v)) > 0) {
		must(pos > last && pos <= h->len);
		must(v.data >= payload && v.len <= h->len && v.data + v.len <= payload + h->len);
		last = pos;
		value(&v);
		copy_field(&w, &v);
	}
	if (r == 0) {
		must(guest_writer_end(&w) == (int)(GUEST_FRAME_HDR_LEN + h->len));
		must(memcmp(again + GUEST_FRAME_HDR_LEN, payload, h->len) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	while (len >= GUEST_FRAME_HDR_LEN) {
		struct guest_frame_hdr h;
		uint8_t *payload;

		if (guest_hdr_decode(data, &h) < 0)
			return 0;
		must(h.len <= GUEST_FRAME_MAX && h.reserved == 0);
		data += GUEST_FRAME_HDR_LEN;
		len -= GUEST_FRAME_HDR_LEN;
		if (h.len > len)
			h.len = (uint32_t)len;
		/* A block of exactly its size: a byte too far is seen. */
		payload = malloc(h.len ? h.len : 1);
		if (!payload)
			return 0;
		memcpy(payload, data, h.len);
		payload_walk(&h, payload);
		free(payload);
		data += h.len;
		len -= h.len;
	}
	return 0;
}
