#pragma once

#include <stddef.h>
#include <stdint.h>

struct conn;

/*
 * ATTACH: a stream that sees what the agent writes from now on, and may
 * feed its input. A reader that is slow holds the agent, as a slow terminal
 * does, but for GUEST_ATTACH_STALL_MS without progress at most: then it is
 * let go with an ERROR. The log never waits for more than that.
 */
#define ATTACH_MAX 8u

/* The first frame of a stream was ATTACH. 0 or -EPROTO. */
int attach_begin(struct conn *c, const uint8_t *payload, size_t len);
