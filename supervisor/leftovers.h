#pragma once

#include <stdint.h>

#include <base/loop.h>

/*
 * What imports that were killed left in the store. A worker's own child
 * (mkfs.erofs) holds the file for a moment after the worker has gone, so
 * the store is looked through again until nothing of it is held.
 */
struct leftovers {
	struct loop_timer timer;
	struct loop *loop;
	uint64_t wait_ns;
	int images_fd; /* borrowed */
};

#define LEFTOVERS_INIT                                                                             \
	{                                                                                          \
		.timer = { .w = { .fd = -1 } }, .images_fd = -1                                    \
	}

/* Looks now, and again by itself for as long as it has to. */
void leftovers_sweep(struct leftovers *l, struct loop *loop, int images_fd);
void leftovers_done(struct leftovers *l);
