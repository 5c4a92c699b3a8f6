#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <base/loop.h>

#include "child.h"
#include "command.h"
#include "forward.h"
#include "output.h"

/*
 * The agent: its process, and its output on the log stream. A lost log
 * stream does not stop it until the backlog is full.
 */
struct agent;
struct agent_ops {
	void (*ready)(struct agent *a, uint32_t pid);
	/* It could not be executed; neither ready nor exited follows. */
	void (*failed)(struct agent *a, const char *why);
	/* It ended, and all it wrote has left (or could not leave for AGENT_DRAIN_MS). */
	void (*exited)(struct agent *a, int status);
};
#define AGENT_DRAIN_MS 10000u

struct agent {
	struct loop *loop;
	const struct agent_ops *ops;
	struct child child;
	struct forward out, err;
	struct loop_timer drain;
	bool running, ended, failed, reported;
	struct output log;
};

/* Zero-cost state before agent_start, so that agent_quiet and agent_done work. */
void agent_init(struct agent *a, struct loop *loop, const struct agent_ops *ops,
	int (*open)(uint32_t port));

/* Starts it, and dials the log stream. Callbacks: from the loop. */
int agent_start(struct agent *a, struct reaper *r, const struct command *cmd,
	const struct user *user, const char *home, struct kerr *e);

/* Sends a signal to its process alone. No-op when it does not run. */
void agent_signal(struct agent *a, int signo);

/* Nothing more will come: every writer of its pipes has ended and the log has left. */
bool agent_quiet(const struct agent *a);

/* Everything has left: the host sees the end of the log stream before BYE and the power-off. */
void agent_log_end(struct agent *a);

void agent_done(struct agent *a);
