#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/loop.h>
#include <wire/guest_proto.h>

#include "sink.h"

/*
 * One stream of frames on the loop: whole frames in, whole frames out,
 * each through a buffer of one frame. Nothing is ever lost: who cannot
 * take a frame holds it, who cannot send one waits for `space`.
 */
#define CHAN_BUF (GUEST_FRAME_HDR_LEN + GUEST_FRAME_MAX)

/* What ops.frame answers when it cannot take the frame now; see chan_resume. */
#define CHAN_HOLD 1

struct chan;
struct chan_ops {
	/*
	 * A whole frame. 0: taken; CHAN_HOLD: come again with the same frame
	 * after chan_resume; -errno: the peer broke the rules, the stream
	 * ends with this code. May not free the chan.
	 */
	int (*frame)(struct chan *c, const struct guest_frame_hdr *h, const uint8_t *payload);
	/* Bytes left the out buffer. May be NULL. May not free the chan. */
	void (*space)(struct chan *c);
	/* The last call: 0 when the peer closed (also after chan_finish), else -errno. May free.
	 */
	void (*closed)(struct chan *c, int err);
};

struct chan {
	struct sink sink; /* for forward: set by chan_open */
	struct loop_fd w;
	struct loop *loop;
	const struct chan_ops *ops;
	int fd;
	bool held;      /* a whole frame waits in `in` for chan_resume */
	bool finishing; /* flush, and drop what comes */
	bool ended;     /* our direction was shut down: the peer's closing is waited for */
	size_t in_len;
	size_t out_head, out_len;
	uint8_t in[CHAN_BUF];
	uint8_t out[CHAN_BUF];
};

/* fd: a connected stream socket, made non-blocking here; the chan's on success. 0 or -errno. */
int chan_open(struct chan *c, struct loop *loop, int fd, const struct chan_ops *ops);

/* Closes without calling anybody. No-op when not open; c->fd must be -1 before the first use. */
void chan_done(struct chan *c);

static inline bool chan_is_open(const struct chan *c)
{
	return c->fd >= 0;
}

/* Payload bytes that chan_reserve can give at the moment. */
size_t chan_room(const struct chan *c);

/* A place for `len` bytes of payload, or NULL when there is no room: wait for space. */
uint8_t *chan_reserve(struct chan *c, size_t len);

/* Sends the `len` bytes that were written to the reserved place. */
void chan_commit(struct chan *c, enum guest_frame_type type, size_t len);

/* Copies and sends one frame. 0, or -EAGAIN when there is no room. */
int chan_send(struct chan *c, enum guest_frame_type type, const void *payload, size_t len);

/* Sends a frame made with a guest_writer: its buffer and the length guest_writer_end gave. */
int chan_send_made(struct chan *c, const uint8_t *frame, int len);

/* Offers the held frame again, from the loop's next turn on. */
void chan_resume(struct chan *c);

/*
 * No more frames are taken: what comes is dropped, what is in the out
 * buffer leaves, and the peer sees the end. closed(c, 0) follows when it
 * closes, too: so it never fails to write before it has read our last
 * frame. How long to wait for that is the caller's.
 */
void chan_finish(struct chan *c);

/* Writes out what there is, waiting for at most timeout_ms. True when all of it went. */
bool chan_flush_wait(struct chan *c, int timeout_ms);
