/* A new kosvm-vmm: fork, exec, and BOOT once its owner knows of it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "vmm_proc_impl.h"

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
	/* Away from kosvmd's terminal and its hang-ups: it may outlive kosvmd. */
	(void)setsid();
	(void)fexecve(VMM_PROTO_FD + 1, argv, envp);
	_exit(127);
}

static int fork_vmm(struct vmm_proc *p, const struct vmm_proc_config *cfg, int program,
	int child_end, struct kerr *e)
{
	pid_t pid = fork();
	int r;

	if (pid < 0)
		return kerr_errno(e, errno, "VMM: fork");
	if (pid == 0)
		child_exec(program, child_end, cfg->stderr_fd);
	p->id.pid = pid;
	memcpy(p->id.boot_id, cfg->board->boot_id, sizeof(p->id.boot_id));
	/* Nobody else reaps it: the pid is its own until we do. */
	p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p->pidfd < 0) {
		r = kerr_errno(e, errno, "VMM: pidfd_open");
		(void)kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return r;
	}
	r = vmm_start_time(pid, &p->id.start_time);
	return r < 0 ? kerr_errno(e, -r, "VMM: /proc/%d/stat", (int)pid) : 0;
}

static int send_boot(struct vmm_proc *p, const struct vmm_proc_config *cfg, const uint8_t *fdt,
	size_t len, struct kerr *e)
{
	int r = vmm_proto_send(p->sock, VMM_MSG_BOOT, fdt, len, cfg->fds, cfg->nfds);

	p->attached = true;
	/* A program that ended at once: the pidfd tells how. */
	if (r == -EPIPE || r == -ECONNRESET)
		return 0;
	return r < 0 ? kerr_errno(e, -r, "send the board to the VMM") : 0;
}

static int make_sockets(struct vmm_proc *p, int *ret_child_end, struct kerr *e)
{
	int sv[2];
	int r;

	/* The VMM's end blocks: it waits for BOOT there. */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return kerr_errno(e, errno, "VMM: socketpair");
	*ret_child_end = sv[1];
	r = io_set_nonblock(sv[0], 1);
	if (r < 0)
		(void)close(sv[0]);
	else
		r = vmm_proc_take_socket(p, sv[0]);
	return r < 0 ? kerr_errno(e, -r, "VMM: control socket") : 0;
}

int vmm_proc_start(struct vmm_proc **ret, struct loop *loop, const struct vmm_proc_config *cfg,
	const struct vmm_proc_ops *ops, void *user, struct kerr *e)
{
	_cleanup_close_ int program = open(cfg->program, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ uint8_t *fdt = NULL;
	_cleanup_close_ int child_end = -1;
	struct vmm_proc *p;
	int len;
	int r;

	if (program < 0)
		return kerr_errno(e, errno, "%s: open", cfg->program);
	fdt = malloc(BOARD_FDT_MAX);
	p = vmm_proc_new(loop, ops, user);
	if (!fdt || !p) {
		free(p);
		return kerr_errno(e, ENOMEM, "VMM");
	}
	len = board_encode(cfg->board, fdt, BOARD_FDT_MAX, e);
	r = len < 0 ? len : make_sockets(p, &child_end, e);
	if (r == 0)
		r = fork_vmm(p, cfg, program, child_end, e);
	/* Ours would keep the socket open when the VMM has closed its own. */
	close_fd(&child_end);
	if (r == 0 && ops->forked)
		r = ops->forked(user, &p->id, e);
	if (r == 0)
		r = send_boot(p, cfg, fdt, (size_t)len, e);
	if (r == 0)
		r = vmm_proc_watch(p, e);
	if (r < 0) {
		vmm_proc_free(p);
		return r;
	}
	*ret = p;
	return 0;
}
