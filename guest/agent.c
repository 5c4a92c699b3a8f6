#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>

#include "pty.h"

static void agent_report(struct agent *a)
{
	if (a->reported)
		return;
	a->reported = true;
	loop_timer_done(&a->drain);
	if (!a->failed)
		a->ops->exited(a, a->child.status);
}

/* Everything it wrote was taken: those who are attached need not wait for the log. */
static void agent_settle(struct agent *a)
{
	if (a->settled)
		return;
	a->settled = true;
	for (struct agent_tap *t = a->taps, *next; t; t = next) {
		next = t->next;
		t->ops->ended(t, a->child.status);
	}
}

static void agent_advance(struct agent *a)
{
	if (!a->ended || !forward_settled(&a->out) || !forward_settled(&a->err))
		return;
	agent_settle(a);
	if (output_has_left(&a->log))
		agent_report(a);
}

static void out_moved(struct forward *f)
{
	agent_advance(container_of(f, struct agent, out));
}

static void err_moved(struct forward *f)
{
	agent_advance(container_of(f, struct agent, err));
}

void agent_resume(struct agent *a)
{
	forward_resume(&a->out);
	forward_resume(&a->err);
}

static void log_moved(struct output *o)
{
	struct agent *a = container_of(o, struct agent, log);

	agent_resume(a);
	agent_advance(a);
}

static void drain_late(struct loop_timer *t)
{
	struct agent *a = container_of(t, struct agent, drain);

	log_warn("the host does not take the agent's last output");
	agent_settle(a);
	agent_report(a);
}

static void agent_started(struct child *c, int code, const char *why)
{
	struct agent *a = container_of(c, struct agent, child);

	if (code) {
		a->failed = true;
		a->ops->failed(a, why);
	} else {
		a->running = true;
		a->ops->ready(a, (uint32_t)c->pid);
	}
}

static void agent_ended(struct child *c)
{
	struct agent *a = container_of(c, struct agent, child);

	a->running = false;
	a->ended = true;
	feed_done(&a->in);
	forward_settle(&a->out);
	forward_settle(&a->err);
	(void)loop_timer_set(a->loop, &a->drain, AGENT_DRAIN_MS * CLOCK_NS_PER_MS, 0);
	agent_advance(a);
}

/* ---- those who are attached ---- */

static size_t copy_room(const struct output *o)
{
	const struct agent *a = container_of(o, struct agent, log);
	size_t least = SIZE_MAX;

	for (struct agent_tap *t = a->taps; t; t = t->next) {
		size_t room = t->ops->room(t);

		least = room < least ? room : least;
	}
	return least;
}

static void copy(struct output *o, enum guest_frame_type type, const uint8_t *data, size_t len)
{
	const struct agent *a = container_of(o, struct agent, log);

	for (struct agent_tap *t = a->taps; t; t = t->next)
		t->ops->take(t, type, data, len);
}

void agent_tap(struct agent *a, struct agent_tap *t)
{
	t->next = a->taps;
	a->taps = t;
	if (a->settled)
		t->ops->ended(t, a->child.status);
}

static void offer_input(struct agent *a)
{
	for (struct agent_tap *t = a->taps, *next; t; t = next) {
		next = t->next;
		t->ops->input(t);
	}
}

void agent_untap(struct agent *a, struct agent_tap *t)
{
	for (struct agent_tap **p = &a->taps; *p; p = &(*p)->next) {
		if (*p != t)
			continue;
		*p = t->next;
		if (a->feeder == t) {
			/* The rest of its frame never comes; somebody else's may. */
			a->feeder = NULL;
			feed_forget(&a->in);
			offer_input(a);
		}
		agent_resume(a);
		return;
	}
}

int agent_feed(struct agent *a, struct agent_tap *t, const uint8_t *payload, size_t len)
{
	int r;

	if (a->feeder && a->feeder != t)
		return CHAN_HOLD;
	r = feed_take(&a->in, payload, len);
	a->feeder = r == CHAN_HOLD ? t : NULL;
	return r;
}

static void in_ready(struct feed *f)
{
	struct agent *a = container_of(f, struct agent, in);

	if (a->feeder)
		a->feeder->ops->input(a->feeder);
	/* Whoever waited behind it. */
	if (!a->feeder)
		offer_input(a);
}

/* ---- the process ---- */

