#pragma once

#include <stdbool.h>

#include <base/loop.h>

#include "child.h"
#include "command.h"

/*
 * The exec service: the host connects, names a program, and talks to it.
 * Several at once, each with its own bounded buffers: a slow reader stops
 * only its own program.
 */
#define EXEC_MAX         32u /* programs */
#define EXEC_STREAMS_MAX 48u /* streams: also those that wait for EXEC or for the host to close */
#define EXEC_START_MS    10000u /* the host's EXEC frame must be there by then */
#define EXEC_HANGUP_MS   2000u  /* from SIGHUP to SIGKILL when the host is gone */
#define EXEC_LINGER_MS   2000u  /* after the last frame, for the host to close */

struct exec;

struct exec_service {
	struct loop *loop;
	struct reaper *reaper;
	const struct command *agent; /* defaults of user, cwd and environment */
	bool has_state;
	bool stopping;           /* new programs are refused */
	unsigned count, running; /* streams, programs */
	struct exec *list;
	struct loop_fd listener;
	int listen_fd;
};

void exec_service_init(struct exec_service *s, struct loop *loop, struct reaper *reaper,
	const struct command *agent, bool has_state);

/* Takes connections from a listening AF_VSOCK socket (the service's from here on). */
int exec_service_listen(struct exec_service *s, int listen_fd);

/* One connected stream, whose peer is the host. The service's, also on failure. */
void exec_service_take(struct exec_service *s, int fd);

/* Ends every stream and closes the socket; programs are left to the reaper's owner. */
void exec_service_done(struct exec_service *s);
