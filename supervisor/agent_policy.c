/* Whether an agent that has ended starts again, and when. */
#include <stdio.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>

#include "agent.h"
#include "panic.h"

/* 1, 2, 4, … times the first, up to the longest. */
static uint64_t backoff(const struct manifest *m, uint32_t restarts)
{
	uint64_t d = m->restart_backoff_ns;

	for (uint32_t i = 0; i < restarts && d < m->restart_backoff_max_ns; i++)
		d *= 2;
	return d < m->restart_backoff_max_ns ? d : m->restart_backoff_max_ns;
}

static bool wanted(const struct agent *a, enum agent_event ev)
{
	enum agent_event cause = a->state == AGENT_STOPPING ? a->last_event : ev;
	bool failed = agent_state_next(a->state, ev) == AGENT_FAILED || a->row.exit_code > 0;

	if (cause == AGENT_EV_STOP || a->remove_when_ended || a->unreadable)
		return false;
	switch (a->manifest.restart) {
	case MANIFEST_RESTART_NEVER:
		return false;
	case MANIFEST_RESTART_ON_FAILURE:
		return failed && cause != AGENT_EV_EXPIRED;
	case MANIFEST_RESTART_ALWAYS:
		return true;
	}
	return false;
}

void agent_policy_decide(struct agent *a, enum agent_event ev, char *reason, size_t len)
{
	const struct manifest *m = &a->manifest;

	if (a->row.restart_at_ns || !wanted(a, ev))
		return;
	if (agent_ran_ns(a) >= m->restart_reset_ns)
		a->row.restarts = 0;
	if (m->restart_max && a->row.restarts >= m->restart_max) {
		size_t n = strlen(reason);

		(void)snprintf(reason + n, len - n,
			"; not started again after %u restarts in a row (restart-max)",
			a->row.restarts);
		return;
	}
	a->row.restart_at_ns = clock_real_ns() + backoff(m, a->row.restarts);
}

static void due(struct loop_timer *t)
{
	struct agent *a = container_of(t, struct agent, restart);
	enum agent_event ev =
		a->row.restart_at_ns == DB_RESTART_AT_ONCE ? AGENT_EV_START : AGENT_EV_RESTART;
	struct kerr err = { 0 };

	/* When the panic ends it is armed again. */
	if (a->sup->ending || panic_check(a, NULL) < 0)
		return;
	if (agent_move(a, ev, "", &err) < 0) {
		log_error("agent %s: restart: %s", a->row.name, err.msg);
		(void)loop_timer_set(a->sup->loop, t, a->manifest.restart_backoff_max_ns, 0);
		return;
	}
	if (agent_boot(a, &err) < 0)
		agent_break(a, "%s", err.msg); /* may free a */
}

void agent_policy_arm(struct agent *a)
{
	uint64_t now = clock_real_ns();
	uint64_t wait = 1;

	if (!a->row.restart_at_ns || a->state == AGENT_PURGING) {
		loop_timer_done(&a->restart);
		return;
	}
	/* A clock that was set back must not make it wait for years. */
	if (a->row.restart_at_ns > now)
		wait = a->row.restart_at_ns - now;
	if (wait > a->manifest.restart_backoff_max_ns)
		wait = a->manifest.restart_backoff_max_ns;
	a->restart.fn = due;
	if (loop_timer_set(a->sup->loop, &a->restart, wait, 0) < 0)
		log_error("agent %s: restart: no timer", a->row.name);
}
