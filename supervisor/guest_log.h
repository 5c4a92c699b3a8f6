#pragma once

#include <stdint.h>

#include <base/loop.h>

#include "agent_log.h"
#include "guest_stream.h"

/*
 * The stream on which kosvm-init brings the agent's output: each record goes
 * into the agent's log and is acknowledged when it is on disk, so that the
 * guest keeps what a killed kosvmd had in memory only. Embedded in its owner,
 * who opens stream with guest_stream_open. Loop thread only.
 */
struct guest_log {
	struct guest_stream stream;
	struct loop *loop;
	struct agent_log *to;  /* borrowed */
	uint64_t taken, acked; /* payload of this stream */
	struct loop_timer settle;
	/* The guest broke the protocol; the stream is closed. */
	void (*broken)(struct guest_log *l);
};

void guest_log_init(struct guest_log *l, struct loop *loop, struct agent_log *to,
	void (*broken)(struct guest_log *l));
/* Nothing was taken yet: the stream is a new one. */
void guest_log_restart(struct guest_log *l);
void guest_log_done(struct guest_log *l);
