#pragma once

#include <stdbool.h>

#include <base/kerr.h>

#include "keys.h"

/*
 * A program in a guest and the standard streams of this process, over a
 * service stream (exec or attach of wire/guest_proto.h).
 */
struct session_config {
	int fd;           /* the stream; the caller's */
	const char *what; /* "the command": for messages */
	bool tty;         /* it has a terminal: bytes are passed on as they are */
	bool raw;         /* and so have we: ours becomes raw, and its size is told */
	bool input;       /* standard input is passed on */
	bool end_input;   /* without input: say so at once */
	bool signals;     /* INT, TERM and HUP are passed on */
	struct keys detach;
};

#define SESSION_DETACHED 256

/*
 * Until the program ends or the keys are typed: its exit code (128 + signal)
 * or SESSION_DETACHED; *ret_text (the caller's to free) is what the guest
 * says when it refused, else NULL. -errno when the stream broke.
 */
int session_run(const struct session_config *c, char **ret_text, struct kerr *e);
