/* Between clone and exec: each step takes something away that the next ones do not need. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/sched.h>
#include <linux/securebits.h>

#include <base/cleanup.h>

#define FILES     1280 /* vmm/machine_devices.c: streams of vsock, and what else it may need */
#define PROCESSES 64   /* threads: 32 vCPUs, disks, the loop */

#define STEP(name, call)                                                                           \
	do {                                                                                       \
		*step = (name);                                                                    \
		if ((call) < 0)                                                                    \
			return -errno;                                                             \
	} while (0)

uint64_t jail_clone_flags(uint32_t protections)
{
	static const struct {
		uint32_t protection;
		uint64_t flag;
	} flags[] = {
		{ JAIL_MOUNT, CLONE_NEWNS },
		{ JAIL_NETWORK, CLONE_NEWNET },
		{ JAIL_IPC, CLONE_NEWIPC },
		{ JAIL_PID, CLONE_NEWPID },
		{ JAIL_UTS, CLONE_NEWUTS },
		{ JAIL_TIME, CLONE_NEWTIME },
	};
	uint64_t sum = 0;

	for (size_t i = 0; i < array_size(flags); i++) {
		if (protections & flags[i].protection)
			sum |= flags[i].flag;
	}
	/* The right to make namespaces and to drop what is in the bounding set. */
	if (geteuid() != 0 && (sum || (protections & (JAIL_CGROUP | JAIL_CAPABILITIES))))
		sum |= CLONE_NEWUSER;
	return sum;
}

static int write_text(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t len = (ssize_t)strlen(text);

	return fd < 0 || write(fd, text, (size_t)len) != len ? -1 : 0;
}

/* The one uid and gid that it had, under their own numbers. */
static int map_ids(const struct jail_parent *parent, const char **step)
{
	char map[40];

	STEP("user namespace: setgroups", write_text("/proc/self/setgroups", "deny"));
	(void)snprintf(map, sizeof(map), "%u %u 1", parent->uid, parent->uid);
	STEP("user namespace: uid_map", write_text("/proc/self/uid_map", map));
	(void)snprintf(map, sizeof(map), "%u %u 1", parent->gid, parent->gid);
	STEP("user namespace: gid_map", write_text("/proc/self/gid_map", map));
	return 0;
}

