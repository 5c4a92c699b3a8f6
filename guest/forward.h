#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <base/loop.h>
#include <wire/guest_proto.h>

#include "chan.h"

/*
 * From a pipe into frames of a channel, with backpressure: while the
 * channel has no room the pipe is not read, and its writer blocks. Without
 * an open channel the bytes are thrown away, so that the writer goes on.
 */
struct forward {
	struct loop_fd w;
	struct loop *loop;
	struct chan *to;
	enum guest_frame_type type;
	int fd;
	bool settling;
	uint64_t settle_left; /* bytes that still have to pass before it is settled */
	/* After each move that may have ended or settled it. May free. */
	void (*moved)(struct forward *f);
};

/* fd: the read end of a pipe, made non-blocking here; the forward's on success. */
int forward_open(struct forward *f, struct loop *loop, int fd, struct chan *to,
	enum guest_frame_type type, void (*moved)(struct forward *f));

/* Closes the pipe. No-op when not open; f->fd must be -1 before the first use. */
void forward_done(struct forward *f);

/* The channel has room again, or is gone. */
void forward_resume(struct forward *f);

/* The writer has ended: from now on what is in the pipe at this moment is waited for. */
void forward_settle(struct forward *f);

/* True when everything written before forward_settle is in the channel's buffer or gone. */
bool forward_settled(const struct forward *f);
