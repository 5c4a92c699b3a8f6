#include "own_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/log.h>
#include <wire/api_proto.h>

static int check_owner(const char *path, const struct stat *st, struct kerr *e)
{
	if (st->st_uid == geteuid() || st->st_uid == 0)
		return 0;
	return kerr_set(e, EPERM,
		"%s: belongs to user %u, who could change what kosvmd trusts: `chown` it to the "
		"user of kosvmd, or choose another with KOSVM_STATE and KOSVM_RUN",
		path, (unsigned)st->st_uid);
}

int own_dir_make(const char *path, struct kerr *e)
{
	char buf[300];
	struct stat st;

	(void)snprintf(buf, sizeof(buf), "%s", path);
	for (char *p = buf + 1;; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(buf, 0700) < 0 && errno != EEXIST)
			return kerr_errno(e, errno, "%s: mkdir", buf);
		*p = c;
		if (c == '\0')
			break;
	}
	if (stat(path, &st) < 0)
		return kerr_errno(e, errno, "%s: stat", path);
	if (!S_ISDIR(st.st_mode))
		return kerr_set(e, ENOTDIR, "%s: expected a directory", path);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return kerr_set(e, EPERM,
			"%s: mode %04o: others could change what kosvmd trusts: `chmod 700 %s`",
			path, (unsigned)st.st_mode & 07777, path);
	return check_owner(path, &st, e);
}

int own_dir_sub(int parent_fd, const char *parent, const char *name, int *ret_fd, struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	char path[320];
	struct stat st;
	int r;

	(void)snprintf(path, sizeof(path), "%s/%s", parent, name);
	if (mkdirat(parent_fd, name, 0700) < 0 && errno != EEXIST)
		return kerr_errno(e, errno, "%s: mkdir", path);
	fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
		return kerr_set(e, errno,
			"%s: expected a directory: what shall lie elsewhere is mounted there, not "
			"linked",
			path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return kerr_errno(e, errno, "%s: open", path);
	r = check_owner(path, &st, e);
	if (r < 0)
		return r;
	if (st.st_mode & (S_IRWXG | S_IRWXO)) {
		if (fchmod(fd, 0700) < 0)
			return kerr_errno(e, errno, "%s: chmod 700", path);
		log_warn("%s: mode %04o was open to others: it is 0700 now", path,
			(unsigned)st.st_mode & 07777);
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

int own_dir_lock(const char *dir, struct kerr *e)
{
	char path[320];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/kosvmd.lock", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return kerr_errno(e, errno, "%s: open", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int code = errno;

		(void)close(fd);
		return code == EWOULDBLOCK ? kerr_set(e, EBUSY, "%s: " API_RUNS_ALREADY, path)
					   : kerr_errno(e, code, "%s: lock", path);
	}
	return 0;
}
