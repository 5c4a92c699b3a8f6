#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <base/kerr.h>

/*
 * The half of the jail that a VMM is born into. Its other half, which it puts
 * on itself behind exec, is jail/lock.h.
 */
enum {
	JAIL_MOUNT = 1u << 0,        /* an empty, read-only tmpfs is all there is of files */
	JAIL_NETWORK = 1u << 1,      /* a network namespace with a loopback that is down */
	JAIL_IPC = 1u << 2,          /* System V IPC and message queues */
	JAIL_PID = 1u << 3,          /* it is process 1, and there is no other */
	JAIL_UTS = 1u << 4,          /* host name */
	JAIL_CGROUP = 1u << 5,       /* its own cgroup is the root of what it sees */
	JAIL_TIME = 1u << 6,         /* a time namespace */
	JAIL_IDENTITY = 1u << 7,     /* uid and gid `uid`, no other group */
	JAIL_RLIMITS = 1u << 8,      /* setrlimit(2): core, files, file size, processes, … */
	JAIL_CAPABILITIES = 1u << 9, /* none in any set, none to be had, no_new_privs */
	JAIL_ALL = (1u << 10) - 1,
};

struct jail_config {
	uint32_t protections; /* JAIL_* */
	uint32_t uid;         /* with JAIL_IDENTITY */
	uint64_t file_size;   /* with JAIL_RLIMITS: the most bytes it may make a file */
	uint64_t memory;      /* with it: of private memory that it may map; 0: any */
	const char *name;     /* argv[0], its only argument */
	int program_fd;       /* a static program that everybody may execute: there is no loader */
	int socket_fd;        /* its descriptor 3, VMM_PROTO_FD */
	int stderr_fd;
	int cgroup_fd; /* a directory of cgroup v2 that it is born in, jail/cgroup.h; 0: none */
};

/*
 * Starts the program with /dev/null, /dev/null, stderr_fd and socket_fd as its
 * descriptors 0 to 3, no other, and an empty environment. Who is not root gets
 * a user namespace for it as well. It is given back before the jail is built:
 * a step that fails comes as the child's VMM_MSG_ENDED on the socket, and nothing
 * was executed. -errno: there is no child; the message names the protection
 * that cannot be had. The caller is single-threaded, owns *ret_pidfd and reaps.
 * clone(2), namespaces(7), pivot_root(2).
 */
int jail_spawn(const struct jail_config *cfg, pid_t *ret_pid, int *ret_pidfd, struct kerr *e);

/*
 * Can this one JAIL_* be had here? Tries it in a child. uid: for JAIL_IDENTITY.
 * 0, or -errno with the step that failed and how to mend it.
 */
int jail_probe(uint32_t protection, uint32_t uid, struct kerr *e);
