#include "vmm_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>

#define BATCH     64   /* messages handled before other watchers get their turn */
#define LAST_MOST 4096 /* messages taken from a VMM that has ended; more than a socket holds */

#define ERRNO_MAX 4095

/* A VMM that said its last word, or closed its socket, has this long to be gone. */
#define LINGER_NS (5 * CLOCK_NS_PER_S)

struct vmm_proc {
	struct loop_fd w;
	struct loop_pid pidw;
	struct loop_timer linger;
	struct loop *loop;
	int sock;
	bool running; /* it said so */
	pid_t pid;    /* 0 once reaped */
	enum vmm_end reason;
	char text[512];
	const struct vmm_proc_ops *ops;
	void *user;
};

/* Between fork and exec: only async-signal-safe calls. */
static _Noreturn void child_exec(int program_fd, int sock, int stderr_fd)
{
	static char name[] = "kosvm-vmm";
	char *const argv[] = { name, NULL };
	char *const envp[] = { NULL };
	sigset_t none;
	int null;

	null = open("/dev/null", O_RDWR);
	if (null < 0)
		_exit(126);
	/* Move what is kept out of the way of 0..3 first. */
	sock = fcntl(sock, F_DUPFD, 16);
	stderr_fd = fcntl(stderr_fd, F_DUPFD, 16);
	program_fd = fcntl(program_fd, F_DUPFD, 16);
	null = fcntl(null, F_DUPFD, 16);
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(stderr_fd, 2) < 0 ||
		dup2(sock, VMM_PROTO_FD) < 0 || dup2(program_fd, VMM_PROTO_FD + 1) < 0)
		_exit(126);
	(void)syscall(SYS_close_range, VMM_PROTO_FD + 2, ~0U, 0);
	(void)fcntl(VMM_PROTO_FD + 1, F_SETFD, FD_CLOEXEC);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)setsid();
	(void)fexecve(VMM_PROTO_FD + 1, argv, envp);
	_exit(127);
}

static void take_end(struct vmm_proc *p, const struct vmm_msg_ended *m)
{
	p->reason = m->reason >= VMM_END_POWEROFF && m->reason <= VMM_END_ERROR
		? (enum vmm_end)m->reason
		: VMM_END_ERROR;
	(void)snprintf(p->text, sizeof(p->text), "%.*s", (int)sizeof(m->text), m->text);
	/* It ends up in logs and on terminals, and the VMM may be the guest's by now. */
	for (char *s = p->text; *s; s++) {
		if (*s < 0x20 || *s > 0x7e)
			*s = '?';
	}
}

static void linger_passed(struct loop_timer *t)
{
	vmm_proc_kill(container_of(t, struct vmm_proc, linger));
}

static void linger_start(struct vmm_proc *p)
{
	if (p->linger.w.loop)
		return; /* its clock is not set back by saying it again */
	p->linger.fn = linger_passed;
	if (loop_timer_set(p->loop, &p->linger, LINGER_NS, 0) < 0)
		vmm_proc_kill(p);
}

static int handle(struct vmm_proc *p, const struct vmm_msg *m)
{
	switch (m->type) {
	case VMM_MSG_RUNNING:
		if (p->running)
			return -EPROTO;
		p->running = true;
		p->ops->running(p->user);
		return 0;
	case VMM_MSG_GUEST_CONNECT:
		p->ops->guest_connect(p->user, m->u.guest_connect.id, m->u.guest_connect.dst_cid,
			m->u.guest_connect.dst_port, m->u.guest_connect.src_port);
		return 0;
	case VMM_MSG_CONNECTED:
		if (m->u.connected.result < -ERRNO_MAX)
			return -EPROTO;
		p->ops->connected(p->user, m->u.connected.id, m->u.connected.result);
		return 0;
	case VMM_MSG_ENDED:
		take_end(p, &m->u.ended);
		linger_start(p);
		return 0;
	default:
		return -EPROTO;
	}
}

/* Returns false when the socket is of no more use. */
static bool drain(struct vmm_proc *p, int most)
{
	struct vmm_msg *m = malloc(sizeof(*m));
	bool alive = true;

	while (m && alive && most-- > 0) {
		int r = vmm_proto_recv(p->sock, m);

		if (r == -EAGAIN)
			break;
		if (r == 1) {
			/* A VMM has no descriptors to give. */
			for (size_t i = 0; i < m->nfds; i++)
				(void)close(m->fds[i]);
			r = handle(p, m);
		} else if (r == 0) {
			linger_start(p);
			alive = false;
			break;
		}
		if (r < 0) {
			p->reason = VMM_END_ERROR;
			(void)snprintf(p->text, sizeof(p->text), "VMM broke the protocol");
			vmm_proc_kill(p);
			alive = false;
		}
	}
	free(m);
	return alive;
}

static void sock_ready(struct loop_fd *w, uint32_t events)
{
	struct vmm_proc *p = container_of(w, struct vmm_proc, w);

	(void)events;
	if (!drain(p, BATCH))
		loop_fd_del(&p->w); /* the pidfd tells the rest */
}

