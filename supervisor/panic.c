#include "panic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/clock.h>
#include <base/log.h>

#include "agent.h"
#include "events.h"

#define REASON_MAX 200u

struct panic {
	LIST_ENTRY(panic) link;
	char *scope; /* canonical JSON of labels */
	json_t *labels;
	bool kill;
	char reason[REASON_MAX + 1];
	uint64_t since_ns;
};

static void panic_free(struct panic *p)
{
	if (!p)
		return;
	json_decref(p->labels);
	free(p->scope);
	free(p);
}

static struct panic *panic_new(
	bool kill, const json_t *labels, const char *reason, uint64_t since_ns)
{
	struct panic *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->labels = labels ? json_deep_copy(labels) : json_object();
	p->scope = p->labels ? json_dumps(p->labels, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	p->kill = kill;
	p->since_ns = since_ns;
	(void)snprintf(p->reason, sizeof(p->reason), "%s", reason);
	if (p->scope)
		return p;
	panic_free(p);
	return NULL;
}

static void insert(struct sup *s, struct panic *p)
{
	struct panic *old;

	LIST_FOREACH(old, &s->panics, link)
	{
		if (strcmp(old->scope, p->scope) == 0)
			break;
	}
	if (old) {
		LIST_REMOVE(old, link);
		panic_free(old);
	}
	LIST_INSERT_HEAD(&s->panics, p, link);
}

/* ---- whom it covers ---- */

static bool has_label(const struct agent *a, const char *key, const char *value)
{
	size_t n = strlen(key);

	for (char **l = a->manifest.labels; l && *l; l++) {
		if (strncmp(*l, key, n) == 0 && (*l)[n] == '=' && strcmp(*l + n + 1, value) == 0)
			return true;
	}
	return false;
}

static bool covers(const struct panic *p, const struct agent *a)
{
	const char *key;
	json_t *value;

	json_object_foreach(p->labels, key, value)
	{
		if (!has_label(a, key, json_string_value(value)))
			return false;
	}
	return true;
}

/* The one that counts: to kill is more than to freeze. */
static const struct panic *over(const struct agent *a)
{
	const struct panic *found = NULL;
	const struct panic *p;

	LIST_FOREACH(p, &a->sup->panics, link)
	{
		if (covers(p, a) && (!found || p->kill))
			found = p;
	}
	return found;
}

int panic_check(const struct agent *a, struct kerr *e)
{
	const struct panic *p = over(a);

	if (!p)
		return 0;
	return kerr_set(e, EBUSY, "agent %s: a panic (%s) stands%s%s: `kosvm unpanic` ends it",
		a->row.name, p->kill ? "kill" : "freeze", *p->reason ? ": " : "", p->reason);
}

/* ---- what it does ---- */

/* To every VM at once; nothing here waits, and no disk is written. */
static void strike(struct agent *a)
{
	const struct panic *p = over(a);
	int r;

	if (!p || !a->vmm || a->broken)
		return;
	if (p->kill) {
		vmm_proc_kill(a->vmm);
		return;
	}
	r = a->frozen ? 0 : agent_freeze(a);
	/*
	 * -ENOTCONN: one that is found again and has not answered yet is
	 * struck when it does (agent_attached), one that ends is ending.
	 * What else cannot be frozen may not run on.
	 */
	if (r < 0 && r != -ENOTCONN)
		vmm_proc_kill(a->vmm);
}

/* What was done to it is recorded. May free a. */
static void record(struct agent *a)
{
	const struct panic *p = over(a);
	struct kerr err = { 0 };
	char text[REASON_MAX + 32];

	if (!p || a->broken || !agent_state_live(a->state))
		return;
	if (!p->kill) {
		/* One that has no VM yet meets the panic before it gets one. */
		if (a->vmm)
			agent_pause(a, "panic");
		return;
	}
	(void)snprintf(text, sizeof(text), "panic%s%s", *p->reason ? ": " : "", p->reason);
	a->row.restart_at_ns = 0;
	a->stop_stage = STOP_KILLED;
	loop_timer_done(&a->deadline);
	if (a->state != AGENT_STOPPING && agent_move(a, AGENT_EV_STOP, text, &err) < 0)
		log_error("agent %s: %s", a->row.name, err.msg);
	if (!a->vmm)
		agent_ended(a, a->state == AGENT_STOPPING ? AGENT_EV_ENDED : AGENT_EV_BROKEN, text);
}

void panic_apply(struct agent *a)
{
	strike(a);
	record(a);
}

static void apply_all(struct sup *s)
{
	struct agent *next;
	struct agent *a;

	LIST_FOREACH(a, &s->agents, link)
	{
		strike(a);
	}
	for (a = LIST_FIRST(&s->agents); a; a = next) {
		next = LIST_NEXT(a, link);
		record(a);
	}
}

static void publish(struct sup *s, const char *action, const struct panic *p)
{
	json_t *o = json_pack(
		"{s:s, s:O?, s:s}", "action", action, "labels", p ? p->labels : NULL, "reason", "");

	if (o && p)
		(void)json_object_set_new(o, "reason", api_text(p->reason));
	events_publish(s, "panic", o);
}

static int check_labels(const json_t *labels, struct kerr *e)
{
	const char *key;
	json_t *value;

	if (labels && !json_is_object(labels))
		return kerr_set(e, EINVAL, "labels: expected an object of key: \"value\"");
	json_object_foreach((json_t *)labels, key, value)
	{
		if (!manifest_label_ok(key) || !json_is_string(value))
			return kerr_set(e, EINVAL, "labels: %.64s: expected key: \"value\"", key);
	}
	return 0;
}

int panic_set(struct sup *s, bool kill, const json_t *labels, const char *reason, struct kerr *e)
{
	struct panic *p;
	int r = check_labels(labels, e);

	if (r < 0)
		return r;
	p = panic_new(kill, labels, reason, clock_real_ns());
	if (!p)
		return kerr_errno(e, ENOMEM, "panic");
	r = db_panic_set(s->db,
		&(struct db_panic){ .scope = p->scope,
			.action = kill ? "kill" : "freeze",
			.reason = p->reason,
			.since_ns = p->since_ns },
		e);
	if (r < 0)
		(void)kerr_wrap(e, "the panic is in force, but ends with this kosvmd");
	log_warn("panic: %s %s%s%s", kill ? "kill" : "freeze", p->scope, *reason ? ": " : "",
		p->reason);
	insert(s, p);
	publish(s, kill ? "kill" : "freeze", p);
	apply_all(s);
	return r;
}

int panic_clear(struct sup *s, struct kerr *e)
{
	struct agent *a;
	int r = db_panic_clear(s->db, e);

	if (r < 0)
		return r;
	panic_done(s);
	log_warn("panic: cleared");
	publish(s, "clear", NULL);
	LIST_FOREACH(a, &s->agents, link)
	{
		if (strcmp(a->row.paused, "panic") == 0)
			agent_unpause(a);
		if (!agent_state_live(a->state))
			agent_policy_arm(a);
	}
	return 0;
}

json_t *panic_describe(struct sup *s)
{
	json_t *list = json_array();
	json_int_t frozen = 0;
	json_int_t pending = 0;
	const struct panic *p;
	struct agent *a;

	LIST_FOREACH(p, &s->panics, link)
	{
		json_t *o = json_pack("{s:s, s:O, s:I}", "action", p->kill ? "kill" : "freeze",
			"labels", p->labels, "since_ns", (json_int_t)p->since_ns);

		if (o)
			(void)json_object_set_new(o, "reason", api_text(p->reason));
		(void)json_array_append_new(list, o);
	}
	LIST_FOREACH(a, &s->agents, link)
	{
		const struct panic *of = over(a);

		if (of && !of->kill && a->frozen)
			frozen++;
		else if (of && agent_state_live(a->state))
			pending++;
	}
	return json_pack("{s:b, s:o, s:I, s:I}", "active", !LIST_EMPTY(&s->panics), "panics", list,
		"frozen", frozen, "pending", pending);
}

/* ---- the start and the end of kosvmd ---- */

static int load_one(void *user, const struct db_panic *row, struct kerr *e)
{
	struct sup *s = user;
	json_t *labels = json_loads(row->scope, JSON_REJECT_DUPLICATES, NULL);
	struct panic *p;

	if (!labels || check_labels(labels, NULL) < 0) {
		/* Rather too much than too little. */
		log_error("database: panic with unreadable labels: it covers all agents");
		json_decref(labels);
		labels = json_object();
	}
	p = panic_new(strcmp(row->action, "freeze") != 0, labels, row->reason, row->since_ns);
	json_decref(labels);
	if (!p)
		return kerr_errno(e, ENOMEM, "panic");
	insert(s, p);
	log_warn("panic still stands: %s %s: %s", p->kill ? "kill" : "freeze", p->scope, p->reason);
	return 0;
}

int panic_load(struct sup *s, struct kerr *e)
{
	return db_panics_each(s->db, load_one, s, e);
}

void panic_done(struct sup *s)
{
	struct panic *p;

	while ((p = LIST_FIRST(&s->panics))) {
		LIST_REMOVE(p, link);
		panic_free(p);
	}
}
