#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "copy.h"
#include "note.h"
#include "pty.h"
#include "service.h"
#include "streams.h"

struct exec {
	struct conn *conn; /* NULL when only the process is left */
	struct service *service;
	struct child child;
	struct streams streams;
	struct loop_timer hangup;
	bool ended;
	/* Of a copy, whose standard error is the text of an ERROR frame: */
	bool copying;
	struct copy_request request;
	struct note note;
};

static void exec_free(struct exec *x)
{
	x->service->running--;
	loop_timer_done(&x->hangup);
	streams_done(&x->streams);
	copy_request_done(&x->request);
	free(x);
}

/* The last frame was sent. */
static void exec_finish(struct exec *x)
{
	streams_done(&x->streams);
	conn_finish(x->conn);
}

static void exec_refuse(struct exec *x, uint32_t code, const char *why)
{
	streams_done(&x->streams);
	conn_refuse(x->conn, code, why);
}

/* A copy that went wrong: what it said, or how it ended. */
static void copy_failed(struct exec *x)
{
	if (WIFSIGNALED(x->child.status))
		exec_refuse(x, 1, "the copy was ended by a signal");
	else
		exec_refuse(x, 1, x->note.len ? x->note.text : "the copy failed");
}

/* Moves on after anything that happened. */
static void exec_advance(struct exec *x)
{
	uint8_t buf[GUEST_SMALL_FRAME];
	int len;

	if (!x->conn || x->conn->finished || !x->ended || !streams_settled(&x->streams))
		return;
	if (x->copying && x->child.status != 0) {
		if (chan_room(&x->conn->chan) >= 2 * sizeof(x->note.text))
			copy_failed(x);
		return; /* or space comes */
	}
	len = child_exited_frame(buf, sizeof(buf), x->child.status);
	if (chan_send_made(&x->conn->chan, buf, len) < 0)
		return; /* space comes */
	exec_finish(x);
}

static void streams_moved(struct streams *s)
{
	exec_advance(container_of(s, struct exec, streams));
}

static void input_ready(struct streams *s)
{
	struct exec *x = container_of(s, struct exec, streams);

	if (x->conn)
		chan_resume(&x->conn->chan);
}

static void exec_started(struct child *c, int code, const char *why)
{
	struct exec *x = container_of(c, struct exec, child);

	if (x->conn && code)
		exec_refuse(x, (uint32_t)code, why);
}

static void exec_ended(struct child *c)
{
	struct exec *x = container_of(c, struct exec, child);

	x->ended = true;
	if (!x->conn) {
		exec_free(x);
		return;
	}
	streams_settle(&x->streams);
	/* Input that nobody takes any more must not keep a held frame. */
	chan_resume(&x->conn->chan);
	exec_advance(x);
}

/* ---- the start ---- */

static int find_user(const struct exec *x, const char *asked, struct user *ret, struct kerr *e)
{
	const char *who = asked ? asked : x->service->command->user;
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return kerr_errno(e, errno, "/");
	/* root only by the host's own word; the agent's user is never root. */
	return user_resolve_at(root, who ? who : "", asked != NULL, ret, e);
}

static int exec_spawn(struct exec *x, const struct command *cmd, struct kerr *e)
{
	const struct service *s = x->service;
	struct words env = { 0 };
	struct user user = { 0 };
	struct child_spec spec = {
		.argv = cmd->argv.v,
		.user = &user,
		.fds = { -1, -1, -1 },
		.terminal = cmd->tty,
	};
	int r = find_user(x, cmd->user, &user, e);

	if (r < 0)
		return r;
	spec.cwd = cmd->cwd ? cmd->cwd : s->command->cwd ? s->command->cwd : "/";
	r = command_environ(cmd, s->command, &user, user_home(&user, s->has_state), &env);
	if (r < 0) {
		(void)kerr_errno(e, -r, "%s", cmd->argv.v[0]);
	} else if (cmd->tty) {
		r = streams_terminal(&x->streams, &x->conn->chan.sink, user.uid, cmd->rows,
			cmd->cols, spec.fds, e);
	} else {
		r = streams_pipes(
			&x->streams, &x->conn->chan.sink, &x->conn->chan.sink, true, spec.fds);
		if (r < 0)
			(void)kerr_errno(e, -r, "%s", cmd->argv.v[0]);
	}
	spec.envp = env.v;
	if (r == 0)
		r = child_spawn(&x->child, s->loop, s->reaper, &spec, e);
	for (int i = 0; i < 3; i++)
		close_fd(&spec.fds[i]);
	words_done(&env);
	return r;
}

