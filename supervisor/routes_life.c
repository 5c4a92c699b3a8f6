/* An agent's life: start, stop, wait, kill. Answered when it has happened. */
#include <errno.h>
#include <stdlib.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "routes.h"

static void op_free(void *user)
{
	struct agent_op *op = user;

	agent_unwatch(&op->watcher);
	free(op);
}

struct agent_op *agent_op_new(struct http_request *q, struct kerr *e)
{
	struct agent_op *op = calloc(1, sizeof(*op));

	if (!op) {
		(void)kerr_errno(e, ENOMEM, "request");
		return NULL;
	}
	op->q = q;
	q->op = op;
	q->op_free = op_free;
	return op;
}

/* ---- start ---- */

struct start_op {
	struct agent_op op;
	int status;
};

static void progress(struct agent_watcher *w, const char *text)
{
	http_progress(container_of(w, struct agent_op, watcher)->q, text);
}

static void start_moved(struct agent_watcher *w, struct agent *a)
{
	struct agent_op *op = container_of(w, struct agent_op, watcher);

	if (a->state == AGENT_STARTING)
		return;
	agent_unwatch(w);
	/* An agent that ended at once has run: STOPPING comes after RUNNING only then. */
	if (a->state == AGENT_RUNNING)
		http_ok(op->q, container_of(op, struct start_op, op)->status, agent_describe(a));
	else if (a->state == AGENT_FAILED)
		http_fail(op->q, EIO, a->reason);
	else
		http_fail(op->q, ECANCELED, "the agent was stopped before it was ready");
}

static void removed_meanwhile(struct agent_watcher *w, const struct kerr *err)
{
	if (!err)
		http_fail(container_of(w, struct agent_op, watcher)->q, ENOENT,
			"the agent was removed meanwhile");
}

int route_start(struct http_request *q, struct agent *a, int status, struct kerr *e)
{
	struct start_op *op;
	int r;

	if (q->sup->ending)
		return kerr_set(e, ESHUTDOWN, "kosvmd is ending");
	op = calloc(1, sizeof(*op));
	if (!op)
		return kerr_errno(e, ENOMEM, "start");
	op->op.q = q;
	op->status = status;
	q->op = &op->op;
	q->op_free = op_free;
	op->op.watcher.progress = progress;
	op->op.watcher.moved = start_moved;
	op->op.watcher.removed = removed_meanwhile;
	agent_watch(a, &op->op.watcher);
	r = agent_start(a, e);
	/* A refused move is told here, a failed start came through start_moved. */
	if (r < 0 && op->op.watcher.attached) {
		agent_unwatch(&op->op.watcher);
		return r;
	}
	return 0;
}

static int start(struct http_request *q, struct kerr *e)
{
	struct agent *a;
	int r = route_agent(q, &a, e);

	return r < 0 ? r : route_start(q, a, 200, e);
}

/* ---- stop, wait, kill ---- */

static void end_moved(struct agent_watcher *w, struct agent *a)
{
	struct agent_op *op = container_of(w, struct agent_op, watcher);

	if (agent_state_live(a->state))
		return;
	agent_unwatch(w);
	http_ok(op->q, 200, agent_describe(a));
}

/* Answers when the agent has no VM; what `fn` wants is done first. */
static int until_ended(struct http_request *q, struct agent *a,
	int (*fn)(struct agent *a, uint64_t grace_ns, struct kerr *e), uint64_t grace_ns,
	struct kerr *e)
{
	struct agent_op *op;
	int r;

	if (!agent_state_live(a->state)) {
		/* A stop calls off the restart that it waits for. */
		r = fn && a->row.restart_at_ns ? fn(a, grace_ns, e) : 0;
		if (r == 0)
			http_ok(q, 200, agent_describe(a));
		return r;
	}
	op = agent_op_new(q, e);
	if (!op)
		return -ENOMEM;
	op->watcher.moved = end_moved;
	op->watcher.removed = removed_meanwhile;
	op->watcher.progress = progress;
	agent_watch(a, &op->watcher);
	r = fn ? fn(a, grace_ns, e) : 0;
	if (r < 0)
		agent_unwatch(&op->watcher);
	return r;
}

