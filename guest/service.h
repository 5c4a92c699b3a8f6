#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <base/loop.h>

#include "agent.h"
#include "chan.h"
#include "child.h"
#include "command.h"

/*
 * The service port: the host connects, and its first frame says what for
 * (wire/guest_proto.h): a program, the agent's own streams, a copy.
 * Several at once, each with its own bounded buffers.
 */
#define SERVICE_STREAMS_MAX 48u
#define SERVICE_START_MS    10000u /* the first frame must be there by then */
#define SERVICE_LINGER_MS   2000u  /* after the last frame, for the host to close */

struct conn;

struct service {
	struct loop *loop;
	struct reaper *reaper;
	const struct command *command; /* of the agent: defaults of user, cwd and environment */
	struct agent *agent;           /* whose streams ATTACH gets */
	bool has_state;
	const char *copy_root;   /* NULL: the whole guest; a directory in tests */
	bool stopping;           /* new requests are refused */
	unsigned count, running; /* streams, processes */
	unsigned attached;
	struct conn *list;
	struct loop_fd listener;
	int listen_fd;
};

void service_init(struct service *s, struct loop *loop, struct reaper *reaper,
	const struct command *command, struct agent *agent);

/* Takes connections from a listening AF_VSOCK socket (the service's from here on). */
int service_listen(struct service *s, int listen_fd);

/* One connected stream, whose peer is the host. The service's, also on failure. */
void service_take(struct service *s, int fd);

/* Ends every stream and closes the socket; programs are left to the reaper's owner. */
void service_done(struct service *s);

/* ---- for those who serve a stream: exec.c, attach.c ---- */

struct conn_ops {
	/* As chan_ops.frame, for every frame after the first. */
	int (*frame)(struct conn *c, const struct guest_frame_hdr *h, const uint8_t *payload);
	/* Bytes left the out buffer. */
	void (*space)(struct conn *c);
	/* The stream is closed. conn_free(c) when nothing holds it any more, now or later. */
	void (*closed)(struct conn *c);
	/* The timer fired; not after conn_finish. */
	void (*timeout)(struct conn *c);
};

struct conn {
	struct conn *next;
	struct service *service;
	const struct conn_ops *ops; /* NULL until the first frame */
	void *data;                 /* of whoever serves it */
	struct loop_timer timer;
	bool finished;
	struct chan chan;
};

/* The last frame was sent: the host may close. closed() follows. */
void conn_finish(struct conn *c);

/* Says ERROR as the last frame. */
void conn_refuse(struct conn *c, uint32_t code, const char *why);

/* Arms the timer; 0 disarms. */
void conn_timer(struct conn *c, unsigned ms);

void conn_free(struct conn *c);