static int exec_command(struct exec *x, const uint8_t *payload, size_t len, struct kerr *e)
{
	struct command cmd = { 0 };
	int r = command_decode(&cmd, payload, len, e);

	if (r == 0)
		r = exec_spawn(x, &cmd, e);
	command_done(&cmd);
	return r;
}

/* ---- copies ---- */

static int exec_copy(struct exec *x, enum guest_frame_type type, const uint8_t *payload, size_t len,
	struct kerr *e)
{
	static char *const words[] = { (char *)"copy", NULL };
	const struct user root = { 0 };
	struct user user = { 0 };
	struct child_spec spec = {
		.argv = words,
		.envp = words + 1,
		.cwd = "/",
		.run = copy_main,
		.arg = &x->request,
		.fds = { -1, -1, -1 },
	};
	int r = copy_request_decode(&x->request, type, payload, len, e);

	if (r == 0)
		r = find_user(x, NULL, &user, e);
	if (r < 0)
		return r;
	/* All of it is root's work; tests without root do it as themselves. */
	spec.user = geteuid() == 0 ? &root : &user;
	x->request.uid = user.uid;
	x->request.gid = user.gid;
	x->request.root = x->service->copy_root;
	x->copying = true;
	note_init(&x->note);
	r = streams_pipes(&x->streams, &x->conn->chan.sink, &x->note.sink, true, spec.fds);
	if (r < 0)
		(void)kerr_errno(e, -r, "copy");
	if (r == 0)
		r = child_spawn(&x->child, x->service->loop, x->service->reaper, &spec, e);
	for (int i = 0; i < 3; i++)
		close_fd(&spec.fds[i]);
	return r;
}

/* ---- the stream ---- */

static int exec_frame(struct conn *c, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	struct exec *x = c->data;
	uint32_t signo;
	uint32_t rows;
	uint32_t cols;

	switch (h->type) {
	case GUEST_STDIN:
		return feed_take(&x->streams.in, payload, h->len);
	case GUEST_SIGNAL:
		if (child_signal_decode(payload, h->len, &signo) < 0)
			return -EPROTO;
		child_kill(&x->child, (int)signo);
		return 0;
	case GUEST_WINSIZE:
		if (pty_size_decode(payload, h->len, &rows, &cols) < 0)
			return -EPROTO;
		pty_resize(x->streams.tty, rows, cols);
		return 0;
	default:
		return -EPROTO;
	}
}

static void exec_space(struct conn *c)
{
	struct exec *x = c->data;

	streams_resume(&x->streams);
	exec_advance(x);
}

/* The host is gone: so is the terminal, or the pipes; and who does not mind is killed. */
static void exec_closed(struct conn *c)
{
	struct exec *x = c->data;

	conn_free(c);
	x->conn = NULL;
	if (x->ended) {
		exec_free(x);
		return;
	}
	child_kill(&x->child, SIGHUP);
	child_kill(&x->child, SIGCONT);
	streams_done(&x->streams);
	(void)loop_timer_set(x->service->loop, &x->hangup, EXEC_HANGUP_MS * CLOCK_NS_PER_MS, 0);
}

static void exec_hangup(struct loop_timer *t)
{
	child_kill(&container_of(t, struct exec, hangup)->child, SIGKILL);
}

static void exec_timeout(struct conn *c)
{
	(void)c; /* none is armed while the program runs */
}

static const struct conn_ops exec_ops = {
	.frame = exec_frame,
	.space = exec_space,
	.closed = exec_closed,
	.timeout = exec_timeout,
};

int exec_begin(struct conn *c, enum guest_frame_type type, const uint8_t *payload, size_t len)
{
	struct service *s = c->service;
	struct kerr e = { 0 };
	struct exec *x;
	int r;

	if (s->running >= EXEC_MAX) {
		conn_refuse(c, 126, "32 programs of exec run already, the most there may be");
		return 0;
	}
	x = calloc(1, sizeof(*x));
	if (!x) {
		conn_refuse(c, 126, strerror(ENOMEM));
		return 0;
	}
	s->running++;
	x->conn = c;
	x->service = s;
	x->child = (struct child){
		.report_fd = -1,
		.started = exec_started,
		.ended = exec_ended,
	};
	streams_init(&x->streams, s->loop, streams_moved, input_ready);
	x->hangup = (struct loop_timer){ .fn = exec_hangup, .w = { .fd = -1 } };
	if (type == GUEST_EXEC)
		r = exec_command(x, payload, len, &e);
	else
		r = exec_copy(x, type, payload, len, &e);
	if (r < 0) {
		exec_free(x);
		conn_refuse(c, 126, e.msg);
		return 0;
	}
	conn_timer(c, 0);
	c->data = x;
	c->ops = &exec_ops;
	return 0;
}
