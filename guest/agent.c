#include "agent.h"

#include <errno.h>
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
	if (!a->ended || !streams_settled(&a->streams))
		return;
	agent_settle(a);
	if (output_has_left(&a->log))
		agent_report(a);
}

static void streams_moved(struct streams *s)
{
	agent_advance(container_of(s, struct agent, streams));
}

void agent_resume(struct agent *a)
{
	streams_resume(&a->streams);
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
	streams_settle(&a->streams);
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
			feed_forget(&a->streams.in);
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
	r = feed_take(&a->streams.in, payload, len);
	a->feeder = r == CHAN_HOLD ? t : NULL;
	return r;
}

static void input_ready(struct streams *s)
{
	struct agent *a = container_of(s, struct agent, streams);

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
	streams_init(&a->streams, loop, streams_moved, input_ready);
	a->drain = (struct loop_timer){ .fn = drain_late, .w = { .fd = -1 } };
	a->taps = a->feeder = NULL;
	a->running = a->ended = a->failed = a->settled = a->reported = false;
	output_init(&a->log, loop, open, log_moved);
	a->log.copy_room = copy_room;
	a->log.copy = copy;
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
		code = streams_terminal(
			&a->streams, &a->log.sink, user->uid, cmd->rows, cmd->cols, spec.fds, e);
	} else {
		code = streams_pipes(
			&a->streams, &a->log.sink, &a->log.sink, cmd->open_stdin, spec.fds);
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
	pty_resize(a->streams.tty, rows, cols);
}

bool agent_was_started(const struct agent *a)
{
	return a->child.pid > 0 || (a->ended && !a->failed);
}

bool agent_quiet(const struct agent *a)
{
	return a->child.pid == 0 && a->streams.out.fd < 0 && a->streams.err.fd < 0 &&
		output_has_left(&a->log);
}

void agent_log_end(struct agent *a)
{
	output_end(&a->log);
}

void agent_done(struct agent *a)
{
	loop_timer_done(&a->drain);
	streams_done(&a->streams);
	output_done(&a->log);
}
