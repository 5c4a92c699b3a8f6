#pragma once

#include <stdint.h>

#include <base/kerr.h>
#include <manifests/sandbox.h>

struct agent;

#define IDENTITY_PASSWD "/etc/passwd"
#define IDENTITY_GROUP  "/etc/group"
#define IDENTITY_SUBUID "/etc/subuid"

/*
 * Each agent's own uid, and gid of the same number, on the host: from the
 * range of sandbox.ini, its own until its row is gone, and not given while a
 * process still has it.
 *
 * -EEXIST: the range is not free: a user of passwd, a group or a subordinate
 * range lies in it (passwd(5), group(5), subuid(5); a file that is not there has none).
 * Users that only a directory service knows are not seen.
 */
int identity_check(const struct sandbox *box, const char *passwd, const char *group,
	const char *subuid, struct kerr *e);

/* Puts one into a->row.host_uid, if it has none of the range yet. -EUSERS: all are taken. */
int identity_give(struct agent *a, struct kerr *e);
