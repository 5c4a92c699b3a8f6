#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <base/loop.h>

#include "child.h"

/*
 * Ends every process of the guest: SIGTERM, the grace, SIGKILL. The loop
 * quits when none is left, or when even SIGKILL does not help in time.
 */
struct shutdown {
	struct loop *loop;
	struct reaper *reaper;
	struct loop_timer timer;
	enum { SHUTDOWN_NOT, SHUTDOWN_TERM, SHUTDOWN_KILL } phase;
	/* kill(-1, signo); another one in tests. */
	int (*kill_all)(int signo);
};
#define SHUTDOWN_KILL_MS 3000u

void shutdown_init(struct shutdown *s, struct loop *loop, struct reaper *reaper);

/* A second call may only shorten the grace. */
void shutdown_begin(struct shutdown *s, uint32_t grace_ms);

/* The reaper found no process any more. */
void shutdown_childless(struct shutdown *s);

/* Says it on the console and switches the machine off; never returns as PID 1. */
_Noreturn void shutdown_power_off(void);

/*
 * From here on a crash of this very process becomes a message on the
 * console, an ERROR frame on *control_fd (if >= 0) and a power-off, not a
 * kernel panic.
 */
int shutdown_catch_faults(const int *control_fd);