void agent_init(
	struct agent *a, struct loop *loop, const struct agent_ops *ops, int (*open)(uint32_t port))
{
	a->loop = loop;
	a->ops = ops;
	a->child = (struct child){
		.report_fd = -1,
		.started = agent_started,
		.ended = agent_ended,
	};
	a->in = (struct feed){ .fd = -1 };
	a->out = a->err = (struct forward){ .fd = -1 };
	a->drain = (struct loop_timer){ .fn = drain_late, .w = { .fd = -1 } };
	a->taps = a->feeder = NULL;
	a->tty = -1;
	a->running = a->ended = a->failed = a->settled = a->reported = false;
	output_init(&a->log, loop, open, log_moved);
	a->log.copy_room = copy_room;
	a->log.copy = copy;
}

/* A pipe from the program; its end of it is *theirs. */
static int open_output(struct agent *a, struct forward *f, enum guest_frame_type type,
	void (*moved)(struct forward *f), int *theirs)
{
	int p[2];
	int r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	*theirs = p[1];
	r = forward_open(f, a->loop, p[0], &a->log.sink, type, moved);
	if (r < 0)
		(void)close(p[0]);
	return r;
}

static int open_input(struct agent *a, bool fed, int *theirs)
{
	int p[2];
	int r;

	if (!fed) {
		*theirs = open("/dev/null", O_RDONLY | O_CLOEXEC);
		return *theirs < 0 ? -errno : 0;
	}
	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	*theirs = p[0];
	r = feed_open(&a->in, a->loop, p[1], in_ready);
	if (r < 0)
		(void)close(p[1]);
	return r;
}

static int open_pipes(struct agent *a, bool fed, int child_fds[3])
{
	int r = open_input(a, fed, &child_fds[0]);

	if (r == 0)
		r = open_output(a, &a->out, GUEST_STDOUT, out_moved, &child_fds[1]);
	if (r == 0)
		r = open_output(a, &a->err, GUEST_STDERR, err_moved, &child_fds[2]);
	return r;
}

static int open_terminal(struct agent *a, const struct command *cmd, const struct user *user,
	int child_fds[3], struct kerr *e)
{
	const struct pty_use use = {
		.loop = a->loop,
		.in = &a->in,
		.ready = in_ready,
		.out = &a->out,
		.sink = &a->log.sink,
		.moved = out_moved,
	};
	int r = pty_open(user->uid, cmd->rows, cmd->cols, &a->tty, &child_fds[0], e);

	if (r < 0)
		return r;
	r = pty_connect(a->tty, &use, child_fds);
	return r < 0 ? kerr_errno(e, -r, "terminal") : 0;
}

int agent_start(struct agent *a, struct reaper *r, const struct command *cmd,
	const struct user *user, const char *home, struct kerr *e)
{
	struct words env = { 0 };
	struct child_spec spec = {
		.argv = cmd->argv.v,
		.user = user,
		.cwd = cmd->cwd ? cmd->cwd : "/",
		.fds = { -1, -1, -1 },
		.terminal = cmd->tty,
	};
	int code;

	output_start(&a->log);
	code = command_environ(cmd, NULL, user, home, &env);
	if (code < 0) {
		(void)kerr_errno(e, -code, "%s", cmd->argv.v[0]);
	} else if (cmd->tty) {
		code = open_terminal(a, cmd, user, spec.fds, e);
	} else {
		code = open_pipes(a, cmd->open_stdin, spec.fds);
		if (code < 0)
			(void)kerr_errno(e, -code, "%s", cmd->argv.v[0]);
	}
	spec.envp = env.v;
	if (code == 0)
		code = child_spawn(&a->child, a->loop, r, &spec, e);
	for (int i = 0; i < 3; i++)
		close_fd(&spec.fds[i]);
	words_done(&env);
	return code;
}

void agent_signal(struct agent *a, int signo)
{
	child_signal(&a->child, signo);
}

void agent_resize(struct agent *a, uint32_t rows, uint32_t cols)
{
	pty_resize(a->tty, rows, cols);
}

bool agent_was_started(const struct agent *a)
{
	return a->child.pid > 0 || (a->ended && !a->failed);
}

bool agent_quiet(const struct agent *a)
{
	return a->child.pid == 0 && a->out.fd < 0 && a->err.fd < 0 && output_has_left(&a->log);
}

void agent_log_end(struct agent *a)
{
	output_end(&a->log);
}

void agent_done(struct agent *a)
{
	loop_timer_done(&a->drain);
	feed_done(&a->in);
	forward_done(&a->out);
	forward_done(&a->err);
	close_fd(&a->tty);
	output_done(&a->log);
}
