#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <base/loop.h>
#include <wire/board.h>

/*
 * The listening socket by which a later kosvmd comes in. One caller is
 * heard at a time, the latest; it has to say ATTACH with the boot id of the
 * board first. Loop thread.
 */
struct door {
	int listen_fd; /* -1: there is none; owned */
	uint8_t boot_id[BOARD_BOOT_ID_LEN];
	struct loop_fd watch;
	int caller; /* has not said ATTACH yet; -1: nobody */
	struct loop_fd caller_watch;
	/* A caller that may come in: the fd becomes the owner's. False: not now, it is closed. */
	bool (*enter)(struct door *d, int fd);
};

#define DOOR_INIT                                                                                  \
	{                                                                                          \
		.listen_fd = -1, .watch = LOOP_FD_INIT, .caller = -1, .caller_watch = LOOP_FD_INIT \
	}

/* Takes listen_fd over. */
void door_init(struct door *d, int listen_fd, const uint8_t boot_id[static BOARD_BOOT_ID_LEN],
	bool (*enter)(struct door *d, int fd));
/* Callers are heard from now on. Nothing to do without a socket. */
int door_open(struct door *d, struct loop *loop, struct kerr *e);
void door_done(struct door *d);
