#include <images/import.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/units.h>

#include "child.h"

#define STATE_SIZE_MIN  (8ULL << 20)
#define STATE_SIZE_MAX  (16ULL << 40)
#define MKFS_TIMEOUT_NS (600 * CLOCK_NS_PER_S)

/*
 * A fresh sparse file reads as zeros: nothing has to be written where
 * zeros belong, and the guest need not do so later either
 * (assume_storage_prezeroed). The journal stays: a guest may be killed at
 * any time. No blocks are kept back for root, which the agent is not.
 */
static int run_mkfs(int fd, uint32_t uid, uint32_t gid, struct kerr *e)
{
	char path[CHILD_FD_PATH_LEN];
	char extended[128];
	const char *argv[] = { "mkfs.ext4", "-q", "-F", "-b", "4096", "-I", "256", "-m", "0", "-L",
		"state", "-E", extended, path, NULL };
	struct child_spec spec = {
		.argv = argv,
		.package = "e2fsprogs",
		.cwd_fd = -1,
		.keep_fds = &fd,
		.keep_count = 1,
		.timeout_ns = MKFS_TIMEOUT_NS,
	};

	child_fd_path(fd, path);
	(void)snprintf(extended, sizeof(extended),
		"root_owner=%u:%u,nodiscard,assume_storage_prezeroed=1", uid, gid);
	return child_run(&spec, e);
}

static int fill(int fd, uint64_t size, uint32_t uid, uint32_t gid, struct kerr *e)
{
	int r;

	if (ftruncate(fd, (off_t)size) < 0)
		return kerr_errno(e, errno, "state disk: setting its size");
	r = run_mkfs(fd, uid, gid, e);
	if (r < 0)
		return kerr_wrap(e, "state disk");
	if (fsync(fd) < 0)
		return kerr_errno(e, errno, "state disk: writing");
	return 0;
}

/* The name must be free: a state disk that is there is somebody's state. */
static int publish(int dirfd, const char *tmp, const char *name, struct kerr *e)
{
	_cleanup_close_ int dir = -1;

	/* link(2) never replaces; the temporary name goes after the new one is there. */
	if (linkat(dirfd, tmp, dirfd, name, 0) < 0)
		return kerr_errno(e, errno, "state disk %s", name);
	(void)unlinkat(dirfd, tmp, 0);
	dir = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fsync(dir) < 0)
		return kerr_errno(e, errno, "state disk %s: writing the directory", name);
	return 0;
}

int state_disk_make(
	int dirfd, const char *name, uint64_t size, uint32_t uid, uint32_t gid, struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	char tmp[64];
	int r;

	if (size < STATE_SIZE_MIN || size > STATE_SIZE_MAX || size % 4096 != 0)
		return kerr_set(e, EINVAL,
			"state disk %s: %llu bytes: expected 8M to 16T, a multiple of 4096", name,
			(unsigned long long)size);
	if (faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return kerr_errno(e, EEXIST, "state disk %s", name);
	r = store_tmp(dirfd, tmp, &fd, e);
	if (r < 0)
		return r;
	r = fill(fd, size, uid, gid, e);
	if (r == 0)
		r = publish(dirfd, tmp, name, e);
	if (r < 0)
		store_abort(dirfd, tmp);
	return r;
}
