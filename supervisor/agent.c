/* Moves, and what people ask an agent to do. */
#include "agent.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <base/clock.h>
#include <base/log.h>

#include "ceiling.h"
#include "events.h"
#include "panic.h"
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

void agent_publish(struct agent *a, const char *type, json_t *fields)
{
	if (fields) {
		(void)json_object_set_new(fields, "agent", json_string(a->row.name));
		(void)json_object_set_new(fields, "id", json_string(a->row.uid));
	}
	events_publish(a->sup, type, fields);
}

/* As it is replayed from the database. */
static void publish(struct agent *a, enum agent_state from, const char *event, const char *reason)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I}", "from", agent_state_name(from), "event",
		event, "to", agent_state_name(a->state), "generation",
		(json_int_t)a->row.generation, "time_ns", (json_int_t)a->row.moved_ns);

	if (o)
		(void)json_object_set_new(o, "reason", api_text(reason));
	agent_publish(a, "agent.move", o);
}

static void publish_move(struct agent *a, enum agent_state from, enum agent_event ev)
{
	publish(a, from, agent_event_name(ev), a->reason);
}

void agent_publish_update(struct agent *a, const char *what)
{
	publish(a, a->state, "update", what);
}

/* ---- moves ---- */

/* What a move changes beside the state. */
static void change_row(struct db_agent *row, enum agent_event ev, enum agent_state to)
{
	if (to == AGENT_STARTING) {
		row->generation++;
		row->restarts = ev == AGENT_EV_RESTART ? row->restarts + 1 : 0;
		row->restart_at_ns = 0;
		row->exit_code = -1;
		row->exit_signal = 0;
		row->started_ns = clock_real_ns();
		row->ended_ns = 0;
	} else if (to == AGENT_STOPPED || to == AGENT_FAILED) {
		row->ended_ns = clock_real_ns();
		row->paused[0] = '\0';
	}
}

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
	change_row(&row, ev, to);
	row.state = (char *)agent_state_name(to);
	row.reason = (char *)reason;
	r = db_agent_move(a->sup->db, &row, agent_state_name(from), agent_event_name(ev), e);
	if (r < 0)
		return r;
	row.state = a->row.state;
	row.reason = a->row.reason;
	a->row = row;
	a->state = to;
	a->last_event = ev;
	if (to == AGENT_STARTING)
		agent_policy_arm(a); /* a restart that was due is not made on top */
	if (reason != a->reason)
		(void)snprintf(a->reason, sizeof(a->reason), "%s", reason);
	log_info("agent %s: %s -> %s (%s)%s%s", a->row.name, agent_state_name(from),
		agent_state_name(to), agent_event_name(ev), *reason ? ": " : "", reason);
	publish_move(a, from, ev);
	tell_moved(a);
	return 0;
}

/* For what has happened already and cannot be refused. */
void agent_moved_for_real(struct agent *a, enum agent_event ev, const char *reason)
{
	struct kerr err = { 0 };
	enum agent_state from = a->state;

	if (agent_move(a, ev, reason, &err) == 0)
		return;
	log_error("agent %s: %s", a->row.name, err.msg);
	if (!agent_state_next(from, ev))
		return;
	/* Not recorded, but true; the next start of kosvmd finds out again. */
	a->state = agent_state_next(from, ev);
	a->last_event = ev;
	change_row(&a->row, ev, a->state);
	a->row.moved_ns = clock_real_ns();
	if (reason != a->reason)
		(void)snprintf(a->reason, sizeof(a->reason), "%s", reason);
	publish_move(a, from, ev);
	tell_moved(a);
}

int agent_note(struct agent *a)
{
	struct kerr err = { 0 };
	struct db_agent row = a->row;
	int r;

	row.state = (char *)agent_state_name(a->state);
	row.reason = a->reason;
	r = db_agent_note(a->sup->db, &row, &err);
	if (r < 0)
		log_error("agent %s: %s", a->row.name, err.msg);
	return r;
}

/* ---- what people ask for ---- */

/* An agent that is breaking down goes on to say why. */
static const char *why(const struct agent *a, const char *request)
{
	return a->broken ? a->reason : request;
}

