#pragma once

#include <base/kerr.h>

/*
 * Loads the modules that the file `list` names, one path a line, in that
 * order. A module that is there already is fine; one that fails is logged
 * and passed over: what needed it says so more clearly. -errno only when
 * the list cannot be read; no list at all is 0 (everything is built in).
 */
int modules_load(const char *list, struct kerr *e);
