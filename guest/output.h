#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <base/loop.h>

#include "backlog.h"
#include "chan.h"
#include "dial.h"
#include "sink.h"

/*
 * The agent's output on its way to the host's log: kept until the host
 * has it on disk, sent again when the log stream was lost. When the host
 * stays away and the backlog is full, `sink` has no room: the agent waits.
 */
struct output {
	struct sink sink; /* where the agent's pipes go */
	struct backlog backlog;
	struct chan chan;
	struct dial dial;
	bool ending;
	/* Room in the sink again, or bytes left for the host. Not from inside a commit. */
	void (*moved)(struct output *o);
	/* Sees all that is taken, as it comes, and how much it can take now. May be NULL. */
	size_t (*copy_room)(const struct output *o);
	void (*copy)(struct output *o, enum guest_frame_type type, const uint8_t *data, size_t len);
	uint8_t bounce[GUEST_FRAME_MAX];
};

/* open: see dial.h. Nothing starts. */
void output_init(struct output *o, struct loop *loop, int (*open)(uint32_t port),
	void (*moved)(struct output *o));

/* Dials the host's log port. */
void output_start(struct output *o);

/* All that was taken is in the host's hands, as far as the kernel of the guest knows. */
bool output_has_left(const struct output *o);

/* No more comes: the host sees the end of the stream. A lost stream is not dialled again. */
void output_end(struct output *o);

void output_done(struct output *o);
