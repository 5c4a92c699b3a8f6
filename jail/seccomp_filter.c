#include "seccomp_filter.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <base/cleanup.h>

#include <seccomp_filters.h> /* generated */
#include "seccomp_own_pid.h"

static const struct {
	const struct sock_filter *prog;
	size_t len;
} filters[] = {
	[SECCOMP_SETUP] = { seccomp_setup, array_size(seccomp_setup) },
	[SECCOMP_VCPU] = { seccomp_vcpu, array_size(seccomp_vcpu) },
	[SECCOMP_LOOP] = { seccomp_loop, array_size(seccomp_loop) },
	[SECCOMP_BLOCK] = { seccomp_block, array_size(seccomp_block) },
};

const struct sock_filter *seccomp_filter(enum seccomp_kind kind, size_t *ret_len)
{
	*ret_len = filters[kind].len;
	return filters[kind].prog;
}

static bool has_filters(void)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int jail_seccomp_check(struct kerr *e)
{
	if (has_filters())
		return 0;
	return kerr_set(e, EOPNOTSUPP,
		"this kernel has no seccomp filters that end a process: boot one that has "
		"(CONFIG_SECCOMP_FILTER)");
}

int seccomp_install(enum seccomp_kind kind, struct kerr *e)
{
	struct sock_filter prog[SECCOMP_LONGEST];
	struct sock_fprog fprog = { .len = (unsigned short)filters[kind].len, .filter = prog };
	uint32_t pid = (uint32_t)getpid();

	memcpy(prog, filters[kind].prog, filters[kind].len * sizeof(prog[0]));
	for (size_t i = 0; i < filters[kind].len; i++) {
		if (BPF_CLASS(prog[i].code) == BPF_JMP && prog[i].k == SECCOMP_OWN_PID)
			prog[i].k = pid;
	}
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &fprog) < 0)
		return kerr_errno(e, errno, "seccomp");
	return 0;
}
