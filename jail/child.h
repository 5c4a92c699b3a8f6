#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jail/spawn.h>

/* Who the parent is: a child in a new user namespace cannot ask any more. */
struct jail_parent {
	uint32_t uid, gid;
	bool user_namespace; /* the child was given one */
};

/* The flags of clone(2) that these protections ask for. */
uint64_t jail_clone_flags(uint32_t protections);

/*
 * In the child: all but exec, with async-signal-safe calls only. 0, or -errno
 * and the step that failed.
 */
int jail_confine(
	const struct jail_config *cfg, const struct jail_parent *parent, const char **step);

/* What to do about a step that failed with err; "" for what explains itself. */
const char *jail_hint(const char *step, int err);
