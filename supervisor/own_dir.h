#pragma once

#include <base/kerr.h>

/*
 * The directories that kosvmd keeps for itself: what lies there is trusted
 * at the next start, so nobody else may put anything there.
 */

/*
 * Makes path, and what of it is missing, 0700. -EPERM: it is there and belongs
 * to a stranger, or others may write to it; a person chose that path, so it is
 * a person who mends it.
 */
int own_dir_make(const char *path, struct kerr *e);

/*
 * parent/name, made 0700 if it is missing; parent's path is for messages. One
 * that others can look into is closed to them, with a warning. -EPERM: it
 * belongs to a stranger; -ELOOP or -ENOTDIR: it is a link or no directory.
 */
int own_dir_sub(int parent_fd, const char *parent, const char *name, int *ret_fd, struct kerr *e);

/*
 * One kosvmd a directory: the lock lives as long as the process. -EBUSY:
 * another one has it.
 */
int own_dir_lock(const char *path, struct kerr *e);
