#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

enum child_stage { STAGE_SETUP, STAGE_USER, STAGE_CWD, STAGE_EXEC };

/* What the new process writes when it cannot become the program. */
struct child_report {
	int stage;
	int code;
};

static void child_files(const int fds[3])
{
	for (int i = 0; i < 3; i++) {
		if (dup2(fds[i], i) < 0)
			_exit(126);
	}
	(void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
}

static void child_signals(void)
{
	sigset_t none;

	for (int i = 1; i <= SIGRTMAX; i++)
		(void)signal(i, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The init's protection is not inherited: whoever eats the memory is whom the kernel ends. */
static void child_limits(void)
{
	const struct rlimit files = { .rlim_cur = 1024, .rlim_max = 524288 };
	const struct rlimit core = { .rlim_cur = 0, .rlim_max = RLIM_INFINITY };
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		(void)!write(fd, "0", 1);
		(void)close(fd);
	}
	(void)setrlimit(RLIMIT_NOFILE, &files);
	(void)setrlimit(RLIMIT_CORE, &core);
}

/* 0 or an errno. */
static int child_identity(const struct user *u)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return errno;
	if (u->uid != 0 && u->uid == geteuid() && u->gid == getegid())
		return 0;
	for (int cap = 0; u->uid != 0 && cap <= 63; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
			return errno;
	}
	if (setgroups(0, NULL) < 0 || setresgid(u->gid, u->gid, u->gid) < 0 ||
		setresuid(u->uid, u->uid, u->uid) < 0)
		return errno;
	return 0;
}

static _Noreturn void child_fail(int report, enum child_stage stage, int code)
{
	struct child_report r = { .stage = stage, .code = code };

	(void)!write(report, &r, sizeof(r));
	_exit(code == ENOENT ? 127 : 126);
}

static _Noreturn void child_main(const struct child_spec *spec, int report)
{
	int code;

	if (setsid() < 0)
		child_fail(report, STAGE_SETUP, errno);
	child_signals();
	child_limits();
	child_files(spec->fds);
	if (spec->terminal && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0)
		child_fail(report, STAGE_SETUP, errno);
	(void)umask(022);
	code = child_identity(spec->user);
	if (code)
		child_fail(report, STAGE_USER, code);
	if (chdir(spec->cwd) < 0)
		child_fail(report, STAGE_CWD, errno);
	if (spec->run) {
		(void)close_range(3, ~0U, 0); /* the report too: it runs */
		_exit(spec->run(spec->arg));
	}
	/* execvp takes PATH from this process's environment. */
	environ = (char **)spec->envp;
	(void)execvp(spec->argv[0], spec->argv);
	child_fail(report, STAGE_EXEC, errno);
}

static void explain(const struct child *c, const struct child_report *r, char *text, size_t size)
{
	switch (r->stage) {
	case STAGE_USER:
		(void)snprintf(text, size, "switching to the user: %s", strerror(r->code));
		break;
	case STAGE_CWD:
		(void)snprintf(text, size, "working directory %s: %s", c->cwd, strerror(r->code));
		break;
	case STAGE_EXEC:
		if (r->code == ENOENT && strchr(c->program, '/') && access(c->program, F_OK) == 0)
			(void)snprintf(text, size,
				"%s: it is there, but the interpreter it names (first line, or ELF) is not",
				c->program);
		else
			(void)snprintf(text, size, "%s: %s", c->program, strerror(r->code));
		break;
	default:
		(void)snprintf(text, size, "starting a process: %s", strerror(r->code));
	}
}

/* Reads the report; the pipe ends with the exec or with the process. */
static void child_report(struct child *c)
{
	struct child_report r = { 0 };
	char why[640] = "";
	int code = 0;

	if (read(c->report_fd, &r, sizeof(r)) == sizeof(r)) {
		explain(c, &r, why, sizeof(why));
		code = r.stage == STAGE_EXEC && r.code == ENOENT ? 127 : 126;
	}
	loop_fd_del(&c->report);
	close_fd(&c->report_fd);
	c->started(c, code, why);
}

static void report_event(struct loop_fd *w, uint32_t events)
{
	(void)events;
	child_report(container_of(w, struct child, report));
}

int child_spawn(struct child *c, struct loop *loop, struct reaper *r, const struct child_spec *spec,
	struct kerr *e)
{
	_cleanup_close_ int rd = -1;
	_cleanup_close_ int wr = -1;
	int p[2];
	int code;

	if (pipe2(p, O_CLOEXEC) < 0)
		return kerr_errno(e, errno, "%s: pipe", spec->argv[0]);
	rd = p[0];
	wr = p[1];
	(void)snprintf(c->program, sizeof(c->program), "%s", spec->argv[0]);
	(void)snprintf(c->cwd, sizeof(c->cwd), "%s", spec->cwd);
	c->report = (struct loop_fd){ .fn = report_event, .fd = -1 };
	code = loop_fd_add(loop, &c->report, rd, EPOLLIN);
	if (code < 0)
		return kerr_errno(e, -code, "%s: epoll", spec->argv[0]);
	c->pid = fork();
	if (c->pid == 0)
		child_main(spec, wr);
	if (c->pid < 0) {
		code = errno;
		c->pid = 0;
		loop_fd_del(&c->report);
		return kerr_errno(e, code, "%s: fork", spec->argv[0]);
	}
	c->report_fd = steal_fd(&rd);
	c->reaper = r;
	c->next = r->children;
	r->children = c;
	return 0;
}

void child_kill(struct child *c, int signo)
{
	/* The group appears with setsid, shortly after the fork. */
	if (c->pid > 0 && kill(-c->pid, signo) < 0)
		(void)kill(c->pid, signo);
}

void child_signal(struct child *c, int signo)
{
	if (c->pid > 0)
		(void)kill(c->pid, signo);
}

int child_signal_decode(const uint8_t *payload, size_t len, uint32_t *ret_signo)
{
	struct guest_value v;
	size_t pos = 0;
	uint32_t signo = 0;
	int r;

	while ((r = guest_field_next(payload, len, &pos, &v)) > 0) {
		if (v.field == GUEST_F_SIGNAL && guest_value_u32(&v, &signo) < 0)
			return -EPROTO;
	}
	if (r < 0 || signo == 0 || signo > (uint32_t)SIGRTMAX)
		return -EPROTO;
	*ret_signo = signo;
	return 0;
}

static void reaped(struct reaper *r, pid_t pid, int status)
{
	for (struct child **p = &r->children; *p; p = &(*p)->next) {
		struct child *c = *p;

		if (c->pid != pid)
			continue;
		*p = c->next;
		c->status = status;
		if (c->report_fd >= 0)
			child_report(c);
		c->pid = 0;
		c->ended(c);
		return;
	}
}

bool reaper_collect(struct reaper *r)
{
	for (int i = 0; i < REAPER_TURN; i++) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid > 0)
			reaped(r, pid, status);
		else if (pid == 0 || errno != EINTR)
			return pid != 0;
	}
	(void)loop_timer_set(r->loop, &r->again, 1, 0);
	return false;
}

