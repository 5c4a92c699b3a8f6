#include "store_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/hex.h>

#include "child.h"

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

static int tmp_name(char name[static 64], struct kerr *e)
{
	uint8_t tag[12];

	if (getrandom(tag, sizeof(tag), 0) != (ssize_t)sizeof(tag))
		return kerr_errno(e, errno, "getrandom");
	memcpy(name, STORE_TMP_PREFIX, sizeof(STORE_TMP_PREFIX));
	hex_encode(tag, sizeof(tag), name + strlen(STORE_TMP_PREFIX));
	return 0;
}

/*
 * The lock tells a temporary file in use from one that a crash left. Taken
 * just after creation: a cleaner in between removes the name, which shows
 * as a link count of zero. A file system without flock has no such guard.
 */
static int tmp_guard(int fd)
{
	struct stat st;

	(void)flock(fd, LOCK_EX | LOCK_NB);
	if (fstat(fd, &st) < 0)
		return -errno;
	return st.st_nlink == 0 ? -EAGAIN : 0;
}

int store_tmp(int dirfd, char name[static 64], int *ret_fd, struct kerr *e)
{
	for (int attempt = 0; attempt < 16; attempt++) {
		_cleanup_close_ int fd = -1;
		int r = tmp_name(name, e);

		if (r < 0)
			return r;
		fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return kerr_errno(e, errno, "store: create a temporary file");
		r = tmp_guard(fd);
		if (r == -EAGAIN)
			continue;
		if (r < 0)
			return kerr_errno(e, -r, "store: temporary file");
		*ret_fd = steal_fd(&fd);
		return 0;
	}
	return kerr_set(e, EBUSY, "store: something removes temporary files as they are made");
}

void store_abort(int dirfd, const char *name)
{
	int saved = errno;

	(void)unlinkat(dirfd, name, 0);
	errno = saved;
}

int store_tmp_dir(int dirfd, char name[static 64], int *ret_fd, struct kerr *e)
{
	for (int attempt = 0; attempt < 16; attempt++) {
		_cleanup_close_ int fd = -1;
		int r = tmp_name(name, e);

		if (r < 0)
			return r;
		if (mkdirat(dirfd, name, 0700) < 0)
			return kerr_errno(e, errno, "store: create a temporary directory");
		fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 && errno == ENOENT)
			continue;
		r = fd < 0 ? -errno : tmp_guard(fd);
		if (r == -EAGAIN)
			continue;
		if (r < 0)
			return kerr_errno(e, -r, "store: temporary directory");
		*ret_fd = steal_fd(&fd);
		return 0;
	}
	return kerr_set(
		e, EBUSY, "store: something removes temporary directories as they are made");
}

/*
 * What was unpacked is hostile: nested thousands deep, without permissions.
 * rm(1) copes with both in bounded memory and descriptors.
 */
int store_tmp_dir_remove(int dirfd, const char *name, struct kerr *e)
{
	const char *argv[] = { "rm", "-rf", "--one-file-system", "--", name, NULL };
	struct child_spec spec = {
		.argv = argv,
		.package = "coreutils",
		.cwd_fd = dirfd,
		.timeout_ns = 600 * CLOCK_NS_PER_S,
	};

	if (strncmp(name, STORE_TMP_PREFIX, strlen(STORE_TMP_PREFIX)) != 0 || strchr(name, '/'))
		return kerr_set(e, EINVAL, "store: %s is no temporary directory", name);
	return child_run(&spec, e);
}

int store_lock(int dirfd, struct kerr *e)
{
	_cleanup_close_ int fd = -1;

	fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return kerr_errno(e, errno, "store: open");
	while (flock(fd, LOCK_EX) < 0) {
		if (errno != EINTR)
			return kerr_errno(e, errno, "store: lock");
	}
	return steal_fd(&fd);
}

/* True when nobody holds the guard: the owner is gone. */
static bool tmp_is_left_over(int dirfd, const char *name)
{
	_cleanup_close_ int fd = -1;

	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	/* A link, a socket or something closed was not made by us; any other error says nothing. */
	if (fd < 0)
		return errno == ELOOP || errno == ENXIO || errno == EACCES;
	return flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

/* "<64 hex>.kind" whose image is missing: the other thing a crash can leave. */
static bool sidecar_is_orphan(int dirfd, const char *name)
{
	char image[STORE_NAME_LEN];
	struct digest d;

	if (strlen(name) != STORE_SIDECAR_LEN - 1 ||
		strcmp(name + STORE_NAME_LEN - 1, ".kind") != 0)
		return false;
	memcpy(image, name, STORE_NAME_LEN - 1);
	image[STORE_NAME_LEN - 1] = '\0';
	if (hex_decode(image, d.bytes, DIGEST_LEN) < 0)
		return false;
	return faccessat(dirfd, image, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

int store_clean(int dirfd, struct kerr *e)
{
	_cleanup_close_ int lock = -1;
	_cleanup_(closedirp) DIR *dir = NULL;
	int held = 0;
	int fd;

	lock = store_lock(dirfd, e);
	if (lock < 0)
		return lock;
	fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return kerr_errno(e, errno, "store: open");
	dir = fdopendir(fd);
	if (!dir) {
		int r = kerr_errno(e, errno, "store: open");

		(void)close(fd);
		return r;
	}
	for (;;) {
		struct dirent *entry;

		errno = 0;
		entry = readdir(dir);
		if (!entry)
			return errno ? kerr_errno(e, errno, "store: read the directory") : held;
		if (strncmp(entry->d_name, STORE_TMP_PREFIX, strlen(STORE_TMP_PREFIX)) == 0) {
			if (!tmp_is_left_over(dirfd, entry->d_name)) {
				held = 1;
				continue;
			}
		} else if (!sidecar_is_orphan(dirfd, entry->d_name)) {
			continue;
		}
		if (unlinkat(dirfd, entry->d_name, 0) == 0 || errno == ENOENT)
			continue;
		if (errno != EISDIR && errno != EPERM)
			return kerr_errno(e, errno, "store: remove %s", entry->d_name);
		if (store_tmp_dir_remove(dirfd, entry->d_name, e) < 0)
			return kerr_wrap(e, "store: remove %s", entry->d_name);
	}
}