static uint64_t grace(const struct http_request *q)
{
	return (uint64_t)json_integer_value(json_object_get(q->body, "grace_ms")) * CLOCK_NS_PER_MS;
}

static int stop(struct http_request *q, struct kerr *e)
{
	struct agent *a;
	int r = route_agent(q, &a, e);

	if (r < 0)
		return r;
	return until_ended(q, a, a->state == AGENT_STOPPING ? NULL : agent_stop, grace(q), e);
}

static int wait_end(struct http_request *q, struct kerr *e)
{
	struct agent *a;
	int r = route_agent(q, &a, e);

	return r < 0 ? r : until_ended(q, a, NULL, 0, e);
}

static int kill_now(struct agent *a, uint64_t grace_ns, struct kerr *e)
{
	(void)grace_ns;
	return agent_kill(a, e);
}

static int kill_agent(struct http_request *q, struct kerr *e)
{
	const json_t *signal = json_object_get(q->body, "signal");
	struct agent *a;
	int r = route_agent(q, &a, e);

	if (r < 0 || !signal)
		return r < 0 ? r : until_ended(q, a, kill_now, 0, e);
	r = agent_signal(a, (int)json_integer_value(signal), e);
	if (r == 0)
		http_ok(q, 200, agent_describe(a));
	return r;
}

/* ---- restart ---- */

static void restart_moved(struct agent_watcher *w, struct agent *a)
{
	struct agent_op *op = container_of(w, struct agent_op, watcher);
	bool ended = a->state == AGENT_STOPPED || a->state == AGENT_FAILED;

	if (a->state == AGENT_STARTING)
		op->seen = true;
	/* It ends first, and that is not the answer yet. */
	if (a->state != AGENT_RUNNING && (!ended || (!op->seen && a->row.restart_at_ns)))
		return;
	agent_unwatch(w);
	if (a->state == AGENT_RUNNING)
		http_ok(op->q, 200, agent_describe(a));
	else if (a->state == AGENT_FAILED)
		http_fail(op->q, EIO, a->reason);
	else
		http_fail(op->q, ECANCELED, "the restart was called off");
}

static int restart(struct http_request *q, struct kerr *e)
{
	struct agent_op *op;
	struct agent *a;
	int r = route_agent(q, &a, e);

	if (r < 0)
		return r;
	if (q->sup->ending)
		return kerr_set(e, ESHUTDOWN, "kosvmd is ending");
	op = agent_op_new(q, e);
	if (!op)
		return -ENOMEM;
	op->watcher.moved = restart_moved;
	op->watcher.removed = removed_meanwhile;
	op->watcher.progress = progress;
	agent_watch(a, &op->watcher);
	r = agent_restart(a, grace(q), e);
	if (r < 0 && op->watcher.attached) {
		agent_unwatch(&op->watcher);
		return r;
	}
	return 0;
}

static const struct http_field grace_body[] = {
	{ .key = "grace_ms", .kind = HTTP_INT, .max = 86400000 },
	{ 0 },
};

static const struct http_field kill_body[] = {
	{ .key = "signal", .kind = HTTP_INT, .min = 1, .max = 64 },
	{ 0 },
};

const struct route life_routes[] = {
	{ .method = "POST", .path = "/v1/agents/{ref}/start", .fn = start, .slow = true },
	{ .method = "POST",
		.path = "/v1/agents/{ref}/stop",
		.fn = stop,
		.body = grace_body,
		.slow = true },
	{ .method = "POST", .path = "/v1/agents/{ref}/wait", .fn = wait_end, .slow = true },
	{ .method = "POST",
		.path = "/v1/agents/{ref}/restart",
		.fn = restart,
		.body = grace_body,
		.slow = true },
	{ .method = "POST",
		.path = "/v1/agents/{ref}/kill",
		.fn = kill_agent,
		.body = kill_body,
		.slow = true },
	{ 0 },
};
