/* Landlock by its system calls: the headers of a distribution know fewer rights than its next
 * kernel. */
#include "landlock.h"

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <jail/lock.h>

#define CREATE_RULESET_VERSION 1u /* LANDLOCK_CREATE_RULESET_VERSION */

/* struct landlock_ruleset_attr as of ABI 6; an older kernel takes it when what it does not know is
 * 0. */
struct ruleset {
	uint64_t fs;
	uint64_t net;
	uint64_t scoped;
};

/* What came with which ABI (linux/landlock.h): bits 0 up to, but not including, `end`. */
static uint64_t bits(unsigned end)
{
	return (1ULL << end) - 1;
}

static struct ruleset everything(int abi)
{
	return (struct ruleset){
		/* execute to make_sym; refer; truncate; ioctl_dev */
		.fs = bits(abi >= 5        ? 16
				: abi >= 3 ? 15
				: abi >= 2 ? 14
					   : 13),
		/* bind_tcp, connect_tcp */
		.net = abi >= 4 ? bits(2) : 0,
		/* abstract_unix_socket, signal */
		.scoped = abi >= 6 ? bits(2) : 0,
	};
}

int jail_landlock_abi(void)
{
	long r = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);

	return r < 0 ? -errno : (int)r;
}

int landlock_deny_all(struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	struct ruleset rules;
	int abi = jail_landlock_abi();

	if (abi == -ENOSYS || abi == -EOPNOTSUPP)
		return kerr_set(e, EOPNOTSUPP,
			"this kernel %s: boot one that has it, with \"landlock\" in its lsm= list",
			abi == -ENOSYS ? "has no Landlock" : "has Landlock switched off");
	if (abi < 0)
		return kerr_errno(e, -abi, "landlock_create_ruleset");
	rules = everything(abi);
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
	if (fd < 0)
		return kerr_errno(e, errno, "landlock_create_ruleset, ABI %d", abi);
	if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return kerr_errno(e, errno, "landlock_restrict_self");
	return 0;
}
