#include "backlog.h"

#include <errno.h>
#include <string.h>

/* Before each record: its type, and its length in three bytes. */
#define RECORD_HDR 4u

static void ring_put(struct backlog *b, const uint8_t *data, size_t len)
{
	size_t at = (b->head + b->len) % BACKLOG_BYTES;
	size_t first = len < BACKLOG_BYTES - at ? len : BACKLOG_BYTES - at;

	memcpy(b->ring + at, data, first);
	memcpy(b->ring, data + first, len - first);
	b->len += len;
}

/* From `offset` bytes behind the head. */
static void ring_copy(const struct backlog *b, size_t offset, uint8_t *to, size_t len)
{
	size_t at = (b->head + offset) % BACKLOG_BYTES;
	size_t first = len < BACKLOG_BYTES - at ? len : BACKLOG_BYTES - at;

	memcpy(to, b->ring + at, first);
	memcpy(to + first, b->ring, len - first);
}

/* The record at `offset`: its payload's length. */
static size_t record_at(const struct backlog *b, size_t offset, enum guest_frame_type *ret_type)
{
	uint8_t hdr[RECORD_HDR];

	ring_copy(b, offset, hdr, sizeof(hdr));
	*ret_type = (enum guest_frame_type)hdr[0];
	return hdr[1] | (size_t)hdr[2] << 8 | (size_t)hdr[3] << 16;
}

size_t backlog_room(const struct backlog *b)
{
	size_t left = BACKLOG_BYTES - b->len;

	return left > RECORD_HDR ? left - RECORD_HDR : 0;
}

void backlog_add(struct backlog *b, enum guest_frame_type type, const void *data, size_t len)
{
	const uint8_t hdr[RECORD_HDR] = { (uint8_t)type, (uint8_t)len, (uint8_t)(len >> 8),
		(uint8_t)(len >> 16) };

	ring_put(b, hdr, sizeof(hdr));
	ring_put(b, data, len);
}

size_t backlog_next(const struct backlog *b, enum guest_frame_type *ret_type)
{
	return backlog_all_given(b) ? 0 : record_at(b, b->sent, ret_type);
}

void backlog_give(struct backlog *b, uint8_t *to)
{
	enum guest_frame_type type;
	size_t len = record_at(b, b->sent, &type);

	ring_copy(b, b->sent + RECORD_HDR, to, len);
	b->sent += RECORD_HDR + len;
	b->given += len;
}

void backlog_rewind(struct backlog *b)
{
	b->sent = 0;
	b->given = b->acked = 0;
}

int backlog_ack(struct backlog *b, uint64_t bytes)
{
	enum guest_frame_type type;

	if (bytes > b->given)
		return -EPROTO;
	/* Whole records only: the rest of one that was cut comes again. */
	while (b->sent > 0) {
		size_t len = record_at(b, 0, &type);

		if (b->acked + len > bytes)
			break;
		b->acked += len;
		b->head = (b->head + RECORD_HDR + len) % BACKLOG_BYTES;
		b->len -= RECORD_HDR + len;
		b->sent -= RECORD_HDR + len;
	}
	return 0;
}
