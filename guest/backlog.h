#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <wire/guest_proto.h>

/*
 * What the agent wrote and the host has not acknowledged yet: a ring of
 * records, sent in order on one stream, and from the oldest on again on
 * the next one. Bounded: without room nothing is taken, nothing is dropped.
 */
#define BACKLOG_BYTES 262144u

struct backlog {
	size_t head, len; /* of the ring */
	size_t sent;      /* bytes of the ring that this stream was given */
	uint64_t given;   /* payload that this stream was given */
	uint64_t acked;   /* payload that was acknowledged on this stream */
	uint8_t ring[BACKLOG_BYTES];
};

/* Payload of one more record that fits. */
size_t backlog_room(const struct backlog *b);

/* len: at most what backlog_room says, and not 0. */
void backlog_add(struct backlog *b, enum guest_frame_type type, const void *data, size_t len);

/* The next record this stream was not given: its length, or 0 when there is none. */
size_t backlog_next(const struct backlog *b, enum guest_frame_type *ret_type);

/* Copies it out, and counts it as given. */
void backlog_give(struct backlog *b, uint8_t *to);

/* A new stream begins. */
void backlog_rewind(struct backlog *b);

/* The host has the first `bytes` of payload of this stream: forgets them. -EPROTO: never given. */
int backlog_ack(struct backlog *b, uint64_t bytes);

static inline bool backlog_all_given(const struct backlog *b)
{
	return b->sent == b->len;
}
