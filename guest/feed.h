#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/loop.h>

/*
 * From frames into a pipe, forward's counterpart: what the pipe does not
 * take yet keeps its frame held, and so the stream behind it.
 */
struct feed {
	struct loop_fd w;
	struct loop *loop;
	int fd;        /* write end; -1: closed, whatever comes is dropped */
	size_t done;   /* bytes of the held frame that the pipe took */
	bool terminal; /* its end of input is a key, not a closed pipe */
	/* The pipe takes bytes again: offer the frame again. */
	void (*ready)(struct feed *f);
};

/* fd: the write end of a pipe, made non-blocking here; the feed's on success. */
int feed_open(struct feed *f, struct loop *loop, int fd, void (*ready)(struct feed *f));

/* Closes the pipe. No-op when not open; f->fd must be -1 before the first use. */
void feed_done(struct feed *f);

/*
 * One frame of input; an empty one is its end. 0: taken (or dropped, when
 * the program closed its input); CHAN_HOLD: offer the same frame again.
 */
int feed_take(struct feed *f, const uint8_t *payload, size_t len);

/* The held frame is not offered again. */
void feed_forget(struct feed *f);
