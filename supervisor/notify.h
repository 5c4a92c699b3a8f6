#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <base/loop.h>

/*
 * The service manager's notification protocol, sd_notify(3): datagrams of
 * NAME=value lines to the unix socket that $NOTIFY_SOCKET names. Without
 * that variable everything here does nothing. Loop thread only.
 */
struct notify {
	int fd;
	struct loop_timer watchdog;
};

#define NOTIFY_INIT                                                                                \
	{                                                                                          \
		.fd = -1, .watchdog = LOOP_TIMER_INIT                                              \
	}

/*
 * Takes $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID out of the
 * environment, so that no child takes the word for us. -EINVAL: a socket
 * that is neither an absolute path nor abstract ("@name"), or too long.
 */
int notify_init(struct notify *n, struct kerr *e);
void notify_done(struct notify *n);

/* Requests are served. Sends WATCHDOG=1 from now on, if one was asked for. */
int notify_ready(struct notify *n, struct loop *loop, struct kerr *e);

/* One line for `systemctl status`. */
void notify_status(struct notify *n, const char *text);
/* The end has begun; text as for notify_status. */
void notify_stopping(struct notify *n, const char *text);
