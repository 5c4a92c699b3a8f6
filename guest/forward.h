#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <base/loop.h>
#include <wire/guest_proto.h>

#include "sink.h"

/*
 * From a pipe into frames of a sink, with backpressure: while the sink
 * has no room the pipe is not read, and its writer blocks. What the sink
 * does not keep is thrown away, so that the writer goes on.
 */
struct forward {
	struct loop_fd w;
	struct loop *loop;
	struct sink *to;
	enum guest_frame_type type;
	int fd;
	bool terminal; /* fd is the master of a terminal; set after forward_open */
	bool settling;
	struct loop_timer late;
	uint64_t settle_left; /* bytes that still have to pass before it is settled */
	/* After each move that may have ended or settled it. May free. */
	void (*moved)(struct forward *f);
};

/* fd: the read end of a pipe, made non-blocking here; the forward's on success. */
int forward_open(struct forward *f, struct loop *loop, int fd, struct sink *to,
	enum guest_frame_type type, void (*moved)(struct forward *f));

/* Closes the pipe. No-op when not open; f->fd must be -1 before the first use. */
void forward_done(struct forward *f);

/* The sink has room again, or keeps nothing any more. */
void forward_resume(struct forward *f);

/*
 * The writer has ended: from now on what is in the pipe at this moment is
 * waited for. A terminal tells its own end, which is waited for, but for
 * FORWARD_HANGUP_MS at most: somebody may have kept it.
 */
#define FORWARD_HANGUP_MS 1000u
void forward_settle(struct forward *f);

/* True when everything written before forward_settle is in the sink or gone. */
bool forward_settled(const struct forward *f);
