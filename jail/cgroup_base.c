/* Where the cgroups of agents can be, and which controllers there are for them. */
#include <jail/cgroup.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <base/cleanup.h>

#include "cgroup_file.h"

#define TEXT_MAX 256
#define ROOTS    "kosvm"
#define LEAF     "kosvmd"

static const char *const names[CGROUP_CONTROLLERS] = { "cpu", "memory", "pids", "io" };

const char *cgroup_controller_name(enum cgroup_controller c)
{
	return names[c];
}

/* Is word one of the blank-separated ones of list? */
static bool listed(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; (p = strstr(p, word)); p += len) {
		bool begins = p == list || p[-1] == ' ';

		if (begins && (p[len] == ' ' || p[len] == '\n' || p[len] == '\0'))
			return true;
	}
	return false;
}

/* Field 5 of the first line of mountinfo whose type is cgroup2, proc(5). */
static int find_mount(char buf[static TEXT_MAX])
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t cap = 0;

	while (f && getline(&line, &cap, f) > 0) {
		const char *type = strstr(line, " - ");

		if (type && strncmp(type, " - cgroup2 ", 11) == 0 &&
			sscanf(line, "%*s %*s %*s %*s %255s", buf) == 1)
			return 0;
	}
	return -ENOENT;
}

/* "0::/user.slice/kosvmd.service"; one that does not fit is none of ours. */
static int find_own(char buf[static TEXT_MAX])
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/cgroup", "re");
	_cleanup_free_ char *line = NULL;
	size_t cap = 0;

	while (f && getline(&line, &cap, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::", 3) == 0 && strlen(line) < TEXT_MAX) {
			(void)snprintf(buf, TEXT_MAX, "%s", line + 3);
			return 0;
		}
	}
	return -ENOENT;
}

/* Hands on what it has itself; which ones there are then is what counts. */
static void enable(int dirfd)
{
	char have[TEXT_MAX];
	char word[16];

	if (cgroup_file_get(dirfd, "cgroup.controllers", have, sizeof(have)) < 0)
		return;
	for (int c = 0; c < CGROUP_CONTROLLERS; c++) {
		(void)snprintf(word, sizeof(word), "+%s", names[c]);
		if (listed(have, names[c]))
			(void)cgroup_file_put(dirfd, "cgroup.subtree_control", word);
	}
}

__attribute__((format(printf, 2, 3))) static void none_has(
	struct cgroup_base *b, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (int c = 0; c < CGROUP_CONTROLLERS; c++)
		(void)snprintf(b->why[c], sizeof(b->why[c]), "%s", text);
}

/* A cgroup that hands on controllers may hold no process: kosvmd goes one down. */
static int step_down(int base)
{
	_cleanup_close_ int leaf = cgroup_file_dir(base, LEAF, true);

	return leaf < 0 ? leaf : cgroup_file_put(leaf, "cgroup.procs", "0");
}

