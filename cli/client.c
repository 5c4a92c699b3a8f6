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

#include "cli.h"
#include "safe.h"

#define START_DEADLINE_MS 30000
#define RACE_MS           5000

/* In a directory of many, somebody else may listen: what is sent is open files and commands. */
static int check_owner(int fd, const char *path, struct kerr *e)
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

static int try_connect(const char *path, int *ret, struct kerr *e)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int r;

	if (fd < 0)
		return kerr_errno(e, errno, "socket");
	if (strlen(path) >= sizeof(sa.sun_path))
		return kerr_set(
			e, ENAMETOOLONG, "%s: too long for a unix socket: set KOSVM_RUN", path);
	memcpy(sa.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return kerr_errno(e, errno, "%s: connect to kosvmd", path);
	r = check_owner(fd, path, e);
	if (r < 0)
		return r;
	*ret = steal_fd(&fd);
	return 0;
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
static int connect_kosvmd(int *ret, struct kerr *e)
{
	const struct timespec pause = { .tv_nsec = 50 * (long)CLOCK_NS_PER_MS };
	struct api_paths paths;
	uint64_t end;
	int r = api_paths_get(&paths, e);

	if (r < 0)
		return r;
	end = clock_mono_ns() + RACE_MS * CLOCK_NS_PER_MS;
	for (;;) {
		struct kerr none = { 0 };

		r = try_connect(paths.socket, ret, &none);
		if (r != -ENOENT && r != -ECONNREFUSED) {
			*e = none;
			return r;
		}
		r = start_kosvmd(e);
		if (r < 0 && (r != -EALREADY || clock_mono_ns() >= end))
			return r;
		if (r < 0)
			(void)nanosleep(&pause, NULL);
		else if (clock_mono_ns() >= end)
			return try_connect(paths.socket, ret, e);
	}
}

static void show_progress(const char *text, bool *shown)
{
	if (isatty(STDERR_FILENO)) {
		(void)fputs("\r\x1b[K", stderr);
		safe_print(stderr, text);
		*shown = true;
	} else {
		safe_print(stderr, text);
		(void)fputc('\n', stderr);
	}
}

static void end_progress(bool *shown)
{
	if (*shown)
		(void)fputs("\r\x1b[K", stderr);
	*shown = false;
}

static int take_error(const json_t *err, struct kerr *e)
{
	const char *text = cli_text(err, "message");
	int code = (int)json_integer_value(json_object_get(err, "code"));

	return kerr_set(e, code > 0 ? code : EIO, "%s", *text ? text : "unknown error");
}

/* 1: go on, 0: that was the last, -errno. */
static int take_reply(json_t *msg, void (*data)(void *user, const json_t *o), void *user,
	struct call *ret, bool *shown, struct kerr *e)
{
	json_t *o;

	if ((o = json_object_get(msg, "progress"))) {
		show_progress(json_is_string(o) ? json_string_value(o) : "", shown);
		return 1;
	}
	end_progress(shown);
	if ((o = json_object_get(msg, "data"))) {
		if (data)
			data(user, o);
		return 1;
	}
	if ((o = json_object_get(msg, "error")))
		return take_error(o, e);
	o = json_object_get(msg, "ok");
	if (!o)
		return kerr_set(e, EPROTO, "kosvmd gave an answer of unknown kind");
	ret->ok = json_incref(o);
	return 0;
}

int call_kosvmd(const char *verb, json_t *request, const int *fds, size_t nfds,
	void (*data)(void *user, const json_t *o), void *user, struct call *ret, struct kerr *e)
{
	_cleanup_close_ int sock = -1;
	bool shown = false;
	int r;

	if (!request || json_object_set_new(request, "api", json_integer(API_VERSION)) < 0 ||
		json_object_set_new(request, "verb", json_string(verb)) < 0) {
		r = kerr_set(e, EINVAL, "arguments are no valid UTF-8 text");
		goto out;
	}
	r = connect_kosvmd(&sock, e);
	if (r == 0)
		r = api_send(sock, request, fds, nfds, e);
	while (r >= 0) {
		json_t *msg = NULL;
		int got[FDPASS_MAX_FDS];
		size_t ngot = 0;

		r = api_recv(sock, &msg, got, FDPASS_MAX_FDS, &ngot, e);
		if (r == 0)
			r = kerr_set(e, ECONNRESET, "kosvmd ended before it answered");
		if (r < 0)
			break;
		r = take_reply(msg, data, user, ret, &shown, e);
		json_decref(msg);
		for (size_t i = 0; i < ngot; i++) {
			if (r == 0 && ret->fd < 0)
				ret->fd = got[i];
			else
				(void)close(got[i]);
		}
		if (r == 0)
			break;
	}
	end_progress(&shown);
out:
	json_decref(request);
	return r;
}

void call_done(struct call *c)
{
	json_decref(c->ok);
	c->ok = NULL;
	close_fd(&c->fd);
}
