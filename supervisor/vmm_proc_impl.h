#pragma once

#include <sys/queue.h>

#include "vmm_proc.h"

/* What the parts of struct vmm_proc share: vmm_proc.c, vmm_end.c, vmm_start.c, vmm_adopt.c,
 * vmm_request.c. */

struct vmm_request {
	STAILQ_ENTRY(vmm_request) link;
	enum vmm_msg_type type;
	struct vmm_msg_limits msg; /* its id is the request's; the rest for LIMITS alone */
	bool sent;
	vmm_done_fn *done; /* NULL: forgotten */
	void *user;
};

struct vmm_proc {
	struct loop *loop;
	const struct vmm_proc_ops *ops;
	void *user;

	/* The process. */
	struct vmm_identity id;
	int pidfd; /* -1 once it is gone */
	struct loop_pid pidw;

	/* The socket. */
	int sock;
	struct loop_fd w;
	bool attached; /* it has got BOOT, or answered ATTACH */
	bool running;  /* it said so */

	/* Its end. */
	struct loop_timer linger;
	struct loop_timer killed; /* since SIGKILL was sent first */
	bool given_up;            /* it did not go; ops is NULL once its owner is done with it */
	bool condemned;           /* its own words count no more */
	enum vmm_end reason;
	char text[512];

	/* What it has to answer: ATTACH, or the first of the requests. */
	struct loop_timer patience;
	uint64_t patience_ns;
	STAILQ_HEAD(vmm_request_list, vmm_request) requests;
	unsigned request_count;
	uint64_t next_request;

	/* Adoption only. */
	int dirfd;
	struct loop_timer retry;
	int attach_error; /* of the last attempt; 0: it is waited for */
};

/* ---- vmm_proc.c ---- */

struct vmm_proc *vmm_proc_new(struct loop *loop, const struct vmm_proc_ops *ops, void *user);
/* Takes fd as the socket and reads it. 0 or -errno (fd is closed). */
int vmm_proc_take_socket(struct vmm_proc *p, int fd);
void vmm_proc_drop_socket(struct vmm_proc *p);
/* SIGKILL; this text is the reason, whatever it still says. */
void vmm_proc_condemn(struct vmm_proc *p, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Starts to wait for an answer, or stops. */
void vmm_proc_wait_answer(struct vmm_proc *p, bool on);
/* What comes from a VMM ends up in logs and on terminals, and it may be the guest's by now. */
void vmm_text_clean(char *s);

/* Reads at most so many messages; the watch is gone when the socket is of no more use. */
void vmm_proc_drain(struct vmm_proc *p, int most);

/* ---- vmm_end.c ---- */

/* Watches p->pidfd from now on. */
int vmm_proc_watch(struct vmm_proc *p, struct kerr *e);
/* It said its last word, or closed its socket: it has 5 s to be gone. */
void vmm_proc_linger(struct vmm_proc *p);

/* ---- vmm_request.c ---- */

/* Sends the next request, if there is one and nothing is waited for. */
void vmm_request_pump(struct vmm_proc *p);
int vmm_request_reply(struct vmm_proc *p, const struct vmm_reply *r);
/* No answer will come. */
void vmm_request_fail_all(struct vmm_proc *p, int result);
/* "PAUSE": what is waited for, or NULL. */
const char *vmm_request_waiting(const struct vmm_proc *p);

/* ---- vmm_adopt.c ---- */

/* Field 22 of /proc/PID/stat. -ESRCH: no such process. */
int vmm_start_time(pid_t pid, uint64_t *ret);
int vmm_adopt_attached(struct vmm_proc *p, const struct vmm_msg_attached *m);
/* The connection was closed before ATTACHED. */
void vmm_adopt_again(struct vmm_proc *p, int error);