/* Root's is beside those of services: a service with VMs in it could not be started again. */
static int open_parent(struct cgroup_base *b, int top, char *own)
{
	char *leaf = strrchr(own, '/');
	int r;

	if (geteuid() == 0) {
		enable(top);
		b->parent = cgroup_file_dir(top, ROOTS, true);
		if (b->parent < 0)
			none_has(b, "cgroup " ROOTS ": %s", strerror(-b->parent));
		return b->parent;
	}
	if (leaf && strcmp(leaf, "/" LEAF) == 0)
		*leaf = '\0'; /* it went there before */
	while (*own == '/')
		own++;
	b->parent = openat(top, *own ? own : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = b->parent < 0 ? -errno : step_down(b->parent);
	if (r < 0)
		none_has(b,
			"the cgroup of kosvmd, /%s, is not delegated to its user (%s): `systemd-run "
			"--user --scope -p Delegate=yes kosvmd` gives it one",
			own, strerror(-r));
	return r;
}

/* The limits are the whole disk's, not a partition's. */
static int find_disk(struct cgroup_base *b, dev_t dev)
{
	char path[80];
	char text[32];
	_cleanup_close_ int dir = -1;

	if (major(dev) == 0)
		return -ENODEV; /* a file system with no disk of its own */
	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	if (cgroup_file_get(dir, faccessat(dir, "partition", F_OK, 0) == 0 ? "../dev" : "dev", text,
		    sizeof(text)) < 0 ||
		sscanf(text, "%u:%u", &b->disk_major, &b->disk_minor) != 2)
		return -ENODEV;
	return 0;
}

static bool try_disk(struct cgroup_base *b)
{
	const struct cgroup_limits some = { .disk_bytes = 1u << 30, .disk_ops = 1000000 };
	_cleanup_close_ int fd = -1;
	bool can = cgroup_make(b, "try", &some, &fd, NULL) == 0;

	(void)cgroup_remove(b, "try");
	return can;
}

/* Whether there is one at all. */
static bool find_controllers(struct cgroup_base *b, const char *root, dev_t disk)
{
	char have[TEXT_MAX];
	bool any = false;

	if (cgroup_file_get(b->fd, "cgroup.subtree_control", have, sizeof(have)) < 0)
		have[0] = '\0';
	for (int c = 0; c < CGROUP_CONTROLLERS; c++) {
		b->has[c] = listed(have, names[c]);
		any |= b->has[c];
	}
	for (int c = 0; c < CGROUP_CONTROLLERS; c++) {
		if (!b->has[c])
			(void)snprintf(b->why[c], sizeof(b->why[c]),
				"the cgroup v2 hierarchy at %.80s does not hand on the controller %s%s",
				root, names[c],
				any ? "" : "; this machine may have its controllers in cgroup v1");
	}
	if (!b->has[CGROUP_IO])
		return any;
	b->has[CGROUP_IO] = find_disk(b, disk) == 0 && try_disk(b);
	if (!b->has[CGROUP_IO])
		(void)snprintf(b->why[CGROUP_IO], sizeof(b->why[CGROUP_IO]),
			"the file system of the state directory is not on one disk that has io.max");
	return any;
}

void cgroup_base_close(struct cgroup_base *b)
{
	_cleanup_close_ int top = -1;

	if (b->parent >= 0)
		(void)unlinkat(b->parent, b->name, AT_REMOVEDIR);
	if (b->parent >= 0 && geteuid() == 0)
		top = openat(b->parent, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Another kosvmd that was about to use it finds out, and makes it anew. */
	if (top >= 0)
		(void)unlinkat(top, ROOTS, AT_REMOVEDIR);
	close_fd(&b->fd);
	close_fd(&b->parent);
}

static void open_in(struct cgroup_base *b, const char *root, char *own, dev_t disk)
{
	_cleanup_close_ int top = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (top < 0) {
		none_has(b, "%s: %s", root, strerror(errno));
		return;
	}
	if (open_parent(b, top, own) < 0)
		return;
	enable(b->parent);
	b->fd = cgroup_file_dir(b->parent, b->name, true);
	if (b->fd < 0) {
		none_has(b, "cgroup %s: %s", b->name, strerror(-b->fd));
		return;
	}
	enable(b->fd);
	if (!find_controllers(b, root, disk))
		cgroup_base_close(b);
}

void cgroup_base_open(
	struct cgroup_base *ret, const struct cgroup_place *place, const char *id, dev_t disk)
{
	char mount[TEXT_MAX];
	char mine[TEXT_MAX] = "";

	*ret = (struct cgroup_base){ .fd = -1, .parent = -1 };
	(void)snprintf(ret->name, sizeof(ret->name), "agents-%.40s", id);
	if (!place->root && find_mount(mount) < 0) {
		none_has(ret, "cgroup v2 is not mounted");
		return;
	}
	if (place->own)
		(void)snprintf(mine, sizeof(mine), "%s", place->own);
	else if (find_own(mine) < 0)
		mine[0] = '\0';
	open_in(ret, place->root ? place->root : mount, mine, disk);
}
