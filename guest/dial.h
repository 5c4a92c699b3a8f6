#pragma once

#include <stdint.h>

#include <base/loop.h>

/*
 * Dials one port of the host until it answers, for ever: kosvmd may be
 * away, and comes back. Never blocks.
 */
#define DIAL_WAIT_MS     200u  /* after the first failure; doubles */
#define DIAL_WAIT_MAX_MS 2000u /* up to this */
#define DIAL_ANSWER_MS   5000u /* for one attempt */

struct dial {
	struct loop *loop;
	uint32_t port;
	/* Begins an attempt: a non-blocking socket that connects or is connected, or -errno. */
	int (*open)(uint32_t port);
	/* The stream stands; fd is the callee's. */
	void (*connected)(struct dial *d, int fd);
	struct loop_fd w;
	struct loop_timer timer;
	int fd; /* of the attempt under way, or -1 */
	unsigned wait_ms;
};

/* Fills in everything; nothing starts. */
void dial_init(struct dial *d, struct loop *loop, uint32_t port, int (*open)(uint32_t port),
	void (*connected)(struct dial *d, int fd));

/* The first attempt begins now; connected() comes from the loop. */
void dial_start(struct dial *d);

/* The stream was lost: again, after a while. */
void dial_again(struct dial *d);

/* The peer has shown that it is there: the next loss is tried again soon. */
void dial_good(struct dial *d);

/* Stops trying. */
void dial_done(struct dial *d);
