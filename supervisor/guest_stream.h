#pragma once

#include <stdint.h>

#include <base/loop.h>
#include <wire/guest_proto.h>

/*
 * kosvmd's end of one stream of frames from a guest: a socketpair whose
 * other end the VMM gets, whole frames of it, and small frames back. What
 * arrives is hostile. Embedded in its owner; loop thread only.
 */
struct guest_stream {
	struct loop_fd w;
	int fd;       /* -1: not open */
	uint8_t *buf; /* one frame, while open */
	size_t len;
	/* A whole frame. 0 or -errno, which ends the stream. May close the stream. */
	int (*frame)(
		struct guest_stream *s, const struct guest_frame_hdr *h, const uint8_t *payload);
	/* After each turn that left the stream open. May be NULL. */
	void (*turn)(struct guest_stream *s);
	/* It is closed: -ENODATA by the guest, -EPROTO by a frame of it, or another -errno. */
	void (*ended)(struct guest_stream *s, int err);
};

/* Makes a fresh stream and gives the VMM's end of it. 0 or -errno. */
int guest_stream_open(struct guest_stream *s, struct loop *loop, int *ret_fd);

/* Closes without calling anybody. No-op when not open; s->fd must be -1 before the first use. */
void guest_stream_close(struct guest_stream *s);

/* Reads and handles once: 1 more may be there, 0 nothing now, -errno as for ended(). */
int guest_stream_read(struct guest_stream *s);

/*
 * Sends a frame of `len` bytes (or -errno, handed through) at once, whole
 * or not at all: -EAGAIN when the guest does not read, -ENOTCONN.
 */
int guest_stream_send(struct guest_stream *s, const uint8_t *frame, int len);
