#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <base/kerr.h>

/*
 * Quotas by cgroup v2 (the kernel's Documentation/admin-guide/cgroup-v2.rst),
 * for kosvmd. One thread.
 *
 *   BASE/              kosvm/ at the top of the hierarchy for root, else the cgroup that
 *                      was delegated to kosvmd
 *   BASE/kosvmd/       kosvmd itself, where BASE was its own: a cgroup that hands on
 *                      controllers has no processes
 *   BASE/agents-ID/    this kosvmd's; ID: of its state directory
 *   BASE/agents-ID/N/  agent N's VMM
 */
enum cgroup_controller { CGROUP_CPU, CGROUP_MEMORY, CGROUP_PIDS, CGROUP_IO, CGROUP_CONTROLLERS };
const char *cgroup_controller_name(enum cgroup_controller c);

struct cgroup_base {
	int fd;     /* of agents-ID; -1: there is none */
	int parent; /* of BASE; -1 */
	char name[80];
	bool has[CGROUP_CONTROLLERS];
	char why[CGROUP_CONTROLLERS][256]; /* it has not */
	unsigned disk_major, disk_minor;   /* with CGROUP_IO */
};

struct cgroup_limits {
	uint64_t cpu_permille; /* of one processor, from 10; 0: no limit */
	uint64_t cpu_weight;   /* 1 .. 10000; 0: the kernel's 100 */
	uint64_t memory;       /* bytes; 0: no limit. Swap: none */
	uint64_t pids;         /* threads count; 0: no limit */
	uint64_t disk_bytes; /* a second, each way, on the disk of cgroup_base_open; 0: no limit */
	uint64_t disk_ops;   /* the same */
};

/* Where to look; all NULL: where this machine has it. For tests. */
struct cgroup_place {
	const char *root; /* where cgroup2 is mounted; NULL: as /proc/self/mountinfo says */
	const char *own;  /* this process's cgroup below it; NULL: as /proc/self/cgroup says */
};

/*
 * Finds or makes the base. id: at most 40 bytes; disk: st_dev of what agents
 * write to. Always returns; what could not be had, and why, is in *ret. This
 * process may be in another cgroup afterwards. Without any controller there is
 * no base.
 */
void cgroup_base_open(
	struct cgroup_base *ret, const struct cgroup_place *place, const char *id, dev_t disk);
/* What is empty goes, too. */
void cgroup_base_close(struct cgroup_base *b);

/*
 * Makes `name` with these limits; one that is there is emptied (its processes
 * are killed) and made anew. *ret_fd: its directory, for CLONE_INTO_CGROUP.
 * Limits of a controller that the base does not have are left out. -ESTALE:
 * the base was removed underneath; close it and open it again.
 */
int cgroup_make(const struct cgroup_base *b, const char *name, const struct cgroup_limits *l,
	int *ret_fd, struct kerr *e);
/* One that is there. -ENOENT. */
int cgroup_open(const struct cgroup_base *b, const char *name, int *ret_fd);
/* New limits; -ENODEV: it was removed by somebody else. */
int cgroup_set(const struct cgroup_base *b, int fd, const struct cgroup_limits *l, struct kerr *e);
/* Moves a process there. What memory it has stays counted where it was. */
int cgroup_take(int fd, pid_t pid);
/* How often the kernel has killed in it because of memory.max. */
int cgroup_oom_kills(int fd, uint64_t *ret);
/*
 * Is the process in it? -ENODEV: it was removed. (That there is nobody in it
 * says nothing: before Linux 6.15 a VM has a kernel thread there, too.)
 */
int cgroup_has(int fd, pid_t pid, bool *ret);
/* Kills what is left in it and removes it. -EBUSY: something does not go yet: once more later. */
int cgroup_remove(const struct cgroup_base *b, const char *name);
/* Calls fn for the name of each one there is. */
int cgroup_each(const struct cgroup_base *b, void (*fn)(void *user, const char *name), void *user);
