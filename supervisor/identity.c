#include "identity.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/units.h>

#include "agent.h"

static bool within(const struct sandbox *box, uint64_t first, uint64_t last)
{
	return first <= box->uids.last && last >= box->uids.first;
}

static int taken(const struct sandbox *box, const char *what, const char *name, const char *file,
	struct kerr *e)
{
	return kerr_set(e, EEXIST,
		"uids %u-%u (%s%s) are not free: %s %.64s of %s is among them: give agents "
		"others, with uids = FIRST-LAST in [identity] of %s",
		box->uids.first, box->uids.last, box->uids_line ? "" : "the default of ", box->file,
		what, name, file, box->file);
}

/* A file that is not there has nobody in it; one that cannot be read may have. */
static int open_list(const char *path, FILE **ret, struct kerr *e)
{
	*ret = fopen(path, "re");
	if (!*ret && errno != ENOENT)
		return kerr_errno(e, errno, "%s", path);
	return 0;
}

static int check_users(const struct sandbox *box, const char *path, struct kerr *e)
{
	_cleanup_fclose_ FILE *f = NULL;
	struct passwd *p;
	int r = open_list(path, &f, e);

	while (r == 0 && f && (p = fgetpwent(f))) {
		if (within(box, p->pw_uid, p->pw_uid))
			r = taken(box, "user", p->pw_name, path, e);
	}
	return r;
}

static int check_groups(const struct sandbox *box, const char *path, struct kerr *e)
{
	_cleanup_fclose_ FILE *f = NULL;
	struct group *g;
	int r = open_list(path, &f, e);

	while (r == 0 && f && (g = fgetgrent(f))) {
		if (within(box, g->gr_gid, g->gr_gid))
			r = taken(box, "group", g->gr_name, path, e);
	}
	return r;
}

/* "name:first:count" */
static int check_subordinate(const struct sandbox *box, const char *path, struct kerr *e)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	size_t cap = 0;
	int r = open_list(path, &f, e);

	while (r == 0 && f && getline(&line, &cap, f) > 0) {
		char *rest = line;
		char *name;
		char *from;
		char *many;
		uint64_t first;
		uint64_t count;
		uint64_t last;

		line[strcspn(line, "\n")] = '\0';
		name = strsep(&rest, ":");
		from = strsep(&rest, ":");
		many = strsep(&rest, ":");
		if (!from || !many || units_parse_u64(from, UINT32_MAX, &first) < 0 ||
			units_parse_u64(many, UINT32_MAX, &count) < 0 || count == 0)
			continue;
		last = first + count - 1;
		if (within(box, first, last))
			r = taken(box, "the subordinate range of", name, path, e);
	}
	return r;
}

int identity_check(const struct sandbox *box, const char *passwd, const char *group,
	const char *subuid, struct kerr *e)
{
	int r = check_users(box, passwd, e);

	if (r == 0)
		r = check_groups(box, group, e);
	if (r == 0)
		r = check_subordinate(box, subuid, e);
	return r;
}

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

/* The owner of /proc/PID says nothing of who is not dumpable. */
static bool process_has(int proc, const char *pid, uint32_t uid)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	char path[32];
	size_t cap = 0;
	int fd;

	(void)snprintf(path, sizeof(path), "%.16s/status", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	f = fd < 0 ? NULL : fdopen(fd, "r");
	if (!f && fd >= 0)
		(void)close(fd);
	while (f && getline(&line, &cap, f) > 0) {
		if (strncmp(line, "Uid:", 4) == 0)
			return strtoul(line + 4, NULL, 10) == uid;
	}
	return false;
}

/* One that its agent has left behind, and SIGKILL did not end. */
static int in_use(uint32_t uid, bool *ret, struct kerr *e)
{
	_cleanup_(closedirp) DIR *d = opendir("/proc");
	struct dirent *entry;

	if (!d)
		return kerr_errno(e, errno, "/proc");
	*ret = false;
	while (!*ret && (entry = readdir(d))) {
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			*ret = process_has(dirfd(d), entry->d_name, uid);
	}
	return 0;
}

int identity_give(struct agent *a, struct kerr *e)
{
	const struct sandbox_uids *uids = &a->sup->sandbox.uids;
	uint32_t first = uids->first;
	bool busy = true;
	uint32_t uid = 0;
	int r = 0;

	if (a->row.host_uid >= uids->first && a->row.host_uid <= uids->last)
		return 0;
	while (r == 0 && busy) {
		r = db_host_uid_free(a->sup->db, first, uids->last, &uid, e);
		if (r == 0)
			r = in_use(uid, &busy, e);
		if (r == 0 && busy && uid == uids->last)
			r = kerr_set(e, EUSERS, "processes still run as the last of them");
		first = uid + 1;
	}
	if (r < 0)
		return kerr_wrap(e,
			"a uid for the agent, of %u-%u: more with uids = FIRST-LAST in [identity] of %s",
			uids->first, uids->last, a->sup->sandbox.file);
	a->row.host_uid = uid;
	return 0;
}
