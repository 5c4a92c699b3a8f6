#include <jail/spawn.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sched.h>

#include <base/cleanup.h>
#include <wire/vmm_proto.h>

#include "child.h"

#define PROGRAM_FD (VMM_PROTO_FD + 1)
#define ASIDE      16 /* above all of 0 to PROGRAM_FD */

static pid_t spawn_child(uint64_t flags, int cgroup_fd, int *ret_pidfd)
{
	struct clone_args args = {
		.flags = flags | CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)ret_pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)cgroup_fd,
	};

	if (cgroup_fd)
		args.flags |= CLONE_INTO_CGROUP;

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* The last word of a VMM that never was one. */
static _Noreturn void say_failed(int sock, const char *step, int err)
{
	struct vmm_msg_ended m = { .reason = VMM_END_ERROR, .code = (uint32_t)err };

	(void)snprintf(m.text, sizeof(m.text), "jail: %s: %s%s", step, strerror(err),
		jail_hint(step, err));
	(void)vmm_proto_send(sock, VMM_MSG_ENDED, &m, sizeof(m), NULL, 0);
	_exit(127);
}

/* Descriptors 0 to 4, and no other. */
static int arrange(const struct jail_config *cfg)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* What is kept goes out of the way of 0 to 4 first. */
	int from[] = {
		fcntl(null, F_DUPFD_CLOEXEC, ASIDE),
		fcntl(null, F_DUPFD_CLOEXEC, ASIDE),
		fcntl(cfg->stderr_fd, F_DUPFD_CLOEXEC, ASIDE),
		fcntl(cfg->socket_fd, F_DUPFD_CLOEXEC, ASIDE),
		fcntl(cfg->program_fd, F_DUPFD_CLOEXEC, ASIDE),
	};

	for (int i = 0; i < (int)array_size(from); i++) {
		if (from[i] < 0 || dup2(from[i], i) < 0)
			return -errno;
	}
	if (syscall(SYS_close_range, PROGRAM_FD + 1, ~0U, 0) < 0 ||
		fcntl(PROGRAM_FD, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return 0;
}

static _Noreturn void child(const struct jail_config *cfg, const struct jail_parent *parent)
{
	char *const argv[] = { (char *)cfg->name, NULL };
	char *const envp[] = { NULL };
	const char *step = "descriptors";
	sigset_t none;
	int r = arrange(cfg);

	if (r < 0)
		say_failed(cfg->socket_fd, step, -r);
	/* Away from kosvmd's terminal and its hang-ups: it may outlive kosvmd. */
	(void)setsid();
	(void)signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	r = jail_confine(cfg, parent, &step);
	if (r < 0)
		say_failed(VMM_PROTO_FD, step, -r);
	(void)syscall(SYS_execveat, PROGRAM_FD, "", argv, envp, AT_EMPTY_PATH);
	r = errno;
	step = "exec of kosvm-vmm";
	say_failed(VMM_PROTO_FD, step, r);
}

/* clone says that it cannot, but not what of it. */
static int blame(uint32_t protections, uint32_t uid, int err, struct kerr *e)
{
	for (uint32_t p = 1; p <= JAIL_ALL; p <<= 1) {
		int r = protections & p ? jail_probe(p, uid, e) : 0;

		if (r < 0)
			return kerr_wrap(e, "jail");
	}
	return kerr_errno(e, err, "jail: clone");
}

int jail_spawn(const struct jail_config *cfg, pid_t *ret_pid, int *ret_pidfd, struct kerr *e)
{
	uint64_t flags = jail_clone_flags(cfg->protections);
	const struct jail_parent parent = { geteuid(), getegid(), flags & CLONE_NEWUSER };
	int pidfd = -1;
	pid_t pid = spawn_child(flags, cfg->cgroup_fd, &pidfd);

	if (pid == 0)
		child(cfg, &parent);
	if (pid < 0)
		return blame(cfg->protections, cfg->uid, errno, e);
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}

static const char *const probed[] = { "mount", "network", "IPC", "PID", "UTS", "cgroup", "time" };

static int namespace_failed(uint32_t protection, int err, struct kerr *e)
{
	char step[48] = "namespaces";
	unsigned n = (unsigned)__builtin_ctz(protection);

	if (n < array_size(probed))
		(void)snprintf(step, sizeof(step), "namespaces: %s", probed[n]);
	return kerr_set(e, err, "%s: %s%s", step, strerror(err), jail_hint(step, err));
}

int jail_probe(uint32_t protection, uint32_t uid, struct kerr *e)
{
	const struct jail_config cfg = {
		.protections = protection, .uid = uid, .file_size = 1u << 30
	};
	uint64_t flags = jail_clone_flags(protection);
	const struct jail_parent parent = { geteuid(), getegid(), flags & CLONE_NEWUSER };
	_cleanup_close_ int said = -1;
	_cleanup_close_ int pidfd = -1;
	struct {
		int err;
		char step[64];
	} failed = { 0 };
	int pipefd[2];
	pid_t pid;

	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return kerr_errno(e, errno, "pipe");
	said = pipefd[0];
	pid = spawn_child(flags, 0, &pidfd);
	if (pid == 0) {
		const char *step = "";
		int r = jail_confine(&cfg, &parent, &step);

		failed.err = -r;
		(void)snprintf(failed.step, sizeof(failed.step), "%s", step);
		if (r < 0)
			(void)!write(pipefd[1], &failed, sizeof(failed));
		_exit(0);
	}
	if (pid < 0) {
		int err = errno;

		(void)close(pipefd[1]);
		return namespace_failed(protection, err, e);
	}
	(void)close(pipefd[1]);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (read(said, &failed, sizeof(failed)) != sizeof(failed) || failed.err == 0)
		return 0;
	return kerr_set(e, failed.err, "%s: %s%s", failed.step, strerror(failed.err),
		jail_hint(failed.step, failed.err));
}