static void reaper_turn(struct reaper *r)
{
	if (reaper_collect(r) && r->childless)
		r->childless(r);
}

static void reaper_again(struct loop_timer *t)
{
	struct reaper *r = container_of(t, struct reaper, again);

	loop_timer_done(t);
	reaper_turn(r);
}

static void sigchld(struct loop_signal *s, int signo)
{
	(void)signo;
	reaper_turn(container_of(s, struct reaper, sigchld));
}

int reaper_start(struct reaper *r, struct loop *loop, struct kerr *e)
{
	sigset_t set;
	int code;

	*r = (struct reaper){
		.sigchld = { .fn = sigchld, .w = { .fd = -1 } },
		.loop = loop,
		.again = { .fn = reaper_again, .w = { .fd = -1 } },
	};
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	code = loop_signal_add(loop, &r->sigchld, &set);
	return code < 0 ? kerr_errno(e, -code, "signalfd") : 0;
}

void reaper_done(struct reaper *r)
{
	loop_signal_done(&r->sigchld);
	loop_timer_done(&r->again);
}

void child_put_status(struct guest_writer *w, int status)
{
	if (WIFEXITED(status))
		guest_put_u32(w, GUEST_F_CODE, (uint32_t)WEXITSTATUS(status));
	else
		guest_put_u32(w, GUEST_F_SIGNAL, (uint32_t)WTERMSIG(status));
}

int child_exited_frame(uint8_t *buf, size_t cap, int status)
{
	struct guest_writer w;

	guest_writer_begin(&w, buf, cap, GUEST_EXITED);
	child_put_status(&w, status);
	return guest_writer_end(&w);
}
