#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <wire/api_proto.h>

#define START_DEADLINE_MS 30000
#define RACE_TRIES        100u /* of 50 ms */

const char *daemon_path(enum daemon_socket which, struct kerr *e)
{
	static char text[2][320];
	struct api_paths paths;
	const size_t max = sizeof(((struct sockaddr_un *)NULL)->sun_path);

	if (api_paths_get(&paths, e) < 0)
		return NULL;
	(void)snprintf(text[which], sizeof(text[which]), "%s/kosvmd.%s", paths.run_dir,
		which == DAEMON_HTTP ? "sock" : "fds");
	if (strlen(text[which]) >= max) {
		(void)kerr_set(e, ENAMETOOLONG, "%s: too long for a unix socket: set KOSVM_RUN",
			text[which]);
		return NULL;
	}
	return text[which];
}

int daemon_check_peer(int fd, const char *path, struct kerr *e)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return kerr_errno(e, errno, "%s", path);
	if (cred.uid == 0 || cred.uid == geteuid())
		return 0;
	return kerr_set(e, EACCES,
		"%s: user %u listens there, neither you nor root: set KOSVM_RUN to a directory of "
		"your own",
		path, cred.uid);
}

/* kosvmd stands beside this program; else PATH is searched. */
static _Noreturn void exec_kosvmd(int ready)
{
	char self[512];
	char number[16];
	char *slash;
	sigset_t none;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 16);
	int log;

	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setsid();
	if (chdir("/") < 0)
		_exit(126);
	log = open("/dev/null", O_RDWR);
	(void)dup2(log, 0);
	(void)dup2(log, 1);
	if (!getenv("KOSVM_LOG"))
		(void)dup2(log, 2);
	/* Nothing of the caller's stays open in a process that outlives it. */
	ready = dup2(ready, 3);
	(void)fcntl(ready, F_SETFD, 0);
	(void)syscall(SYS_close_range, 4U, ~0U, 0);
	(void)snprintf(number, sizeof(number), "%d", ready);
	if (n > 0) {
		self[n] = '\0';
		slash = strrchr(self, '/');
		if (slash) {
			memcpy(slash + 1, "kosvmd", sizeof("kosvmd"));
			(void)execl(self, "kosvmd", "--ready-fd", number, (char *)NULL);
		}
	}
	(void)execlp("kosvmd", "kosvmd", "--ready-fd", number, (char *)NULL);
	(void)!write(ready, "program kosvmd not found: install kosvm completely", 50);
	_exit(127);
}

/* Starts kosvmd and waits until it serves, or says why not. */
static int start_kosvmd(struct kerr *e)
{
	_cleanup_close_ int ready = -1;
	_cleanup_close_ int child_end = -1;
	struct pollfd pfd;
	char buf[512];
	ssize_t n;
	int p[2];
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return kerr_errno(e, errno, "pipe");
	ready = p[0];
	child_end = p[1];
	pid = fork();
	if (pid < 0)
		return kerr_errno(e, errno, "fork");
	if (pid == 0) {
		/* Twice, so that kosvmd is nobody's child. */
		if (fork() != 0)
			_exit(0);
		exec_kosvmd(child_end);
	}
	close_fd(&child_end);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	pfd = (struct pollfd){ .fd = ready, .events = POLLIN };
	if (poll(&pfd, 1, START_DEADLINE_MS) <= 0)
		return kerr_set(e, ETIMEDOUT,
			"kosvmd was started but does not answer: run `kosvmd` "
			"in a terminal to see why");
	n = read(ready, buf, sizeof(buf) - 1);
	if (n == 1 && buf[0] == '1')
		return 0;
	if (n <= 0)
		return kerr_set(e, ECHILD,
			"kosvmd ended at its start: run `kosvmd` in a terminal "
			"to see why");
	buf[n] = '\0';
	if (strstr(buf, API_RUNS_ALREADY))
		return kerr_set(e, EALREADY, "kosvmd: %s", buf);
	return kerr_set(e, ECHILD, "kosvmd: %s", buf);
}

/*
 * Another kosvmd holds the locks when somebody else started one at the same
 * moment, or when one is just ending: whichever it is, soon one listens.
 */
int daemon_missing(int error, const char *path, unsigned *tries, struct kerr *e)
{
	const struct timespec pause = { .tv_nsec = 50 * (long)CLOCK_NS_PER_MS };
	int r;

	if (error != -ENOENT && error != -ECONNREFUSED)
		return kerr_errno(e, -error, "%s: connect to kosvmd", path);
	if (getenv("KOSVM_NO_START"))
		return kerr_set(
			e, -error, "%s: no kosvmd listens there, and KOSVM_NO_START is set", path);
	r = start_kosvmd(e);
	if (r < 0 && (r != -EALREADY || *tries >= RACE_TRIES))
		return r;
	if (*tries >= RACE_TRIES)
		return kerr_errno(e, -error, "%s: connect to kosvmd", path);
	*tries += 1;
	if (r < 0)
		(void)nanosleep(&pause, NULL);
	return 0;
}

int daemon_connect_fds(int *ret, struct kerr *e)
{
	const char *path = daemon_path(DAEMON_FDS, e);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	unsigned tries = 0;

	if (!path)
		return -e->code;
	memcpy(sa.sun_path, path, strlen(path));
	for (;;) {
		_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		int r;

		if (fd < 0)
			return kerr_errno(e, errno, "socket");
		if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0) {
			r = daemon_check_peer(fd, path, e);
			if (r == 0)
				*ret = steal_fd(&fd);
			return r;
		}
		r = daemon_missing(-errno, path, &tries, e);
		if (r < 0)
			return r;
	}
}
