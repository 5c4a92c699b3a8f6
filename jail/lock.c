#include <jail/lock.h>

#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <wire/board.h>

#include "landlock.h"
#include "seccomp_filter.h"

static int confine_process(struct kerr *e)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return kerr_errno(e, errno, "setrlimit core");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return kerr_errno(e, errno, "prctl dumpable");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return kerr_errno(e, errno, "prctl no_new_privs");
	return 0;
}

int jail_lock_process(uint32_t confine, struct kerr *e)
{
	int r = 0;

	if (confine & ~BOARD_CONFINE_ALL)
		return kerr_set(e, EINVAL, "jail: unknown protections 0x%x", confine);
	/* Landlock asks for no_new_privs of whoever is not privileged. */
	if (confine)
		r = confine_process(e);
	if (r == 0 && (confine & BOARD_CONFINE_LANDLOCK))
		r = landlock_deny_all(e);
	/* The last: it leaves no call for any of the above. */
	if (r == 0 && (confine & BOARD_CONFINE_SECCOMP))
		r = jail_seccomp_check(e);
	if (r == 0 && (confine & BOARD_CONFINE_SECCOMP))
		r = seccomp_install(SECCOMP_SETUP, e);
	return r < 0 ? kerr_wrap(e, "jail") : 0;
}

int jail_lock_thread(uint32_t confine, enum jail_thread thread, struct kerr *e)
{
	static const enum seccomp_kind kinds[] = {
		[JAIL_THREAD_VCPU] = SECCOMP_VCPU,
		[JAIL_THREAD_LOOP] = SECCOMP_LOOP,
		[JAIL_THREAD_BLOCK] = SECCOMP_BLOCK,
	};
	int r = 0;

	if (confine & BOARD_CONFINE_SECCOMP)
		r = seccomp_install(kinds[thread], e);
	return r < 0 ? kerr_wrap(e, "jail") : 0;
}