static void process_ended(struct loop_pid *lp)
{
	struct vmm_proc *p = container_of(lp, struct vmm_proc, pidw);
	int status = 0;

	if (p->w.loop)
		(void)drain(p, LAST_MOST);
	loop_fd_del(&p->w);
	loop_timer_done(&p->linger);
	while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
		;
	p->pid = 0;
	if (p->reason == 0) {
		if (WIFSIGNALED(status))
			(void)snprintf(p->text, sizeof(p->text), "VMM was killed by signal %d (%s)",
				WTERMSIG(status), strsignal(WTERMSIG(status)));
		else
			(void)snprintf(p->text, sizeof(p->text), "VMM ended with code %d",
				WEXITSTATUS(status));
	}
	p->ops->gone(p->user, p->reason, p->text);
}

static int send_boot(struct vmm_proc *p, const struct vmm_proc_config *cfg, struct kerr *e)
{
	_cleanup_free_ uint8_t *fdt = malloc(BOARD_FDT_MAX);
	int len;
	int r;

	if (!fdt)
		return kerr_errno(e, ENOMEM, "board");
	len = board_encode(cfg->board, fdt, BOARD_FDT_MAX, e);
	if (len < 0)
		return len;
	r = vmm_proto_send(p->sock, VMM_MSG_BOOT, fdt, (size_t)len, cfg->fds, cfg->nfds);
	if (r < 0)
		return kerr_errno(e, -r, "send the board to the VMM");
	return 0;
}

static int watch(struct vmm_proc *p, struct loop *loop, struct kerr *e)
{
	int pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	int r;

	if (pidfd < 0)
		return kerr_errno(e, errno, "pidfd_open");
	p->pidw.fn = process_ended;
	r = loop_pid_add(loop, &p->pidw, pidfd);
	if (r < 0) {
		(void)close(pidfd);
		return kerr_errno(e, -r, "watch the VMM");
	}
	p->w.fn = sock_ready;
	r = loop_fd_add(loop, &p->w, p->sock, EPOLLIN);
	if (r < 0)
		return kerr_errno(e, -r, "watch the VMM");
	return 0;
}

int vmm_proc_start(struct vmm_proc **ret, struct loop *loop, const struct vmm_proc_config *cfg,
	const struct vmm_proc_ops *ops, void *user, struct kerr *e)
{
	_cleanup_close_ int program = open(cfg->program, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int child_end = -1;
	struct vmm_proc *p;
	int sv[2];
	int r;

	if (program < 0)
		return kerr_errno(e, errno, "%s: open", cfg->program);
	p = calloc(1, sizeof(*p));
	if (!p)
		return kerr_errno(e, ENOMEM, "VMM");
	p->loop = loop;
	p->w.fd = -1;
	p->pidw.w.fd = -1;
	p->linger.w.fd = -1;
	p->sock = -1;
	p->ops = ops;
	p->user = user;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0) {
		r = kerr_errno(e, errno, "VMM: socketpair");
		goto fail;
	}
	p->sock = sv[0];
	child_end = sv[1];
	/* Before there is a process: it never finds its socket empty. */
	r = send_boot(p, cfg, e);
	if (r < 0)
		goto fail;
	p->pid = fork();
	if (p->pid < 0) {
		r = kerr_errno(e, errno, "VMM: fork");
		p->pid = 0;
		goto fail;
	}
	if (p->pid == 0)
		child_exec(program, child_end, cfg->stderr_fd);
	r = watch(p, loop, e);
	if (r < 0)
		goto fail;
	*ret = p;
	return 0;
fail:
	vmm_proc_free(p);
	return r;
}

static int send_with_fd(
	struct vmm_proc *p, enum vmm_msg_type type, const void *payload, size_t len, int fd)
{
	int r = vmm_proto_send(p->sock, type, payload, len, &fd, 1);

	(void)close(fd);
	return r;
}

int vmm_proc_connect(struct vmm_proc *p, uint64_t id, uint32_t port, int fd)
{
	struct vmm_msg_connect m = { .id = id, .src_cid = 2, .port = port };

	return send_with_fd(p, VMM_MSG_CONNECT, &m, sizeof(m), fd);
}

int vmm_proc_accept(struct vmm_proc *p, uint64_t id, int fd)
{
	struct vmm_msg_id m = { .id = id };

	return send_with_fd(p, VMM_MSG_ACCEPT, &m, sizeof(m), fd);
}

int vmm_proc_refuse(struct vmm_proc *p, uint64_t id)
{
	struct vmm_msg_id m = { .id = id };

	return vmm_proto_send(p->sock, VMM_MSG_REFUSE, &m, sizeof(m), NULL, 0);
}

int vmm_proc_quit(struct vmm_proc *p)
{
	return vmm_proto_send(p->sock, VMM_MSG_QUIT, NULL, 0, NULL, 0);
}

void vmm_proc_kill(struct vmm_proc *p)
{
	if (p->pid > 0)
		(void)kill(p->pid, SIGKILL);
}

pid_t vmm_proc_pid(const struct vmm_proc *p)
{
	return p->pid;
}

void vmm_proc_free(struct vmm_proc *p)
{
	if (!p)
		return;
	loop_fd_del(&p->w);
	loop_pid_done(&p->pidw);
	loop_timer_done(&p->linger);
	if (p->pid > 0) {
		vmm_proc_kill(p);
		while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close_fd(&p->sock);
	free(p);
}
