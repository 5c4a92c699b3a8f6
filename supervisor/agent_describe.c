/* What is told of an agent: `ps`, `inspect`. */
#include <string.h>

#include <base/clock.h>

#include "agent.h"

#define MOVES_TOLD 50u

static int set(json_t *o, const char *key, json_t *value)
{
	return json_object_set_new(o, key, value);
}

static json_t *ns(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static json_t *code(int exit_code)
{
	return exit_code < 0 ? json_null() : json_integer(exit_code);
}

/* ["key=value"] as {"key": "value"}. */
static json_t *pairs(char *const *list)
{
	json_t *o = json_object();

	for (; list && *list; list++) {
		const char *eq = strchr(*list, '=');

		if (eq)
			(void)json_object_setn_new(
				o, *list, (size_t)(eq - *list), api_text(eq + 1));
	}
	return o;
}

json_t *agent_describe(const struct agent *a)
{
	const struct manifest *m = &a->manifest;
	char digest[DIGEST_TEXT_LEN + 1];
	pid_t pid = a->vmm ? vmm_proc_pid(a->vmm) : 0;
	json_t *o = json_object();

	if (!o)
		return NULL;
	(void)set(o, "id", json_string(a->row.uid));
	(void)set(o, "name", json_string(a->row.name));
	(void)set(o, "state", json_string(agent_state_name(a->state)));
	(void)set(o, "reason", api_text(a->reason));
	(void)set(o, "paused", json_string(a->row.paused));
	(void)set(o, "cid", json_integer(a->row.cid));
	(void)set(o, "pid", pid ? json_integer(pid) : json_null());
	(void)set(o, "generation", json_integer(a->row.generation));
	(void)set(o, "restarts", json_integer(a->row.restarts));
	(void)set(o, "restart_at_ns", ns(a->row.restart_at_ns));
	(void)set(o, "exit_code", code(a->row.exit_code));
	(void)set(o, "exit_signal", json_integer(a->row.exit_signal));
	(void)set(o, "created_ns", ns(a->row.created_ns));
	(void)set(o, "started_ns", ns(a->row.started_ns));
	(void)set(o, "ended_ns", ns(a->row.ended_ns));
	(void)set(o, "vcpus", json_integer(m->vcpus));
	(void)set(o, "memory", ns(m->memory));
	(void)set(o, "version", json_integer(m->version));
	(void)set(o, "signer", json_string(a->row.signer));
	digest_format(&m->rootfs, digest);
	(void)set(o, "rootfs", json_string(digest));
	(void)set(o, "labels", pairs(m->labels));
	return o;
}

static json_t *lifecycle(const struct manifest *m)
{
	static const char *const restart[] = { "never", "on-failure", "always" };
	static const char *const idle[] = { "sleep", "stop", "none" };

	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "restart",
		restart[m->restart], "restart_max", (json_int_t)m->restart_max,
		"restart_backoff_ns", (json_int_t)m->restart_backoff_ns, "restart_backoff_max_ns",
		(json_int_t)m->restart_backoff_max_ns, "restart_reset_ns",
		(json_int_t)m->restart_reset_ns, "heartbeat_ns", (json_int_t)m->heartbeat_ns,
		"heartbeat_timeout_ns", (json_int_t)m->heartbeat_timeout_ns, "max_run_time_ns",
		(json_int_t)m->max_run_time_ns, "idle_after_ns", (json_int_t)m->idle_after_ns,
		"idle_action", idle[m->idle_action]);
}

static json_t *launched(const struct launch *l)
{
	json_t *o = json_pack("{s:b, s:b, s:b, s:I, s:i, s:i}", "tty", l->tty, "stdin",
		l->open_stdin, "remove", l->remove, "linger_ms",
		(json_int_t)(l->linger_ns / CLOCK_NS_PER_MS), "rows", (int)l->rows, "cols",
		(int)l->cols);

	if (o)
		(void)set(o, "env", pairs(l->env));
	return o;
}

static json_t *health(const struct agent *a)
{
	const struct health *h = &a->health;
	bool runs = a->state == AGENT_RUNNING && h->since_ns;
	uint64_t now = clock_mono_ns();
	json_t *o = json_object();

	(void)set(o, "ran_ns", ns(runs ? agent_ran_ns(a) : 0));
	(void)set(o, "last_beat_ago_ns",
		runs && a->manifest.heartbeat_ns ? ns(now - h->last_beat_ns) : json_null());
	(void)set(o, "idle_for_ns",
		runs && a->idle.known && now > a->idle.busy_ns ? ns(now - a->idle.busy_ns)
							       : json_null());
	(void)set(o, "frozen", json_boolean(a->frozen));
	(void)set(o, "adopted", json_boolean(a->adopted));
	(void)set(o, "guest_connected", json_boolean(a->guest && guest_link_is_up(a->guest)));
	return o;
}

static int add_move(void *user, const struct db_transition *t, struct kerr *e)
{
	json_t *o = json_pack("{s:I, s:s, s:s, s:s, s:I}", "time_ns", (json_int_t)t->time_ns,
		"from", t->from, "event", t->event, "to", t->to, "generation",
		(json_int_t)t->generation);

	(void)e;
	if (o)
		(void)set(o, "reason", api_text(t->reason));
	(void)json_array_append_new(user, o);
	return 0;
}

static int add_boot(void *user, const struct db_boot *b, struct kerr *e)
{
	json_t *o = json_pack("{s:I, s:i, s:I, s:I, s:o, s:i}", "generation",
		(json_int_t)b->generation, "pid", (int)b->pid, "started_ns",
		(json_int_t)b->started_ns, "ended_ns", (json_int_t)b->ended_ns, "exit_code",
		code(b->exit_code), "exit_signal", b->exit_signal);

	(void)e;
	if (o)
		(void)set(o, "reason", api_text(b->reason));
	(void)json_array_append_new(user, o);
	return 0;
}

json_t *agent_inspect(const struct agent *a)
{
	json_t *o = agent_describe(a);
	json_t *moves = json_array();
	json_t *boots = json_array();

	(void)db_transitions_each(a->sup->db, a->row.id, 0, MOVES_TOLD, add_move, moves, NULL);
	(void)db_boots_each(a->sup->db, a->row.id, add_boot, boots, NULL);
	if (!o) {
		json_decref(moves);
		json_decref(boots);
		return NULL;
	}
	(void)set(o, "manifest", api_text(a->row.manifest));
	(void)set(o, "signature", api_text(a->row.signature));
	(void)set(o, "lifecycle", lifecycle(&a->manifest));
	(void)set(o, "launch", launched(&a->launch));
	(void)set(o, "limits", limits_describe(a));
	(void)set(o, "isolation", isolation_describe(&a->sup->isolation, &a->sup->sandbox));
	(void)set(o, "quotas", quotas_describe(&a->sup->quotas));
	(void)set(o, "host_uid", a->row.host_uid ? json_integer(a->row.host_uid) : json_null());
	(void)set(o, "health", health(a));
	(void)set(o, "transitions", moves);
	(void)set(o, "boots", boots);
	return o;
}