/* An instance of tmpfs of its own, that has room for nothing and is on no path yet. */
static int make_root(const char **step)
{
	_cleanup_close_ int fs = -1;
	int root;

	STEP("root: fsopen tmpfs", fs = fsopen("tmpfs", FSOPEN_CLOEXEC));
	STEP("root: size", fsconfig(fs, FSCONFIG_SET_STRING, "size", "4096", 0));
	STEP("root: nr_inodes", fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "1", 0));
	STEP("root: mode", fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0555", 0));
	STEP("root: create", fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	STEP("root: fsmount",
		root = fsmount(fs, FSMOUNT_CLOEXEC,
			MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
				MOUNT_ATTR_NOEXEC));
	return root;
}

static int empty_root(const char **step)
{
	_cleanup_close_ int root = -1;

	STEP("root: private mounts", mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	root = make_root(step);
	if (root < 0)
		return root;
	/* Any directory that every host has: it is seen by nobody else and goes right away. */
	STEP("root: move_mount", move_mount(root, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH));
	STEP("root: fchdir", fchdir(root));
	STEP("root: pivot_root", syscall(SYS_pivot_root, ".", "."));
	/* The old root lies on top of the new one now, with all that was mounted in it. */
	STEP("root: umount the old one", umount2(".", MNT_DETACH));
	STEP("root: chdir", chdir("/"));
	return 0;
}

static int limit(int what, rlim_t most, const char **step)
{
	struct rlimit rl;

	STEP("rlimits", getrlimit((__rlimit_resource_t)what, &rl));
	if (rl.rlim_max > most)
		rl.rlim_max = most;
	rl.rlim_cur = rl.rlim_max;
	STEP("rlimits", setrlimit((__rlimit_resource_t)what, &rl));
	return 0;
}

static int limit_all(const struct jail_config *cfg, const char **step)
{
	const struct {
		int what;
		rlim_t most;
	} limits[] = {
		{ RLIMIT_CORE, 0 },
		{ RLIMIT_NOFILE, FILES },
		{ RLIMIT_FSIZE, cfg->file_size },
		/* All that the filters let it map later. */
		{ RLIMIT_DATA, cfg->memory ? cfg->memory : RLIM_INFINITY },
		{ RLIMIT_MEMLOCK, 0 },
		{ RLIMIT_MSGQUEUE, 0 },
		/* It counts what a uid has; one that is shared has more than a VMM. */
		{ RLIMIT_NPROC, cfg->protections & JAIL_IDENTITY ? PROCESSES : RLIM_INFINITY },
	};
	int r = 0;

	for (size_t i = 0; i < array_size(limits) && r == 0; i++)
		r = limit(limits[i].what, limits[i].most, step);
	/* One too many is an error of the write, not a signal. */
	(void)signal(SIGXFSZ, SIG_IGN);
	return r;
}

/* While it still may: what root could get back later. */
static int bound_capabilities(const char **step)
{
	const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED |
		SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
		SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
	int has;

	for (unsigned long cap = 0; (has = prctl(PR_CAPBSET_READ, cap, 0, 0, 0)) >= 0; cap++) {
		if (has)
			STEP("capabilities: bounding set", prctl(PR_CAPBSET_DROP, cap, 0, 0, 0));
	}
	STEP("capabilities: securebits", prctl(PR_SET_SECUREBITS, bits, 0, 0, 0));
	return 0;
}

static int own_identity(uint32_t uid, const char **step)
{
	STEP("identity: setgroups", setgroups(0, NULL));
	STEP("identity: setresgid", setresgid(uid, uid, uid));
	STEP("identity: setresuid", setresuid(uid, uid, uid));
	return 0;
}

static int no_capabilities(const char **step)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	STEP("capabilities: ambient set", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	STEP("capabilities: capset", syscall(SYS_capset, &header, none));
	STEP("capabilities: no_new_privs", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	return 0;
}

int jail_confine(const struct jail_config *cfg, const struct jail_parent *parent, const char **step)
{
	uint32_t p = cfg->protections;
	int r = 0;

	if (parent->user_namespace)
		r = map_ids(parent, step);
	if (r == 0 && (p & JAIL_UTS)) {
		/* It would know the host by it. */
		STEP("uts: sethostname", sethostname("kosvm", 5));
		STEP("uts: setdomainname", setdomainname("", 0));
	}
	/* Here, and not by clone: its root is the cgroup that it was born in. */
	if (r == 0 && (p & JAIL_CGROUP))
		STEP("namespaces: cgroup", syscall(SYS_unshare, CLONE_NEWCGROUP));
	if (r == 0 && (p & JAIL_MOUNT))
		r = empty_root(step);
	if (r == 0 && (p & JAIL_RLIMITS))
		r = limit_all(cfg, step);
	if (r == 0 && (p & JAIL_CAPABILITIES))
		r = bound_capabilities(step);
	if (r == 0 && (p & JAIL_IDENTITY))
		r = own_identity(cfg->uid, step);
	if (r == 0 && (p & JAIL_CAPABILITIES))
		r = no_capabilities(step);
	return r;
}

const char *jail_hint(const char *step, int err)
{
	if (strncmp(step, "exec", 4) == 0 && err == EACCES)
		return ": everybody must be allowed to execute it: chmod 755";
	if (strncmp(step, "exec", 4) == 0 && err == ENOENT)
		return ": it must be a static program: the jail has no loader";
	if (strncmp(step, "identity", 8) == 0 && err == EPERM)
		return ": only root can give each agent a uid of its own";
	if (strncmp(step, "namespaces", 10) == 0 && err == ENOSPC)
		return ": raise the limit in /proc/sys/user/";
	if (strncmp(step, "namespaces", 10) == 0 && err == EINVAL)
		return ": this kernel was built without them";
	if (strncmp(step, "namespaces", 10) == 0 && err == EPERM)
		return ": run kosvmd as root, or allow namespaces to ordinary users (sysctl "
		       "user.max_user_namespaces, kernel.unprivileged_userns_clone)";
	if (strncmp(step, "user namespace", 14) == 0)
		return ": this host restricts user namespaces of ordinary users";
	return "";
}
