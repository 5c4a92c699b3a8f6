#pragma once

#include <images/import.h>

/*
 * Making an EROFS image of a tree that somebody else may own: the tree is
 * never changed, yet what the guest mounts things on has to be in the
 * image. As root, the missing directories go into an overlay in a mount
 * namespace that ends with mkfs.erofs; else into a copy.
 */

/*
 * Adds to the tree rooted at the current directory what is missing of
 * ROOTFS_DIRS and makes the root itself 0755 and (as root) 0:0. What is
 * there already, of whatever type, stays. No symbolic link is followed. Safe between fork and exec.
 * 0 or -errno.
 */
int rootfs_tree_complete(void);

/* For a tree of our own (see store_tmp_dir), which is completed in place. */
int rootfs_tree_pack_own(int tree_fd, int out_fd, struct kerr *e);

/* For anybody's directory. dir_fd: O_PATH will do. */
int rootfs_tree_pack(const struct import_ctx *ctx, int dir_fd, int out_fd, struct kerr *e);
