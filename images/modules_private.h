#pragma once

#include "modules.h"

#define MODULE_NAME_MAX 64u

/* The name without directory and ".ko…", '-' as '_'; 0 or -EINVAL. */
int module_name_of(const char *path, char out[static MODULE_NAME_MAX]);

/* Opens for reading; -errno (-EXDEV when the path or a link leads out of the tree). */
int modules_open_beneath(int dirfd, const char *path);

int modules_dirfd(const struct modules *m);
