#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <base/loop.h>
#include <wire/board.h>
#include <wire/vmm_proto.h>

/*
 * One kosvm-vmm process, as kosvmd sees it: started with a socket and
 * nothing else, or taken over from an earlier kosvmd; watched and killed by
 * pidfd. Loop thread only.
 */
struct vmm_proc;

/* Names in the agent's directory. */
#define VMM_SOCKET_NAME "vmm.sock"
#define VMM_END_NAME    "vmm.end"

/*
 * Which process it is, for as long as this machine is up: a pid is used
 * again, a pid with its start time is not. After a reboot of the machine (its
 * boot id tells) no recorded identity means anything: do not adopt.
 */
struct vmm_identity {
	pid_t pid;
	uint64_t start_time; /* field 22 of /proc/PID/stat, proc(5) */
	/* Of the board: random, a secret. Whoever knows it and reaches vmm.sock controls the VM. */
	uint8_t boot_id[BOARD_BOOT_ID_LEN];
};

struct vmm_proc_ops {
	void (*running)(void *user);
	/* The guest asks for (cid, port); answer with vmm_proc_accept or _refuse. */
	void (*guest_connect)(
		void *user, uint64_t id, uint64_t dst_cid, uint32_t dst_port, uint32_t src_port);
	void (*connected)(void *user, uint64_t id, int result);
	/*
	 * The process is gone (and reaped, if it was a child); reason 0: it never
	 * said why here, but vmm_end_read may know. Last call; vmm_proc_free may
	 * be called from inside.
	 */
	void (*gone)(void *user, enum vmm_end reason, const char *text);
	/* An adopted VMM answered: what it does now. May be NULL without adoption. */
	void (*attached)(void *user, bool running, bool paused);
	/*
	 * Inside vmm_proc_start: the process exists and has got nothing yet, so
	 * no guest runs. Not 0: it is ended again and vmm_proc_start fails with
	 * this. May be NULL.
	 */
	int (*forked)(void *user, const struct vmm_identity *id, struct kerr *e);
};

/* jail/spawn.h; all 0: none. */
struct vmm_jail {
	uint32_t protections;
	uint32_t uid;
	uint64_t file_size;
	uint64_t memory;
	int cgroup_fd; /* borrowed; 0: none */
};

struct vmm_proc_config {
	const char *program; /* path of kosvm-vmm */
	/* With boot_id, listen_fd and end_fd if it shall outlive this kosvmd. */
	const struct board *board;
	const int *fds; /* the board's table, borrowed */
	size_t nfds;
	int stderr_fd; /* borrowed */
	struct vmm_jail jail;
};

int vmm_proc_start(struct vmm_proc **ret, struct loop *loop, const struct vmm_proc_config *cfg,
	const struct vmm_proc_ops *ops, void *user, struct kerr *e);

/*
 * Takes a VMM of an earlier kosvmd over: the process must be the one of `id`,
 * then it is attached to through dirfd/vmm.sock. -ESRCH: that process is
 * gone (vmm_end_read may tell why); another -errno: it could not be looked at
 * and was not touched. 0: ops->attached or ops->gone follows, never from
 * inside this call; a VMM that is there and cannot be attached to within 10 s
 * is killed. Until attached, everything that needs the VMM is -ENOTCONN.
 */
int vmm_proc_adopt(struct vmm_proc **ret, struct loop *loop, int dirfd,
	const struct vmm_identity *id, const struct vmm_proc_ops *ops, void *user, struct kerr *e);

/*
 * fd is handed on and closed here in any case. 0 or -errno; -EAGAIN: the VMM
 * does not read. It is then asked for STATS, and killed when it does not
 * answer that either.
 */
int vmm_proc_connect(struct vmm_proc *p, uint64_t id, uint32_t port, int fd);
int vmm_proc_accept(struct vmm_proc *p, uint64_t id, int fd);
int vmm_proc_refuse(struct vmm_proc *p, uint64_t id);

/*
 * VMM_MSG_PAUSE, _RESUME or _STATS, in the order of the calls, one at a time.
 * done gets the VMM's result (0 or -errno) and its reply, or -ECONNRESET (it
 * is gone; before ops->gone), -ECANCELED (vmm_proc_free or _detach) and NULL;
 * never from inside this call. A VMM that does not answer one within 10 s is
 * killed. -EBUSY: too many wait, which _STATS meets first; -ENOTCONN: not attached, or ending.
 */
typedef void vmm_done_fn(void *user, int result, const struct vmm_reply *reply);
int vmm_proc_request(struct vmm_proc *p, enum vmm_msg_type type, vmm_done_fn *done, void *user);
/* VMM_MSG_LIMITS, in line with them. vsock->ops is 0. */
int vmm_proc_limits(struct vmm_proc *p, const struct rate_limit *disk,
	const struct rate_limit *vsock, vmm_done_fn *done, void *user);
/* The requests of this user go on, but its done is not called any more. */
void vmm_proc_request_forget(struct vmm_proc *p, const void *user);

int vmm_proc_quit(struct vmm_proc *p); /* orderly: disks are flushed */
/*
 * SIGKILL. A process that the kernel holds all the same (a disk that does not
 * answer) is waited for 30 s: then gone comes with those words, given_up is
 * true, and it is reaped whenever it goes.
 */
void vmm_proc_kill(struct vmm_proc *p);
bool vmm_proc_given_up(const struct vmm_proc *p);
pid_t vmm_proc_pid(const struct vmm_proc *p); /* 0 once gone */
void vmm_proc_identity(const struct vmm_proc *p, struct vmm_identity *ret);

/* How long ATTACH and requests may take, and a third of how long SIGKILL may; 0: 10 s. For tests.
 */
void vmm_proc_set_patience(struct vmm_proc *p, uint64_t ns);

/* Frees and lets the VMM live on, detached, for a later kosvmd. NULL is fine. */
void vmm_proc_detach(struct vmm_proc *p);

/* Kills, and reaps a child, when it is still there; waits 10 s at most. NULL is fine. */
void vmm_proc_free(struct vmm_proc *p);

/* ---- what the VMM is given to outlive kosvmd ---- */

/*
 * A fresh listening socket dirfd/vmm.sock, mode 0600; an old one is removed.
 * For board.listen_fd; the caller's copy is closed once the VMM has it.
 */
int vmm_listen(int dirfd, int *ret_fd, struct kerr *e);

/*
 * A fresh file dirfd/vmm.end, mode 0600, its space taken already (a full disk
 * does not silence the VMM). For board.end_fd.
 */
int vmm_end_create(int dirfd, int *ret_fd, struct kerr *e);

/*
 * The last word of a VMM. fd: the file, open for reading. -ENODATA: it said
 * none (it was killed, or never booted, or runs); -EPROTO: the file is not
 * what a VMM writes. The text comes printable and NUL-terminated.
 */
int vmm_end_read(int fd, struct vmm_msg_ended *ret);
