#pragma once

#include <base/kerr.h>

/*
 * Removes the directory `name` in dirfd with all that is in it, never
 * following a link. One that is not there is fine.
 */
int tree_remove(int dirfd, const char *name, struct kerr *e);
