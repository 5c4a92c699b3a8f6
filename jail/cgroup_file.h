#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The small files of a cgroup. All return 0 (or a descriptor) or -errno. */
int cgroup_file_put(int dirfd, const char *file, const char *text);
/* NUL-terminated, cut to len. */
int cgroup_file_get(int dirfd, const char *file, char *buf, size_t len);
/* Opens the directory `name`. */
int cgroup_file_dir(int dirfd, const char *name, bool make);
