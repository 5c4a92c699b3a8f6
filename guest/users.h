#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include <base/kerr.h>

/*
 * Who a program runs as, looked up in the /etc/passwd and /etc/group of
 * the agent's root filesystem, which are hostile input: bounded, parsed by
 * hand, no NSS. See passwd(5), group(5).
 */
#define USERS_FILE_MAX (1u << 20)
#define USERS_NAME_MAX 64u
#define USERS_HOME_MAX 256u

struct user {
	uid_t uid;
	gid_t gid;
	char name[USERS_NAME_MAX]; /* the number in digits when no name is known */
	char home[USERS_HOME_MAX]; /* "" when none is known */
};

/*
 * spec: name, uid, or either with ":group" (name or gid). passwd and group
 * are the texts of the two files (NULL: the file is not there). A number
 * without an entry is fine, its gid is then the same number. uid 0 is
 * refused unless allow_root. -EINVAL with a text for a person.
 */
int user_resolve(const char *spec, const char *passwd, const char *group, bool allow_root,
	struct user *ret, struct kerr *e);

/* The same, with etc/passwd and etc/group below the directory rootfd. */
int user_resolve_at(
	int rootfd, const char *spec, bool allow_root, struct user *ret, struct kerr *e);

/* HOME: that of passwd when it is a directory here, else /state or /tmp. Valid as long as u. */
const char *user_home(const struct user *u, bool has_state);
