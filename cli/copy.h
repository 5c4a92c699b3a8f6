#pragma once

#include <stdbool.h>

#include <base/kerr.h>

#include "copy_path.h"

/*
 * Both ways over a stream to kosvm-init (COPY_IN, COPY_OUT of
 * wire/guest_proto.h), which is opened here. 0 or -errno.
 */

/* From here into an agent. follow: a symbolic link that src names is followed. */
int copy_in(const struct copy_path *src, const struct copy_path *dst, bool follow, struct kerr *e);

/*
 * From an agent to here. The archive is the guest's word: nothing is
 * written outside of what dst names, no link of the guest's is followed,
 * and only files, directories and links are made, owned by this user.
 */
int copy_out(const struct copy_path *src, const struct copy_path *dst, struct kerr *e);
