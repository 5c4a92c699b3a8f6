#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdint.h>
#include <sys/types.h>

#include <base/kerr.h>
#include <base/loop.h>
#include <wire/guest_proto.h>

#include "users.h"

/*
 * Processes that kosvm-init starts, and the reaping of every process that
 * ends (as PID 1 it inherits all orphans).
 */
struct child;

struct reaper {
	struct loop_signal sigchld;
	struct loop *loop;
	struct loop_timer again; /* more have ended than fit in one turn */
	struct child *children;
	/* No process is left but this one. May be NULL; may be called often. */
	void (*childless)(struct reaper *r);
};

int reaper_start(struct reaper *r, struct loop *loop, struct kerr *e);
void reaper_done(struct reaper *r);
/*
 * Reaps what has ended, at most REAPER_TURN; the rest in the next turns.
 * True when a wait(2) would find no child at all.
 */
#define REAPER_TURN 64
bool reaper_collect(struct reaper *r);

struct child_spec {
	char *const *argv; /* argv[0] is looked up in PATH of envp unless it has a slash */
	char *const *envp;
	const struct user *user;
	const char *cwd;
	bool terminal; /* fds[0] is one: it becomes the session's */
	/* Instead of a program: runs in the new process, whose exit code it gives. */
	int (*run)(const void *arg);
	const void *arg;
	int fds[3]; /* what becomes 0, 1 and 2: close-on-exec, above 2, the caller's */
};

struct child {
	pid_t pid;  /* 0 before the start and after the end */
	int status; /* of wait(2), valid in `ended` */
	struct child *next;
	struct reaper *reaper;
	struct loop_fd report; /* end of file: the exec worked */
	int report_fd;
	char program[256];
	char cwd[256];
	/* Once: the program runs (code 0), or it could not be executed: 126 or 127, and why. */
	void (*started)(struct child *c, int code, const char *why);
	/* Once, after started. May free. */
	void (*ended)(struct child *c);
};

/*
 * Starts a process: new session, no_new_privs, the user's ids and no other
 * groups, no capability but root's own, default signals, umask 022. 0 or
 * -errno with text; then neither callback comes. Needs root unless the user is oneself.
 */
int child_spawn(struct child *c, struct loop *loop, struct reaper *r, const struct child_spec *spec,
	struct kerr *e);

/* Signals the process group the child leads. No-op when it has ended. */
void child_kill(struct child *c, int signo);

/* Signals the process itself alone. No-op when it has ended. */
void child_signal(struct child *c, int signo);

/* The fields of a SIGNAL frame: 0, or -EPROTO when it names no signal there is. */
int child_signal_decode(const uint8_t *payload, size_t len, uint32_t *ret_signo);

/* A status of wait(2) as fields: CODE or SIGNAL. */
void child_put_status(struct guest_writer *w, int status);

/* An EXITED frame for a status of wait(2): its length. cap of 64 is enough. */
int child_exited_frame(uint8_t *buf, size_t cap, int status);
