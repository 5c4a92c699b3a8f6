#pragma once

#include <stdbool.h>

#include <base/loop.h>

/* A unix socket of mode 0600 on which kosvmd is asked. Embedded in its owner. */
struct listener {
	struct loop_fd w;
	struct loop_timer pause;
	int fd;
	char path[108];
	/* A connection, non-blocking and close-on-exec; fd is the callee's. */
	void (*fn)(struct listener *l, int fd);
};

#define LISTENER_INIT                                                                              \
	{                                                                                          \
		.w = LOOP_FD_INIT, .pause = LOOP_TIMER_INIT, .fd = -1                              \
	}

/* type: SOCK_STREAM or SOCK_SEQPACKET. What is at path is replaced: the caller holds the lock. */
int listener_open(struct listener *l, struct loop *loop, const char *path, int type,
	void (*fn)(struct listener *l, int fd), struct kerr *e);
/* Removes the socket. Fine on one that was never opened. */
void listener_close(struct listener *l);

/* Root and kosvmd's own user may ask. */
bool listener_peer_allowed(int fd);
