#pragma once

#include <base/kerr.h>

/*
 * The way to kosvmd's sockets below the run directory. Whoever does not
 * find one there starts kosvmd (unless KOSVM_NO_START is set) and waits
 * until it serves.
 */
enum daemon_socket { DAEMON_HTTP, DAEMON_FDS };

/* The path of that socket, static; NULL with a reason. */
const char *daemon_path(enum daemon_socket which, struct kerr *e);

/*
 * In a directory of many, somebody else may listen: what is sent is
 * commands and open files. 0 when root or this user is behind fd.
 */
int daemon_check_peer(int fd, const char *path, struct kerr *e);

/*
 * A connect failed with -error: 0 to try once more, else that error. try is
 * the caller's count, 0 at first, and bounds how often.
 */
int daemon_missing(int error, const char *path, unsigned *tries, struct kerr *e);

/* A connection to the descriptor socket. */
int daemon_connect_fds(int *ret, struct kerr *e);
