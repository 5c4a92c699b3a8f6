#pragma once

#include <base/kerr.h>

/*
 * Room that imports leave free on the state directory's file system, for
 * the disks, logs and database rows of agents that run: a sixteenth of it,
 * 256 MiB at most.
 */

/* -ENOSPC, in words, when less than that is free. */
int reserve_check(int dirfd, struct kerr *e);
