#pragma once

#include <base/kerr.h>

/*
 * Opens a file or directory its user named; "-" is standard input, which is
 * copied into a nameless file when it is a pipe or a terminal.
 */
int cli_open(const char *path, int flags, struct kerr *e);
