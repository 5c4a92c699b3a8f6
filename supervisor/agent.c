#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>

#include "tree.h"

/* ---- watchers ---- */

void agent_watch(struct agent *a, struct agent_watcher *w)
{
	LIST_INSERT_HEAD(&a->watchers, w, link);
	w->attached = true;
}

void agent_unwatch(struct agent_watcher *w)
{
	if (w->attached)
		LIST_REMOVE(w, link);
	w->attached = false;
}

void agent_say(struct agent *a, const char *text)
{
	struct agent_watcher *next;

	for (struct agent_watcher *w = LIST_FIRST(&a->watchers); w; w = next) {
		next = LIST_NEXT(w, link);
		if (w->progress)
			w->progress(w, text);
	}
}

static void tell_moved(struct agent *a)
{
	struct agent_watcher *next;

	for (struct agent_watcher *w = LIST_FIRST(&a->watchers); w; w = next) {
		next = LIST_NEXT(w, link);
		w->moved(w, a);
	}
}

void agent_tell_removed(struct agent *a, const struct kerr *err)
{
	struct agent_watcher *next;

	for (struct agent_watcher *w = LIST_FIRST(&a->watchers); w; w = next) {
		next = LIST_NEXT(w, link);
		if (!err)
			agent_unwatch(w);
		if (w->removed)
			w->removed(w, err);
	}
}

/* ---- moves ---- */

int agent_move(struct agent *a, enum agent_event ev, const char *reason, struct kerr *e)
{
	enum agent_state from = a->state;
	enum agent_state to = agent_state_next(from, ev);
	struct db_agent row = a->row;
	int r;

	if (!to) {
		char allowed[128];

		agent_state_allowed(from, allowed, sizeof(allowed));
		return kerr_set(e, EBUSY, "agent %s is %s: %s is not allowed now (allowed: %s)",
			a->row.name, agent_state_name(from), agent_event_name(ev), allowed);
	}
	if (to == AGENT_STARTING) {
		row.exit_code = -1;
		row.exit_signal = 0;
		row.started_ns = clock_real_ns();
		row.ended_ns = 0;
	} else if (to == AGENT_STOPPED || to == AGENT_FAILED) {
		row.ended_ns = clock_real_ns();
	}
	row.state = (char *)agent_state_name(to);
	row.reason = (char *)reason;
	r = db_agent_move(a->sup->db, &row, agent_state_name(from), agent_event_name(ev), e);
	if (r < 0)
		return r;
	a->row.exit_code = row.exit_code;
	a->row.exit_signal = row.exit_signal;
	a->row.started_ns = row.started_ns;
	a->row.ended_ns = row.ended_ns;
	a->state = to;
	if (reason != a->reason)
		(void)snprintf(a->reason, sizeof(a->reason), "%s", reason);
	log_info("agent %s: %s -> %s (%s)%s%s", a->row.name, agent_state_name(from),
		agent_state_name(to), agent_event_name(ev), *reason ? ": " : "", reason);
	tell_moved(a);
	return 0;
}

/* For what has happened already and cannot be refused. */
void agent_moved_for_real(struct agent *a, enum agent_event ev, const char *reason)
{
	struct kerr err = { 0 };

	if (agent_move(a, ev, reason, &err) == 0)
		return;
	log_error("agent %s: %s", a->row.name, err.msg);
	if (agent_state_next(a->state, ev)) {
		/* Not recorded, but true; the next start of kosvmd finds out again. */
		a->state = agent_state_next(a->state, ev);
		if (reason != a->reason)
			(void)snprintf(a->reason, sizeof(a->reason), "%s", reason);
		tell_moved(a);
	}
}

/* ---- what people ask for ---- */

/* An agent that is breaking down goes on to say why. */
static const char *why(const struct agent *a, const char *request)
{
	return a->broken ? a->reason : request;
}

int agent_start(struct agent *a, struct kerr *e)
{
	int r = agent_move(a, AGENT_EV_START, "", e);

	if (r < 0)
		return r;
	a->broken = false;
	a->stop_stage = STOP_NONE;
	a->deadline.fn = agent_deadline_passed;
	r = agent_boot(a, e);
	if (r < 0)
		agent_break(a, "%s", e->msg);
	return r;
}

int agent_stop(struct agent *a, uint64_t grace_ns, struct kerr *e)
{
	int r = agent_move(a, AGENT_EV_STOP, why(a, "stopped by request"), e);

	if (r < 0)
		return r;
	if (a->vmm) {
		if (!a->broken) /* else it was killed already */
			agent_ask_to_end(a, grace_ns);
		return 0;
	}
	agent_ended(a, AGENT_EV_ENDED, "stopped by request");
	return 0;
}

int agent_kill(struct agent *a, struct kerr *e)
{
	if (a->state != AGENT_STOPPING) {
		int r = agent_move(a, AGENT_EV_STOP, why(a, "killed by request"), e);

		if (r < 0)
			return r;
	}
	a->stop_stage = STOP_KILLED;
	loop_timer_done(&a->deadline);
	if (a->vmm) {
		vmm_proc_kill(a->vmm);
		return 0;
	}
	agent_ended(a, AGENT_EV_ENDED, "killed by request");
	return 0;
}

int agent_remove(struct agent *a, struct kerr *e)
{
	char dir[24];
	int r = agent_move(a, AGENT_EV_PURGE, "removed by request", e);

	if (r < 0)
		return r;
	agent_dir_name(a, dir);
	r = tree_remove(a->sup->agents_fd, dir, e);
	if (r < 0)
		return r;
	r = db_agent_remove(a->sup->db, a->row.id, e);
	if (r < 0)
		return r;
	agent_free(a);
	return 0;
}

int agent_open_stream(struct agent *a, uint32_t port, void (*done)(void *user, int result, int fd),
	void *user, struct agent_connect **ret, struct kerr *e)
{
	struct agent_connect *c;
	int sv[2];
	int r;

	if (a->state != AGENT_RUNNING || !a->vmm)
		return kerr_set(e, ENOTCONN, "agent %s is %s: start it first", a->row.name,
			agent_state_name(a->state));
	c = calloc(1, sizeof(*c));
	if (!c || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0) {
		r = kerr_errno(e, c ? errno : ENOMEM, "stream to %s", a->row.name);
		free(c);
		return r;
	}
	c->id = ++a->next_connect;
	c->fd = sv[0];
	c->done = done;
	c->user = user;
	/* O_NONBLOCK is per open file: only the VMM's end gets it. */
	(void)fcntl(sv[1], F_SETFL, O_RDWR | O_NONBLOCK);
	LIST_INSERT_HEAD(&a->connects, c, link);
	r = vmm_proc_connect(a->vmm, c->id, port, sv[1]);
	if (r < 0) {
		LIST_REMOVE(c, link);
		close_fd(&c->fd);
		free(c);
		return kerr_errno(e, -r, "stream to %s", a->row.name);
	}
	*ret = c;
	return 0;
}

void agent_connect_cancel(struct agent_connect *c)
{
	LIST_REMOVE(c, link);
	close_fd(&c->fd);
	free(c);
}
