#include "users.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <base/units.h>

/* (uid_t)-1 means "leave it" to the kernel. */
#define ID_MAX 0xfffffffeu

/* One column of a colon-separated line. */
struct column {
	const char *s;
	size_t len;
};

static bool column_is(const struct column *c, const char *s)
{
	return strlen(s) == c->len && memcmp(c->s, s, c->len) == 0;
}

static bool column_id(const struct column *c, uint32_t *ret)
{
	char digits[11];
	uint64_t v;

	if (c->len == 0 || c->len >= sizeof(digits))
		return false;
	memcpy(digits, c->s, c->len);
	digits[c->len] = '\0';
	if (units_parse_u64(digits, ID_MAX, &v) < 0)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* Copies a column of printable text that fits; else leaves ret alone. */
static bool column_copy(const struct column *c, char *ret, size_t size)
{
	if (c->len == 0 || c->len >= size)
		return false;
	for (size_t i = 0; i < c->len; i++) {
		unsigned char ch = (unsigned char)c->s[i];

		if (ch < 0x20 || ch == 0x7f)
			return false;
	}
	memcpy(ret, c->s, c->len);
	ret[c->len] = '\0';
	return true;
}

/* Splits the line at *text into exactly `want` columns; moves on behind it. */
static bool line_next(const char **text, struct column *cols, size_t want, bool *ret_good)
{
	const char *s = *text;
	const char *end = s + strcspn(s, "\n");
	size_t n = 0;

	if (*s == '\0')
		return false;
	*text = *end ? end + 1 : end;
	for (const char *start = s; n < want; n++) {
		const char *stop = memchr(start, ':', (size_t)(end - start));

		cols[n].s = start;
		cols[n].len = (size_t)((stop ? stop : end) - start);
		if (!stop) {
			n++;
			break;
		}
		start = stop + 1;
	}
	*ret_good = n == want && *s != '#';
	return true;
}

/* name:password:uid:gid:comment:home:shell */
static bool passwd_find(const char *passwd, const char *name, const uint32_t *uid, struct user *ret)
{
	struct column c[7];
	bool good;

	while (passwd && line_next(&passwd, c, array_size(c), &good)) {
		struct user u = { 0 };

		if (!good || !column_id(&c[2], &u.uid) || !column_id(&c[3], &u.gid))
			continue;
		if (name ? !column_is(&c[0], name) : u.uid != *uid)
			continue;
		if (!column_copy(&c[0], u.name, sizeof(u.name)))
			continue;
		if (!column_copy(&c[5], u.home, sizeof(u.home)) || u.home[0] != '/')
			u.home[0] = '\0';
		*ret = u;
		return true;
	}
	return false;
}

/* name:password:gid:members */
static bool group_find(const char *group, const char *name, gid_t *ret)
{
	struct column c[4];
	bool good;

	while (group && line_next(&group, c, array_size(c), &good)) {
		if (good && column_is(&c[0], name) && column_id(&c[2], ret))
			return true;
	}
	return false;
}

int user_resolve(const char *spec, const char *passwd, const char *group, bool allow_root,
	struct user *ret, struct kerr *e)
{
	char name[USERS_NAME_MAX];
	struct column who = { .s = spec, .len = strcspn(spec, ":") };
	struct column grp = { .s = spec + who.len + 1 };
	bool has_group = spec[who.len] == ':';
	struct user u = { 0 };
	uint32_t id;

	if (!column_copy(&who, name, sizeof(name)))
		return kerr_set(e, EINVAL, "user \"%.80s\": expected a name, uid or uid:gid", spec);
	if (column_id(&who, &id)) {
		if (!passwd_find(passwd, NULL, &id, &u)) {
			u.uid = u.gid = id;
			(void)snprintf(u.name, sizeof(u.name), "%u", id);
		}
	} else if (!passwd_find(passwd, name, NULL, &u)) {
		return kerr_set(e, EINVAL,
			"user \"%s\": not in /etc/passwd of the image; use a number such as 1000:1000",
			name);
	}
	if (has_group) {
		grp.len = strlen(grp.s);
		if (!column_id(&grp, &u.gid) &&
			(!column_copy(&grp, name, sizeof(name)) ||
				!group_find(group, name, &u.gid)))
			return kerr_set(e, EINVAL,
				"user \"%.80s\": group is not in /etc/group of the image", spec);
	}
	if (u.uid == 0 && !allow_root)
		return kerr_set(
			e, EINVAL, "user \"%.80s\": the agent never runs as root (uid 0)", spec);
	*ret = u;
	return 0;
}

/* *ret stays NULL when there is no such file. */
static int read_text(int rootfd, const char *path, char **ret, struct kerr *e)
{
	_cleanup_close_ int fd = openat(rootfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	size_t len;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : kerr_errno(e, errno, "/%s", path);
	return io_read_all(fd, USERS_FILE_MAX, path, ret, &len, e);
}

int user_resolve_at(int rootfd, const char *spec, bool allow_root, struct user *ret, struct kerr *e)
{
	_cleanup_free_ char *passwd = NULL;
	_cleanup_free_ char *group = NULL;
	int r;

	r = read_text(rootfd, "etc/passwd", &passwd, e);
	if (r == 0)
		r = read_text(rootfd, "etc/group", &group, e);
	if (r == 0)
		r = user_resolve(spec, passwd, group, allow_root, ret, e);
	return r;
}

const char *user_home(const struct user *u, bool has_state)
{
	struct stat st;

	if (u->home[0] && stat(u->home, &st) == 0 && S_ISDIR(st.st_mode))
		return u->home;
	return has_state ? "/state" : "/tmp";
}
