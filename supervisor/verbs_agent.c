/* What the command line may ask about agents. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>
#include <manifests/minisign.h>

#include "client.h"
#include "exec_request.h"

static int find(struct client *c, const struct request *q, struct agent **ret, struct kerr *e)
{
	const char *name;
	int r = request_string(q, "name", &name, e);

	if (r < 0)
		return r;
	*ret = agent_find(c->sup, name, e);
	return *ret ? 0 : -ENOENT;
}

static void watch(
	struct client *c, struct agent *a, void (*moved)(struct agent_watcher *w, struct agent *a))
{
	c->watcher.moved = moved;
	agent_watch(a, &c->watcher);
}

/* ---- run, start: answered when it runs ---- */

static void start_progress(struct agent_watcher *w, const char *text)
{
	client_progress(container_of(w, struct client, watcher), text);
}

static void start_moved(struct agent_watcher *w, struct agent *a)
{
	struct client *c = container_of(w, struct client, watcher);

	if (a->state == AGENT_STARTING)
		return;
	agent_unwatch(w);
	/* An agent that ended at once has run: STOPPING comes after RUNNING only then. */
	if (a->state == AGENT_RUNNING)
		client_ok(c, agent_describe(a));
	else if (a->state == AGENT_FAILED)
		client_fail(c, EIO, a->reason);
	else
		client_fail(c, ECANCELED, "the agent was stopped before it was ready");
}

static int start(struct client *c, struct agent *a, struct kerr *e)
{
	int r;

	if (c->sup->ending)
		return kerr_set(e, ESHUTDOWN, "kosvmd is ending");
	c->watcher.progress = start_progress;
	watch(c, a, start_moved);
	r = agent_start(a, e);
	/* A refused move is told here, a failed start came through start_moved. */
	if (r < 0 && c->watcher.attached) {
		agent_unwatch(&c->watcher);
		return r;
	}
	return 0;
}

static int verb_start(struct client *c, struct request *q, struct kerr *e)
{
	struct agent *a;
	int r = find(c, q, &a, e);

	return r < 0 ? r : start(c, a, e);
}

static int verb_run(struct client *c, struct request *q, struct kerr *e)
{
	_cleanup_free_ char *manifest = NULL;
	_cleanup_free_ char *sig = NULL;
	size_t manifest_len = 0;
	size_t sig_len = 0;
	const char *file = "";
	const char *sig_file = "";
	/* Until its VM is there, a failure leaves nothing behind. */
	static const struct agent_launch launch = { .provisional = true };
	struct agent *a;
	int r;

	r = request_string(q, "file", &file, e);
	if (r == 0)
		r = request_string(q, "signature", &sig_file, e);
	if (r < 0)
		return r;
	if (q->nfds != 2)
		return kerr_set(e, EINVAL, "run needs two files: manifest and signature");
	r = request_read(q, 0, file, MANIFEST_MAX_BYTES, &manifest, &manifest_len, e);
	if (r == 0)
		r = request_read(q, 1, sig_file, MINISIGN_FILE_MAX, &sig, &sig_len, e);
	if (r < 0)
		return r;
	r = agent_create(
		c->sup, file, manifest, manifest_len, sig_file, sig, sig_len, &launch, &a, e);
	if (r < 0)
		return r;
	r = start(c, a, e);
	if (r < 0)
		(void)agent_remove(a, NULL);
	return r;
}

/* ---- stop, wait, rm ---- */

static void stop_moved(struct agent_watcher *w, struct agent *a)
{
	struct client *c = container_of(w, struct client, watcher);

	if (a->state != AGENT_STOPPED && a->state != AGENT_FAILED)
		return;
	agent_unwatch(w);
	client_ok(c, agent_describe(a));
}

/* Nothing is left to describe; `rm` of somebody else came first. */
static void stop_removed(struct agent_watcher *w, const struct kerr *err)
{
	if (!err)
		client_fail(container_of(w, struct client, watcher), ENOENT,
			"the agent was removed meanwhile");
}

static void watch_end(struct client *c, struct agent *a)
{
	c->watcher.removed = stop_removed;
	watch(c, a, stop_moved);
}

static int verb_stop(struct client *c, struct request *q, struct kerr *e)
{
	bool kill = json_is_true(json_object_get(q->args, "kill"));
	json_int_t ms = json_integer_value(json_object_get(q->args, "grace_ms"));
	struct agent *a;
	int r = find(c, q, &a, e);

	if (r < 0)
		return r;
	if (ms < 0 || ms > 86400000)
		return kerr_set(e, EINVAL, "timeout: expected 0 to 24h");
	if (a->state == AGENT_STOPPED || a->state == AGENT_FAILED) {
		r = a->row.restart_at_ns ? agent_stop(a, 0, e) : 0;
		if (r == 0)
			client_ok(c, agent_describe(a));
		return r;
	}
	if (!kill && a->state == AGENT_STOPPING) {
		watch_end(c, a);
		return 0;
	}
	watch_end(c, a);
	r = kill ? agent_kill(a, e) : agent_stop(a, (uint64_t)ms * CLOCK_NS_PER_MS, e);
	if (r < 0)
		agent_unwatch(&c->watcher);
	return r;
}

