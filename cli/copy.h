#pragma once

#include <stdbool.h>

#include <base/kerr.h>

#include "copy_path.h"

/*
 * Both ways over a stream to kosvm-init (COPY_IN, COPY_OUT of
 * wire/guest_proto.h), which is opened here. 0 or -errno.
 */

enum {
	COPY_FOLLOW = 1, /* a symbolic link that src names here is followed */
	COPY_OWNERS = 2, /* owners stay, as numbers; else copies are the receiver's */
};

/* From here into an agent. */
int copy_in(
	const struct copy_path *src, const struct copy_path *dst, unsigned flags, struct kerr *e);

/*
 * From an agent to here. The archive is the guest's word: nothing is
 * written outside of what dst names, no link of the guest's is followed,
 * and only files, directories and links are made.
 */
int copy_out(
	const struct copy_path *src, const struct copy_path *dst, unsigned flags, struct kerr *e);
