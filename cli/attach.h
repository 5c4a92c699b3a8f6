#pragma once

#include <stdbool.h>

#include <base/kerr.h>

#include "keys.h"

/*
 * The agent's own streams, until it ends: its exit code or SESSION_DETACHED;
 * -errno. tty: it was created with a terminal.
 */
int attach_agent(const char *name, bool tty, bool input, bool signals, const struct keys *detach,
	struct kerr *e);
