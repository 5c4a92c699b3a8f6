#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include <base/kerr.h>

/* The mounts of the guest; docs/GUEST.md lists them for authors of agents. */

/* /dev, /proc and /sys of the initramfs. */
int mounts_early(struct kerr *e);

/* The root filesystem (EROFS), read-only, at a place of its own. */
int mounts_root(const char *device, struct kerr *e);

/*
 * Makes it the root: frees the initramfs, and mounts /proc, /sys, /dev and
 * the places where programs expect to write.
 */
int mounts_enter(struct kerr *e);

/* The state disk at /state, its top directory owned by uid:gid. */
int mounts_state(const char *device, uid_t uid, gid_t gid, struct kerr *e);

/* Writes everything out and takes /state down, or makes it read-only. 0, or -errno: not clean. */
int mounts_finish(bool has_state, struct kerr *e);