static int may_start(const struct agent *a, struct kerr *e)
{
	int r = panic_check(a, e);

	return r < 0 ? r : ceiling_check_start(a, e);
}

int agent_start(struct agent *a, struct kerr *e)
{
	int r;

	if (a->unreadable)
		return kerr_set(
			e, EINVAL, "agent %s cannot be started: %s", a->row.name, a->reason);
	if (a->sup->ending)
		return kerr_set(e, ESHUTDOWN, "kosvmd is ending");
	r = may_start(a, e);
	if (r == 0)
		r = agent_move(a, AGENT_EV_START, "", e);
	if (r < 0)
		return r;
	r = agent_boot(a, e);
	if (r < 0)
		agent_break(a, "%s", e->msg);
	return r;
}

static int set_restart(struct agent *a, uint64_t at_ns, struct kerr *e)
{
	uint64_t before = a->row.restart_at_ns;

	a->row.restart_at_ns = at_ns;
	if (agent_note(a) == 0)
		return 0;
	a->row.restart_at_ns = before;
	return kerr_set(e, EIO, "agent %s: not recorded", a->row.name);
}

/* It has ended and waits for its next start, or ends for it: that one is called off. */
static bool waits(const struct agent *a)
{
	return (!agent_state_live(a->state) || a->state == AGENT_STOPPING) && a->row.restart_at_ns;
}

static int call_off(struct agent *a, struct kerr *e)
{
	int r = set_restart(a, 0, e);

	if (r == 0)
		agent_policy_arm(a);
	return r;
}

int agent_stop(struct agent *a, uint64_t grace_ns, struct kerr *e)
{
	int r;

	if (waits(a))
		return call_off(a, e);
	r = agent_move(a, AGENT_EV_STOP, why(a, "stopped by request"), e);
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
	bool was_due = a->row.restart_at_ns != 0;
	int r = waits(a) ? call_off(a, e) : 0;

	if (r < 0 || (!agent_state_live(a->state) && was_due))
		return r;
	if (a->state != AGENT_STOPPING) {
		r = agent_move(a, AGENT_EV_STOP, why(a, "killed by request"), e);
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

int agent_restart(struct agent *a, uint64_t grace_ns, struct kerr *e)
{
	int r;

	if (!agent_state_live(a->state))
		return agent_start(a, e);
	r = may_start(a, e);
	if (r < 0)
		return r;
	if (a->state == AGENT_STOPPING)
		return set_restart(a, DB_RESTART_AT_ONCE, e);
	/* Recorded with the stop: whoever comes after a crash starts it. */
	a->row.restart_at_ns = DB_RESTART_AT_ONCE;
	r = agent_stop(a, grace_ns, e);
	if (r < 0)
		a->row.restart_at_ns = 0;
	return r;
}

int agent_signal(struct agent *a, int signo, struct kerr *e)
{
	int r = -ENOTCONN;

	if (a->state == AGENT_RUNNING && a->guest) {
		agent_needed(a);
		r = guest_link_signal(a->guest, signo);
	}
	if (r == -ENOTCONN)
		return kerr_set(e, ENOTCONN, "agent %s is %s: nothing there gets a signal",
			a->row.name, agent_state_name(a->state));
	return r < 0 ? kerr_errno(e, -r, "signal %d for %s", signo, a->row.name) : 0;
}

int agent_remove(struct agent *a, struct kerr *e)
{
	char dir[24];
	int r = agent_move(a, AGENT_EV_PURGE, "removed by request", e);

	if (r < 0)
		return r;
	agent_policy_arm(a); /* nothing starts it any more */
	agent_dir_name(a, dir);
	r = tree_remove(a->sup->agents_fd, dir, e);
	/* That the row is gone is the record of this move. */
	if (r == 0)
		r = db_agent_remove(a->sup->db, a->row.id, e);
	if (r < 0)
		return r;
	a->state = AGENT_PURGED;
	a->row.moved_ns = clock_real_ns();
	publish_move(a, AGENT_PURGING, AGENT_EV_PURGED);
	agent_publish(a, "agent.removed", json_object());
	agent_free(a);
	return 0;
}
