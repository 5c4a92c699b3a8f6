#pragma once

#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>

/*
 * A helper program (mkfs.erofs, tar, …) run to its end: found in
 * /usr/sbin:/usr/bin:/sbin:/bin only, with an environment of its own, no
 * standard input, only the descriptors named here, default signals. It
 * does not outlive the calling thread (PR_SET_PDEATHSIG).
 */
struct child_spec {
	const char *const *argv; /* argv[0] is the program's bare name; NULL-terminated */
	const char *package;     /* Debian's name of the package it comes from */
	int cwd_fd;              /* borrowed; -1: / */
	const int *keep_fds;     /* borrowed; open in the child under the same numbers */
	size_t keep_count;
	uint64_t timeout_ns;
	/*
	 * Called in the child before exec, after the change of directory, may
	 * be NULL. Async-signal-safe calls only. Non-zero ends the child and
	 * makes child_run -EOPNOTSUPP.
	 */
	int (*prepare)(void *user);
	void *user;
};

/*
 * 0 when it ended with code 0. Else the first of what it printed is the
 * message: -ENOENT (no such program; names the package), -ETIMEDOUT
 * (killed with its process group), -ENOSPC (its words say so),
 * -EOPNOTSUPP (see prepare), -EIO (any other failure).
 */
int child_run(const struct child_spec *spec, struct kerr *e);

/* "/proc/self/fd/N", by which a child opens what it was handed. */
#define CHILD_FD_PATH_LEN 32
void child_fd_path(int fd, char out[static CHILD_FD_PATH_LEN]);