static int verb_wait(struct client *c, struct request *q, struct kerr *e)
{
	struct agent *a;
	int r = find(c, q, &a, e);

	if (r < 0)
		return r;
	if (a->state == AGENT_STOPPED || a->state == AGENT_FAILED)
		client_ok(c, agent_describe(a));
	else
		watch_end(c, a);
	return 0;
}

static void rm_moved(struct agent_watcher *w, struct agent *a)
{
	(void)w;
	(void)a;
}

static void rm_removed(struct agent_watcher *w, const struct kerr *err)
{
	struct client *c = container_of(w, struct client, watcher);

	if (!err) {
		client_ok(c, NULL);
		return;
	}
	agent_unwatch(w);
	client_fail(c, err->code, err->msg);
}

static int verb_rm(struct client *c, struct request *q, struct kerr *e)
{
	struct agent *a;
	int r = find(c, q, &a, e);

	if (r < 0)
		return r;
	if (agent_state_next(a->state, AGENT_EV_PURGE)) {
		r = agent_remove(a, e);
		if (r == 0)
			client_ok(c, NULL);
		return r;
	}
	if (!json_is_true(json_object_get(q->args, "force")))
		return kerr_set(e, EBUSY, "agent %s is %s: stop it first, or `kosvm rm --force %s`",
			a->row.name, agent_state_name(a->state), a->row.name);
	a->remove_when_ended = true;
	c->watcher.removed = rm_removed;
	watch(c, a, rm_moved);
	r = agent_kill(a, e);
	if (r < 0) {
		a->remove_when_ended = false;
		agent_unwatch(&c->watcher);
	}
	return r;
}

/* ---- ps, logs ---- */

static int verb_ps(struct client *c, struct request *q, struct kerr *e)
{
	bool all = json_is_true(json_object_get(q->args, "all"));
	struct agent *a;

	(void)e;
	/* One message an agent: their number is not bounded by a message's size. */
	LIST_FOREACH(a, &c->sup->agents, link)
	{
		if (all || agent_state_live(a->state))
			client_data(c, agent_describe(a));
	}
	client_ok(c, NULL);
	return 0;
}

static int verb_logs(struct client *c, struct request *q, struct kerr *e)
{
	bool follow = json_is_true(json_object_get(q->args, "follow"));
	struct agent *a;
	int sv[2];
	int r = find(c, q, &a, e);

	if (r < 0)
		return r;
	if (json_is_true(json_object_get(q->args, "console"))) {
		int fd = openat(a->dirfd, "console.log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

		if (fd < 0)
			return kerr_set(e, errno, "agent %s has no console log: it never booted",
				a->row.name);
		client_ok_fd(c, NULL, fd);
		return 0;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return kerr_errno(e, errno, "logs");
	r = agent_log_stream(c->sup->loop, a->dirfd, follow ? a->log : NULL, sv[0], e);
	if (r < 0) {
		(void)close(sv[1]);
		return r;
	}
	client_ok_fd(c, NULL, sv[1]);
	return 0;
}

/* ---- connect, exec: a stream to the guest, handed to the command line ---- */

static void connect_done(void *user, int result, int fd)
{
	struct client *c = user;
	struct kerr err = { 0 };

	c->stream = NULL;
	if (result < 0) {
		(void)kerr_errno(&err, -result, "the guest did not accept the stream");
		client_fail(c, result, err.msg);
		return;
	}
	if (c->exec && exec_request_send(fd, c->exec, &err) < 0) {
		(void)close(fd);
		client_fail(c, err.code, err.msg);
		return;
	}
	client_ok_fd(c, NULL, fd);
}

static int verb_connect(struct client *c, struct request *q, struct kerr *e)
{
	json_int_t port = json_integer_value(json_object_get(q->args, "port"));
	struct agent *a;
	int r = find(c, q, &a, e);

	if (r < 0)
		return r;
	if (port <= GUEST_PORT_EXEC || port >= UINT32_MAX)
		return kerr_set(e, EINVAL,
			"port = %lld: expected a port above %u, lower ones are "
			"the system's",
			(long long)port, GUEST_PORT_EXEC);
	return agent_open_stream(a, (uint32_t)port, connect_done, c, &c->stream, e);
}

static int verb_exec(struct client *c, struct request *q, struct kerr *e)
{
	struct agent *a;
	int r = find(c, q, &a, e);

	if (r == 0)
		r = exec_request_check(q->args, e);
	if (r < 0)
		return r;
	r = agent_open_stream(a, GUEST_PORT_EXEC, connect_done, c, &c->stream, e);
	if (r == 0)
		c->exec = json_incref(q->args);
	return r;
}

const struct verb agent_verbs[] = {
	{ "run", verb_run },
	{ "start", verb_start },
	{ "stop", verb_stop },
	{ "wait", verb_wait },
	{ "rm", verb_rm },
	{ "ps", verb_ps },
	{ "logs", verb_logs },
	{ "connect", verb_connect },
	{ "exec", verb_exec },
	{ 0 },
};
