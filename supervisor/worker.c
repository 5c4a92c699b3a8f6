#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <base/log.h>
#include <wire/api_proto.h>

struct worker_port {
	int sock;
};

struct worker {
	struct loop_fd w;
	struct loop_pid pidw; /* while its end is awaited */
	struct loop *loop;
	int sock;
	pid_t pid;
	const struct worker_ops *ops;
	void *user;
	/* The last message, kept until the process is gone. */
	int result;
	json_t *last;
	int fds[FDPASS_MAX_FDS];
	size_t nfds;
	struct kerr err;
	/* Cancelled: ops is NULL then. */
	bool ending;
	void (*gone)(void *user);
	void *gone_user;
};

void worker_progress(struct worker_port *port, const char *what, double fraction)
{
	json_t *m = json_pack("{s:o, s:f}", "progress", api_text(what), "fraction", fraction);

	if (m)
		(void)api_send(port->sock, m, NULL, 0, NULL);
	json_decref(m);
}

static int compare_int(const void *a, const void *b)
{
	const int *x = a;
	const int *y = b;

	return (*x > *y) - (*x < *y);
}

/* Closes everything above stderr but the fds in `keep`. */
static void close_others(const int *keep, size_t count)
{
	int sorted[FDPASS_MAX_FDS + 1];
	unsigned from = 3;

	memcpy(sorted, keep, count * sizeof(int));
	qsort(sorted, count, sizeof(int), compare_int);
	for (size_t i = 0; i < count; i++) {
		unsigned fd = (unsigned)sorted[i];

		if (fd > from)
			(void)syscall(SYS_close_range, from, fd - 1, 0);
		if (fd >= from)
			from = fd + 1;
	}
	(void)syscall(SYS_close_range, from, ~0U, 0);
}

static _Noreturn void child_main(
	pid_t parent, int sock, worker_fn fn, void *arg, const int *keep_fds, size_t keep_count)
{
	struct worker_port port = { .sock = sock };
	struct kerr err = { 0 };
	json_t *result = NULL;
	json_t *reply;
	int fds[FDPASS_MAX_FDS];
	size_t nfds = 0;
	int keep[FDPASS_MAX_FDS + 1];
	sigset_t none;
	int r;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	if (keep_count > 0)
		memcpy(keep, keep_fds, keep_count * sizeof(int));
	keep[keep_count] = sock;
	close_others(keep, keep_count + 1);
	r = fn(arg, &port, &result, fds, &nfds, &err);
	if (r < 0)
		reply = json_pack(
			"{s:{s:i, s:o}}", "error", "code", -r, "message", api_text(err.msg));
	else
		reply = json_pack("{s:o}", "ok", result ? result : json_object());
	if (!reply || api_send(sock, reply, fds, r < 0 ? 0 : nfds, &err) < 0)
		_exit(1);
	_exit(0);
}

static void close_fds(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)close(fds[i]);
}

static void worker_free(struct worker *w)
{
	loop_fd_del(&w->w);
	close_fd(&w->sock);
	close_fds(w->fds, w->nfds);
	json_decref(w->last);
	free(w);
}

/* The process is gone: nothing of it holds a lock or writes to a file any more. */
static void worker_reaped(struct worker *w)
{
	if (w->gone) {
		w->gone(w->gone_user);
	} else if (w->ops) {
		size_t nfds = w->nfds;

		w->nfds = 0;
		w->ops->done(
			w->user, w->result, json_object_get(w->last, "ok"), w->fds, nfds, &w->err);
	}
	worker_free(w);
}

