#pragma once

#include <stdint.h>

#include <base/loop.h>
#include <wire/board.h>
#include <wire/vmm_proto.h>

/*
 * One kosvm-vmm process, as kosvmd sees it: started with a socket and
 * nothing else, watched by pidfd. Loop thread only.
 */
struct vmm_proc;

struct vmm_proc_ops {
	void (*running)(void *user);
	/* The guest asks for (cid, port); answer with vmm_proc_accept or _refuse. */
	void (*guest_connect)(
		void *user, uint64_t id, uint64_t dst_cid, uint32_t dst_port, uint32_t src_port);
	void (*connected)(void *user, uint64_t id, int result);
	/*
	 * The process is gone and reaped; reason 0: it never said why. Last
	 * call; vmm_proc_free may be called from inside.
	 */
	void (*gone)(void *user, enum vmm_end reason, const char *text);
};

struct vmm_proc_config {
	const char *program; /* path of kosvm-vmm */
	const struct board *board;
	const int *fds; /* the board's table, borrowed */
	size_t nfds;
	int stderr_fd; /* borrowed */
};

int vmm_proc_start(struct vmm_proc **ret, struct loop *loop, const struct vmm_proc_config *cfg,
	const struct vmm_proc_ops *ops, void *user, struct kerr *e);

/* fd is handed on and closed here in any case. 0 or -errno. */
int vmm_proc_connect(struct vmm_proc *p, uint64_t id, uint32_t port, int fd);
int vmm_proc_accept(struct vmm_proc *p, uint64_t id, int fd);
int vmm_proc_refuse(struct vmm_proc *p, uint64_t id);

int vmm_proc_quit(struct vmm_proc *p);  /* orderly: disks are flushed */
void vmm_proc_kill(struct vmm_proc *p); /* SIGKILL */
pid_t vmm_proc_pid(const struct vmm_proc *p);

/* Kills and reaps when it is still there. NULL is fine. */
void vmm_proc_free(struct vmm_proc *p);
