#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <base/loop.h>

#include "child.h"
#include "command.h"
#include "output.h"
#include "streams.h"

/*
 * The agent: its process, its input, and its output on the log stream and
 * to those who are attached. A lost log stream does not stop it until the
 * backlog is full. With a terminal all its output is standard output.
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

/* One who is attached. */
struct agent_tap;
struct agent_tap_ops {
	/* Bytes of output that it can take; with less than AGENT_TAP_LEAST the agent waits. */
	size_t (*room)(struct agent_tap *t);
	/* At most what room said. May not untap. */
	void (*take)(
		struct agent_tap *t, enum guest_frame_type type, const uint8_t *data, size_t len);
	/* The agent's input takes bytes again. */
	void (*input)(struct agent_tap *t);
	/* Nothing more comes. May untap itself. */
	void (*ended)(struct agent_tap *t, int status);
};
#define AGENT_TAP_LEAST 4096u

struct agent_tap {
	const struct agent_tap_ops *ops;
	struct agent_tap *next;
};

struct agent {
	struct loop *loop;
	const struct agent_ops *ops;
	struct child child;
	struct streams streams;
	struct loop_timer drain;
	struct agent_tap *taps;
	struct agent_tap *feeder; /* whose frame is half in the pipe */
	bool running, ended, failed, settled, reported;
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

/* Sets the size of its terminal, if it has one. */
void agent_resize(struct agent *a, uint32_t rows, uint32_t cols);

/* There was a process, or there is one. */
bool agent_was_started(const struct agent *a);

/* t sees what comes from now on; ended(), at once or later, is the last it hears. */
void agent_tap(struct agent *a, struct agent_tap *t);
/* No-op when it is not there. */
void agent_untap(struct agent *a, struct agent_tap *t);

/* A tap has room again. */
void agent_resume(struct agent *a);

/* Input for the agent, as feed_take; one tap's frame at a time. */
int agent_feed(struct agent *a, struct agent_tap *t, const uint8_t *payload, size_t len);

/* Nothing more will come: every writer of its pipes has ended and the log has left. */
bool agent_quiet(const struct agent *a);

/* Everything has left: the host sees the end of the log stream before BYE and the power-off. */
void agent_log_end(struct agent *a);

void agent_done(struct agent *a);
