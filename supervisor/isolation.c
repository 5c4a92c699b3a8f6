#include "isolation.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/log.h>
#include <jail/lock.h>
#include <jail/spawn.h>
#include <wire/board.h>

#include "identity.h"

/* Where each one is made: when the VMM is born, or by itself. */
static const struct {
	uint32_t jail, confine;
} parts[SANDBOX_PROTECTIONS] = {
	[SANDBOX_MOUNT] = { .jail = JAIL_MOUNT },
	[SANDBOX_NETWORK] = { .jail = JAIL_NETWORK },
	[SANDBOX_IPC] = { .jail = JAIL_IPC },
	[SANDBOX_PID] = { .jail = JAIL_PID },
	[SANDBOX_UTS] = { .jail = JAIL_UTS },
	[SANDBOX_CGROUP] = { .jail = JAIL_CGROUP },
	[SANDBOX_TIME] = { .jail = JAIL_TIME },
	[SANDBOX_IDENTITY] = { .jail = JAIL_IDENTITY },
	[SANDBOX_RLIMITS] = { .jail = JAIL_RLIMITS },
	[SANDBOX_CAPABILITIES] = { .jail = JAIL_CAPABILITIES, .confine = BOARD_CONFINE_PROCESS },
	[SANDBOX_SECCOMP] = { .confine = BOARD_CONFINE_SECCOMP },
	[SANDBOX_LANDLOCK] = { .confine = BOARD_CONFINE_LANDLOCK },
};

/* 0, or why this host cannot. */
static int try_one(enum sandbox_protection p, const struct sandbox *box, struct kerr *e)
{
	int r = 0;

	if (p == SANDBOX_IDENTITY)
		r = identity_check(box, IDENTITY_PASSWD, IDENTITY_GROUP, IDENTITY_SUBUID, e);
	if (p == SANDBOX_LANDLOCK)
		r = jail_landlock_abi();
	if (p == SANDBOX_LANDLOCK && r < 0)
		return kerr_errno(e, -r, "this kernel does not enforce Landlock");
	if (p == SANDBOX_SECCOMP)
		r = jail_seccomp_check(e);
	if (r >= 0 && parts[p].jail)
		r = jail_probe(parts[p].jail, box->uids.first, e);
	return r < 0 ? r : 0;
}

static bool required(enum sandbox_protection p, const struct sandbox *box)
{
	/* No ordinary user has other uids to give away: asked of root, or of who asks for it. */
	if (p == SANDBOX_IDENTITY && box->need_line[p] == 0 && geteuid() != 0)
		return false;
	return box->need[p] == SANDBOX_REQUIRED;
}

void isolation_probe(struct isolation *i, const struct sandbox *box)
{
	*i = (struct isolation){ .missing = -1 };
	for (int p = 0; p < SANDBOX_PROTECTIONS; p++) {
		struct kerr err = { 0 };

		if (box->need[p] == SANDBOX_OFF) {
			(void)snprintf(i->why[p], sizeof(i->why[p]), "off by %s:%u", box->file,
				box->need_line[p]);
		} else if (try_one(p, box, &err) < 0) {
			(void)snprintf(i->why[p], sizeof(i->why[p]), "%s", err.msg);
			if (required(p, box) && i->missing < 0)
				i->missing = p;
		} else {
			i->on[p] = true;
			i->jail |= parts[p].jail;
			i->confine |= parts[p].confine;
			continue;
		}
		log_warn(
			"isolation: VMs run without %s: %s", sandbox_protection_name(p), i->why[p]);
	}
}

int isolation_check(const struct isolation *i, const struct sandbox *box, struct kerr *e)
{
	char line[16] = "";
	const char *name;

	if (i->missing < 0)
		return 0;
	name = sandbox_protection_name((enum sandbox_protection)i->missing);
	if (box->need_line[i->missing])
		(void)snprintf(line, sizeof(line), ":%u", box->need_line[i->missing]);
	return kerr_set(e, ENOTSUP,
		"isolation: %s is required (%s%s) and this host does not have it: %s; "
		"`%s = if-possible` in [isolation] there would do without",
		name, *line ? box->file : "the default; ", *line ? line : box->file,
		i->why[i->missing], name);
}

json_t *isolation_describe(const struct isolation *i, const struct sandbox *box)
{
	json_t *list = json_array();

	for (int p = 0; p < SANDBOX_PROTECTIONS && list; p++)
		(void)json_array_append_new(list,
			json_pack("{s:s, s:b, s:b, s:s}", "name", sandbox_protection_name(p),
				"required", required(p, box), "active", i->on[p], "why",
				i->why[p]));
	return list;
}
