#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>

static void agent_report(struct agent *a)
{
	if (a->reported)
		return;
	a->reported = true;
	loop_timer_done(&a->drain);
	if (!a->failed)
		a->ops->exited(a, a->child.status);
}

static void agent_advance(struct agent *a)
{
	if (a->ended && forward_settled(&a->out) && forward_settled(&a->err) &&
		output_has_left(&a->log))
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

static void log_moved(struct output *o)
{
	struct agent *a = container_of(o, struct agent, log);

	forward_resume(&a->out);
	forward_resume(&a->err);
	agent_advance(a);
}

static void drain_late(struct loop_timer *t)
{
	struct agent *a = container_of(t, struct agent, drain);

	log_warn("the host does not take the agent's last output");
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
	forward_settle(&a->out);
	forward_settle(&a->err);
	(void)loop_timer_set(a->loop, &a->drain, AGENT_DRAIN_MS * CLOCK_NS_PER_MS, 0);
	agent_advance(a);
}

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
	a->out = a->err = (struct forward){ .fd = -1 };
	a->drain = (struct loop_timer){ .fn = drain_late, .w = { .fd = -1 } };
	a->running = a->ended = a->failed = a->reported = false;
	output_init(&a->log, loop, open, log_moved);
}

static int open_pipes(struct agent *a, int child_fds[3])
{
	int p[2];
	int r;

	child_fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (child_fds[0] < 0 || pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	child_fds[1] = p[1];
	r = forward_open(&a->out, a->loop, p[0], &a->log.sink, GUEST_STDOUT, out_moved);
	if (r < 0) {
		(void)close(p[0]);
		return r;
	}
	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	child_fds[2] = p[1];
	r = forward_open(&a->err, a->loop, p[0], &a->log.sink, GUEST_STDERR, err_moved);
	if (r < 0)
		(void)close(p[0]);
	return r;
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
	};
	int code;

	output_start(&a->log);
	code = command_environ(cmd, NULL, user, home, &env);
	if (code == 0)
		code = open_pipes(a, spec.fds);
	if (code < 0)
		(void)kerr_errno(e, -code, "%s", cmd->argv.v[0]);
	spec.envp = env.v;
	if (code == 0)
		code = child_spawn(&a->child, a->loop, r, &spec, e);
	for (int i = 0; i < 3; i++)
		close_fd(&spec.fds[i]);
	words_done(&env);
	return code;
}

bool agent_quiet(const struct agent *a)
{
	return a->child.pid == 0 && a->out.fd < 0 && a->err.fd < 0 && output_has_left(&a->log);
}

void agent_signal(struct agent *a, int signo)
{
	child_signal(&a->child, signo);
}

void agent_log_end(struct agent *a)
{
	output_end(&a->log);
}

void agent_done(struct agent *a)
{
	loop_timer_done(&a->drain);
	forward_done(&a->out);
	forward_done(&a->err);
	output_done(&a->log);
}