static void worker_wait(struct worker *w)
{
	while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static void process_ended(struct loop_pid *lp)
{
	struct worker *w = container_of(lp, struct worker, pidw);

	worker_wait(w);
	worker_reaped(w);
}

/*
 * Kills the child and lets the loop reap it: a process that is killed in
 * the middle of an fsync goes when the disk is done, and nobody else shall
 * wait for that.
 */
static void worker_end(struct worker *w)
{
	int pidfd = (int)syscall(SYS_pidfd_open, w->pid, 0);

	loop_fd_del(&w->w);
	close_fd(&w->sock);
	/* It has said its last word; it parses hostile files, so it might stay all the same. */
	(void)kill(w->pid, SIGKILL);
	w->ending = true;
	w->pidw.fn = process_ended;
	if (pidfd >= 0 && loop_pid_add(w->loop, &w->pidw, pidfd) == 0)
		return;
	close_fd(&pidfd);
	worker_wait(w);
	worker_reaped(w);
}

static void take_error(struct worker *w, const json_t *o)
{
	const char *text = json_string_value(json_object_get(o, "message"));
	json_int_t code = json_integer_value(json_object_get(o, "code"));

	if (code <= 0 || code > 4095)
		code = EIO;
	w->result = kerr_set(&w->err, (int)code, "%s", text ? text : "unknown error");
}

static void worker_readable(struct loop_fd *lw, uint32_t events)
{
	struct worker *w = container_of(lw, struct worker, w);
	int fds[FDPASS_MAX_FDS];
	size_t nfds = 0;
	json_t *msg = NULL;
	json_t *o;
	const char *text;
	int r;

	(void)events;
	r = api_recv(w->sock, &msg, fds, FDPASS_MAX_FDS, &nfds, &w->err);
	if (r == -EAGAIN)
		return;
	if (r <= 0) {
		if (r == 0)
			r = kerr_set(&w->err, ECHILD, "worker process ended without a result");
		w->result = r;
		worker_end(w);
		return;
	}
	if (json_object_get(msg, "ok")) {
		w->last = msg;
		w->nfds = nfds;
		memcpy(w->fds, fds, nfds * sizeof(int));
		worker_end(w);
		return;
	}
	close_fds(fds, nfds);
	if ((o = json_object_get(msg, "error"))) {
		take_error(w, o);
		worker_end(w);
	} else if ((text = json_string_value(json_object_get(msg, "progress"))) &&
		w->ops->progress) {
		w->ops->progress(
			w->user, text, json_number_value(json_object_get(msg, "fraction")));
	}
	json_decref(msg);
}

int worker_start(struct worker **ret, struct loop *loop, worker_fn fn, void *arg,
	const int *keep_fds, size_t keep_count, const struct worker_ops *ops, void *user,
	struct kerr *e)
{
	_cleanup_close_ int child_end = -1;
	struct worker *w;
	pid_t parent = getpid();
	int sv[2];
	int r;

	if (keep_count > FDPASS_MAX_FDS)
		return kerr_set(e, E2BIG, "too many files for one worker");
	w = calloc(1, sizeof(*w));
	if (!w)
		return kerr_errno(e, ENOMEM, "worker");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0) {
		r = kerr_errno(e, errno, "worker: socketpair");
		free(w);
		return r;
	}
	w->sock = sv[0];
	child_end = sv[1];
	(void)io_set_nonblock(w->sock, 1);
	w->w = (struct loop_fd){ .fn = worker_readable, .fd = -1 };
	w->pidw.w.fd = -1;
	w->loop = loop;
	w->ops = ops;
	w->user = user;
	w->pid = fork();
	if (w->pid < 0) {
		r = kerr_errno(e, errno, "worker: fork");
		worker_free(w);
		return r;
	}
	if (w->pid == 0)
		child_main(parent, child_end, fn, arg, keep_fds, keep_count);
	r = loop_fd_add(loop, &w->w, w->sock, EPOLLIN);
	if (r < 0) {
		worker_cancel(w, NULL, NULL);
		return kerr_errno(e, -r, "worker: epoll");
	}
	*ret = w;
	return 0;
}

void worker_cancel(struct worker *w, void (*gone)(void *user), void *user)
{
	if (!w)
		return;
	w->ops = NULL;
	w->gone = gone;
	w->gone_user = user;
	if (!w->ending)
		worker_end(w);
}
