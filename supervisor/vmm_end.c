/* How the process of a VMM ends: by itself, by SIGKILL, or not even then. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "vmm_proc_impl.h"

#define LAST_MOST 4096 /* messages taken from a VMM that has ended; more than a socket holds */
/* A VMM that said its last word, or closed its socket, has this long to be gone. */
#define LINGER_NS (5 * CLOCK_NS_PER_S)
/* One that was killed has so many times its patience to be gone. */
#define KILLED_PATIENCE 3
/* How long vmm_proc_free waits for a process that was killed. */
#define REAP_MS 10000

#ifndef P_PIDFD
#define P_PIDFD 3 /* <linux/wait.h>, which does not go together with <sys/wait.h> */
#endif

static void linger_passed(struct loop_timer *t)
{
	vmm_proc_kill(container_of(t, struct vmm_proc, linger));
}

void vmm_proc_linger(struct vmm_proc *p)
{
	if (p->linger.w.loop)
		return;                /* its clock is not set back by saying it again */
	loop_timer_done(&p->patience); /* it owes no answer any more, only its end */
	p->linger.fn = linger_passed;
	if (loop_timer_set(p->loop, &p->linger, LINGER_NS, 0) < 0)
		vmm_proc_kill(p);
}

/* Takes the status of a child that has ended, so that nothing of it stays. */
static void reap(struct vmm_proc *p)
{
	siginfo_t si = { 0 };
	int r;

	do
		r = waitid(P_PIDFD, (id_t)p->pidfd, &si, WEXITED | WNOHANG);
	while (r < 0 && errno == EINTR);
	close_fd(&p->pidfd);
	if (p->reason != 0)
		return;
	if (r < 0 || si.si_pid == 0) /* it is init's child now */
		(void)snprintf(p->text, sizeof(p->text),
			"VMM ended; how is not known, it was started by an earlier kosvmd");
	else if (si.si_code == CLD_EXITED)
		(void)snprintf(p->text, sizeof(p->text), "VMM ended with code %d", si.si_status);
	else if (si.si_status == SIGSYS)
		(void)snprintf(p->text, sizeof(p->text),
			"the VMM was stopped by its seccomp filter (SIGSYS): it asked the kernel for "
			"what it never needs, because of a flaw in it or an attack on it; its last "
			"words, if any, are in vmm.log, and the number of the system call is in the "
			"kernel's log");
	else
		(void)snprintf(p->text, sizeof(p->text), "VMM was killed by signal %d (%s)",
			si.si_status, strsignal(si.si_status));
}

static void release(struct vmm_proc *p)
{
	loop_fd_del(&p->w);
	loop_timer_done(&p->linger);
	loop_timer_done(&p->killed);
	loop_timer_done(&p->patience);
	loop_timer_done(&p->retry);
}

static void process_ended(struct loop_pid *lp)
{
	struct vmm_proc *p = container_of(lp, struct vmm_proc, pidw);

	if (p->given_up) {
		/* Everybody was told. */
		reap(p);
		if (!p->ops)
			vmm_proc_detach(p);
		return;
	}
	if (p->attached)
		vmm_proc_drain(p, LAST_MOST);
	release(p);
	reap(p);
	vmm_request_fail_all(p, -ECONNRESET);
	p->ops->gone(p->user, p->reason, p->text);
}

int vmm_proc_watch(struct vmm_proc *p, struct kerr *e)
{
	/* The loop closes its own before it tells. */
	int fd = dup(p->pidfd);
	int r = fd < 0 ? -errno : 0;

	p->pidw.fn = process_ended;
	if (r == 0)
		r = loop_pid_add(p->loop, &p->pidw, fd);
	if (r < 0 && fd >= 0)
		(void)close(fd);
	return r < 0 ? kerr_errno(e, -r, "watch the VMM") : 0;
}

/* SIGKILL waits until the kernel lets the process go; nobody here shall wait as long. */
static void does_not_go(struct loop_timer *t)
{
	struct vmm_proc *p = container_of(t, struct vmm_proc, killed);

	release(p);
	p->given_up = true;
	(void)snprintf(p->text, sizeof(p->text),
		"VMM was killed, but process %d does not go: the kernel holds it, for a disk that "
		"does not answer, perhaps",
		(int)p->id.pid);
	vmm_request_fail_all(p, -ECONNRESET);
	p->ops->gone(p->user, VMM_END_ERROR, p->text);
}

void vmm_proc_kill(struct vmm_proc *p)
{
	if (p->pidfd < 0)
		return;
	(void)syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0);
	p->killed.fn = does_not_go;
	if (p->pidw.w.loop && !p->killed.w.loop && !p->given_up)
		(void)loop_timer_set(p->loop, &p->killed, KILLED_PATIENCE * p->patience_ns, 0);
}

bool vmm_proc_given_up(const struct vmm_proc *p)
{
	return p->given_up;
}

void vmm_proc_detach(struct vmm_proc *p)
{
	if (!p)
		return;
	release(p);
	loop_pid_done(&p->pidw);
	vmm_request_fail_all(p, -ECANCELED);
	close_fd(&p->pidfd);
	close_fd(&p->sock);
	close_fd(&p->dirfd);
	free(p);
}

void vmm_proc_free(struct vmm_proc *p)
{
	if (!p)
		return;
	if (p->given_up && p->pidfd >= 0) {
		p->ops = NULL; /* its process is still to be reaped; then the rest goes */
		return;
	}
	if (p->pidfd >= 0) {
		struct pollfd ended = { .fd = p->pidfd, .events = POLLIN };

		vmm_proc_kill(p);
		while (poll(&ended, 1, REAP_MS) < 0 && errno == EINTR)
			;
		reap(p);
	}
	vmm_proc_detach(p);
}
