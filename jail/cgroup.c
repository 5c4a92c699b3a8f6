#include <jail/cgroup.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <base/cleanup.h>

#include "cgroup_file.h"

#define PERIOD_US 100000u
#define GO_TRIES  50 /* of 2 ms: what was killed goes soon, or not for a long while */

/* ---- small files ---- */

int cgroup_file_put(int dirfd, const char *file, const char *text)
{
	_cleanup_close_ int fd = openat(dirfd, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t len = (ssize_t)strlen(text);

	if (fd < 0)
		return -errno;
	return write(fd, text, (size_t)len) == len ? 0 : -errno;
}

int cgroup_file_get(int dirfd, const char *file, char *buf, size_t len)
{
	_cleanup_close_ int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, len - 1);

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return 0;
}

int cgroup_file_dir(int dirfd, const char *name, bool make)
{
	int fd;

	if (make && mkdirat(dirfd, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* ---- limits ---- */

static int set(int fd, const char *file, const char *text, struct kerr *e)
{
	int r = cgroup_file_put(fd, file, text);

	return r < 0 ? kerr_errno(e, -r, "cgroup: %s = %s", file, text) : 0;
}

/* 0 is no limit. */
static int set_number(int fd, const char *file, uint64_t v, struct kerr *e)
{
	char text[24] = "max";

	if (v)
		(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	return set(fd, file, text, e);
}

static int set_cpu(int fd, const struct cgroup_limits *l, struct kerr *e)
{
	char text[48];
	int r;

	if (l->cpu_permille)
		(void)snprintf(text, sizeof(text), "%llu %u",
			(unsigned long long)l->cpu_permille * PERIOD_US / 1000, PERIOD_US);
	else
		(void)snprintf(text, sizeof(text), "max %u", PERIOD_US);
	r = set(fd, "cpu.max", text, e);
	return r < 0 ? r : set_number(fd, "cpu.weight", l->cpu_weight ? l->cpu_weight : 100, e);
}

static int set_memory(int fd, const struct cgroup_limits *l, struct kerr *e)
{
	int r = set_number(fd, "memory.max", l->memory, e);
	int swap;

	if (r < 0)
		return r;
	/* A kernel without swap accounting has no such file, and no swap to bound. */
	swap = cgroup_file_put(fd, "memory.swap.max", "0");
	if (swap < 0 && swap != -ENOENT)
		return kerr_errno(e, -swap, "cgroup: memory.swap.max = 0");
	/* One thread of a VMM less is no VMM. */
	return set(fd, "memory.oom.group", "1", e);
}

static int set_disk(
	const struct cgroup_base *b, int fd, const struct cgroup_limits *l, struct kerr *e)
{
	char bytes[24] = "max";
	char ops[24] = "max";
	char text[160];

	if (l->disk_bytes)
		(void)snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)l->disk_bytes);
	if (l->disk_ops)
		(void)snprintf(ops, sizeof(ops), "%llu", (unsigned long long)l->disk_ops);
	(void)snprintf(text, sizeof(text), "%u:%u rbps=%s wbps=%s riops=%s wiops=%s", b->disk_major,
		b->disk_minor, bytes, bytes, ops, ops);
	return set(fd, "io.max", text, e);
}

int cgroup_set(const struct cgroup_base *b, int fd, const struct cgroup_limits *l, struct kerr *e)
{
	int r = 0;

	if (b->has[CGROUP_CPU])
		r = set_cpu(fd, l, e);
	if (r == 0 && b->has[CGROUP_MEMORY])
		r = set_memory(fd, l, e);
	if (r == 0 && b->has[CGROUP_PIDS])
		r = set_number(fd, "pids.max", l->pids, e);
	if (r == 0 && b->has[CGROUP_IO])
		r = set_disk(b, fd, l, e);
	return r;
}

/* ---- one of an agent ---- */

static int make_dir(const struct cgroup_base *b, const char *name)
{
	if (mkdirat(b->fd, name, 0755) == 0)
		return 0;
	return errno == ENOENT || errno == ENODEV ? -ESTALE : -errno;
}

int cgroup_make(const struct cgroup_base *b, const char *name, const struct cgroup_limits *l,
	int *ret_fd, struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	int r = cgroup_remove(b, name); /* what a crash left */

	if (r < 0 && r != -ENODEV)
		return kerr_errno(e, -r, "cgroup %s/%s: the old one does not go", b->name, name);
	r = make_dir(b, name);
	if (r < 0)
		return kerr_errno(e, -r, "cgroup %s/%s", b->name, name);
	fd = cgroup_file_dir(b->fd, name, false);
	r = fd < 0 ? kerr_errno(e, -fd, "cgroup %s/%s", b->name, name) : cgroup_set(b, fd, l, e);
	if (r < 0) {
		(void)unlinkat(b->fd, name, AT_REMOVEDIR);
		return r;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

int cgroup_open(const struct cgroup_base *b, const char *name, int *ret_fd)
{
	int fd = cgroup_file_dir(b->fd, name, false);

	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

int cgroup_take(int fd, pid_t pid)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%d", (int)pid);
	return cgroup_file_put(fd, "cgroup.procs", text);
}

/* The number behind `key ` at the beginning of a line. */
static int value_of(const char *text, const char *key, uint64_t *ret)
{
	size_t len = strlen(key);

	for (const char *p = text; p && *p; p = strchr(p, '\n'), p += p != NULL) {
		if (strncmp(p, key, len) == 0 && p[len] == ' ') {
			*ret = strtoull(p + len + 1, NULL, 10);
			return 0;
		}
	}
	return -EPROTO;
}

int cgroup_oom_kills(int fd, uint64_t *ret)
{
	char text[512] = "";
	int r = cgroup_file_get(fd, "memory.events", text, sizeof(text));

	return r < 0 ? r : value_of(text, "oom_kill", ret);
}

int cgroup_has(int fd, pid_t pid, bool *ret)
{
	int procs = openat(fd, "cgroup.procs", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_fclose_ FILE *f = procs < 0 ? NULL : fdopen(procs, "r");
	int one = 0;

	if (!f)
		return errno == ENOENT ? -ENODEV : -errno;
	*ret = false;
	while (!*ret && fscanf(f, "%d", &one) == 1)
		*ret = one == pid;
	return ferror(f) ? -ENODEV : 0;
}

int cgroup_remove(const struct cgroup_base *b, const char *name)
{
	const struct timespec pause = { .tv_nsec = 2000000 };
	_cleanup_close_ int fd = cgroup_file_dir(b->fd, name, false);

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	for (int i = 0;; i++) {
		if (unlinkat(b->fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		if (errno != EBUSY || i == GO_TRIES)
			return -errno;
		(void)cgroup_file_put(fd, "cgroup.kill", "1"); /* Linux 5.14 */
		(void)nanosleep(&pause, NULL);
	}
}

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

int cgroup_each(const struct cgroup_base *b, void (*fn)(void *user, const char *name), void *user)
{
	_cleanup_close_ int fd = openat(b->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!d)
		return -errno;
	(void)steal_fd(&fd);
	while ((entry = readdir(d))) {
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			fn(user, entry->d_name);
	}
	return 0;
}
