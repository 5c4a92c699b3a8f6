#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>

/* Exit codes of the child before exec; no helper of ours uses them. */
#define EXIT_PREPARE 124
#define EXIT_SETUP   125

static const char *const search_path[] = { "/usr/sbin", "/usr/bin", "/sbin", "/bin" };
static char *const environment[] = {
	(char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
	(char *)"LC_ALL=C",
	(char *)"TZ=UTC",
	(char *)"HOME=/",
	NULL,
};

/* The first words of a child; the rest is read and dropped. */
struct words {
	char text[400];
	size_t len;
};

void child_fd_path(int fd, char out[static CHILD_FD_PATH_LEN])
{
	(void)snprintf(out, CHILD_FD_PATH_LEN, "/proc/self/fd/%d", fd);
}

static int find_program(const struct child_spec *spec, char *path, size_t len, struct kerr *e)
{
	for (size_t i = 0; i < array_size(search_path); i++) {
		(void)snprintf(path, len, "%s/%s", search_path[i], spec->argv[0]);
		if (access(path, X_OK) == 0)
			return 0;
	}
	return kerr_set(e, ENOENT, "the program %s is missing: apt-get install %s", spec->argv[0],
		spec->package);
}

static _Noreturn void child_fail(const char *what)
{
	/* Between fork and exec: no stdio. Descriptor 2 is the parent's pipe. */
	const char *why = strerrordesc_np(errno);

	if (write(2, what, strlen(what)) >= 0 && write(2, ": ", 2) >= 0 && why)
		(void)!write(2, why, strlen(why));
	_exit(EXIT_SETUP);
}

static void child_signals(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		(void)sigaction(i, &dfl, NULL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void child_main(
	const struct child_spec *spec, const char *path, int null_fd, int out_fd, pid_t parent)
{
	(void)setpgid(0, 0);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(EXIT_SETUP);
	child_signals();
	(void)umask(022);
	if (dup2(null_fd, 0) < 0 || dup2(out_fd, 1) < 0 || dup2(out_fd, 2) < 0)
		_exit(EXIT_SETUP);
	if (spec->cwd_fd >= 0 ? fchdir(spec->cwd_fd) < 0 : chdir("/") < 0)
		child_fail("change of directory");
	if (spec->prepare && spec->prepare(spec->user) != 0)
		_exit(EXIT_PREPARE);
	if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		child_fail("close_range");
	for (size_t i = 0; i < spec->keep_count; i++) {
		if (fcntl(spec->keep_fds[i], F_SETFD, 0) < 0)
			child_fail("handing over a descriptor");
	}
	(void)execve(path, (char *const *)(uintptr_t)spec->argv, environment);
	child_fail("exec");
}

/* Takes what is there; false at the end of the stream. */
static bool words_read(struct words *w, int fd)
{
	char buf[4096];

	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf));
		size_t take;

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (n == 0)
			return false;
		take = sizeof(w->text) - 1 - w->len;
		if (take > (size_t)n)
			take = (size_t)n;
		memcpy(w->text + w->len, buf, take);
		w->len += take;
		w->text[w->len] = '\0';
	}
}

/* What it said, without the line ends and blanks at either end; NULs do not cut it. */
static const char *words_text(struct words *w)
{
	char *s = w->text;

	for (size_t i = 0; i < w->len; i++) {
		if (w->text[i] == '\0')
			w->text[i] = '?';
	}
	while (w->len > 0 && (unsigned char)w->text[w->len - 1] <= ' ')
		w->text[--w->len] = '\0';
	while (*s && (unsigned char)*s <= ' ')
		s++;
	return *s ? s : "it did not say why";
}

/* Waits for the end of the child while reading; 0, or -ETIMEDOUT with the child killed. */
static int watch(int pidfd, int out_fd, pid_t pid, uint64_t timeout_ns, struct words *w)
{
	uint64_t deadline = clock_mono_ns() + timeout_ns;
	struct pollfd p[2] = {
		{ .fd = pidfd, .events = POLLIN },
		{ .fd = out_fd, .events = POLLIN },
	};

	for (;;) {
		uint64_t now = clock_mono_ns();
		uint64_t left = now < deadline ? (deadline - now) / CLOCK_NS_PER_MS + 1 : 0;
		int n = 0;

		if (left > 0)
			n = poll(p, 2, left > 60000 ? 60000 : (int)left);
		if (n == 0 && clock_mono_ns() >= deadline) {
			(void)kill(-pid, SIGKILL);
			(void)kill(pid, SIGKILL);
			return -ETIMEDOUT;
		}
		if (n > 0 && p[1].revents && !words_read(w, out_fd))
			p[1].fd = -1;
		if (n > 0 && p[0].revents) {
			(void)words_read(w, out_fd);
			return 0;
		}
	}
}

static int verdict(const struct child_spec *spec, int status, struct words *w, struct kerr *e)
{
	const char *name = spec->argv[0];
	const char *text;

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	text = words_text(w);
	if (WIFSIGNALED(status))
		return kerr_set(
			e, EIO, "%s was killed by signal %d: %s", name, WTERMSIG(status), text);
	if (WEXITSTATUS(status) == EXIT_PREPARE)
		return kerr_set(e, EOPNOTSUPP, "%s: its surroundings could not be prepared", name);
	if (strstr(text, "No space left on device"))
		return kerr_set(e, ENOSPC, "%s: %s", name, text);
	return kerr_set(e, EIO, "%s failed with code %d: %s", name, WEXITSTATUS(status), text);
}

int child_run(const struct child_spec *spec, struct kerr *e)
{
	_cleanup_close_ int null_fd = -1;
	_cleanup_close_ int read_fd = -1;
	_cleanup_close_ int write_fd = -1;
	_cleanup_close_ int pidfd = -1;
	struct words w = { .len = 0 };
	pid_t parent = getpid();
	char path[256];
	int pipefd[2];
	int status = 0;
	pid_t pid;
	int r;

	r = find_program(spec, path, sizeof(path), e);
	if (r < 0)
		return r;
	/* Never 0 to 2, which the child gives new meanings. */
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0 || pipe2(pipefd, O_CLOEXEC) < 0)
		return kerr_errno(e, errno, "%s: start", spec->argv[0]);
	read_fd = pipefd[0];
	write_fd = pipefd[1];
	(void)fcntl(read_fd, F_SETFL, O_NONBLOCK);
	pid = fork();
	if (pid < 0)
		return kerr_errno(e, errno, "%s: start", spec->argv[0]);
	if (pid == 0)
		child_main(spec, path, null_fd, write_fd, parent);
	(void)setpgid(pid, pid);
	close_fd(&write_fd);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		r = kerr_errno(e, errno, "%s: watch", spec->argv[0]);
		(void)kill(pid, SIGKILL);
	} else {
		r = watch(pidfd, read_fd, pid, spec->timeout_ns, &w);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r == -ETIMEDOUT)
		return kerr_set(e, ETIMEDOUT, "%s did not end within %llu s and was killed: %s",
			spec->argv[0], (unsigned long long)(spec->timeout_ns / CLOCK_NS_PER_S),
			words_text(&w));
	if (r < 0)
		return r;
	return verdict(spec, status, &w, e);
}
