/* A running agent's heartbeat, and how long it may run. */
#include <stdio.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>
#include <base/units.h>

#include "agent.h"

static void hung(struct agent *a)
{
	struct kerr err = { 0 };
	char limit[24];
	char text[128];

	units_format_duration(a->manifest.heartbeat_timeout_ns, limit, sizeof(limit));
	(void)snprintf(text, sizeof(text),
		"the guest hangs: it answered nothing for %s (heartbeat-timeout)", limit);
	if (agent_move(a, AGENT_EV_HUNG, text, &err) < 0) {
		log_error("agent %s: %s: %s", a->row.name, text, err.msg);
		return; /* the next beat tries again */
	}
	agent_health_stop(a);
	a->broken = true;
	vmm_proc_kill(a->vmm);
}

static void beat_due(struct loop_timer *t)
{
	struct agent *a = container_of(t, struct agent, health.beat);
	struct health *h = &a->health;
	uint64_t now = clock_mono_ns();
	uint64_t late = now - h->tick_ns;

	h->tick_ns = now;
	if (h->held || a->state != AGENT_RUNNING || !a->guest)
		return;
	/* When kosvmd itself was held up, answers may be waiting unread: that time does not count.
	 */
	if (late > 2 * a->manifest.heartbeat_ns)
		h->last_beat_ns += late - a->manifest.heartbeat_ns;
	if (now > h->last_beat_ns && now - h->last_beat_ns > a->manifest.heartbeat_timeout_ns) {
		hung(a);
		return;
	}
	if (guest_link_ping(a->guest) == 0)
		h->beats++;
}

static void life_over(struct loop_timer *t)
{
	struct agent *a = container_of(t, struct agent, health.life);
	struct kerr err = { 0 };
	char limit[24];
	char text[96];

	if (a->state != AGENT_RUNNING || a->broken)
		return;
	/* What a panic froze stays as it is until the panic ends. */
	if (strcmp(a->row.paused, "panic") == 0) {
		(void)loop_timer_set(a->sup->loop, t, CLOCK_NS_PER_S, 0);
		return;
	}
	units_format_duration(a->manifest.max_run_time_ns, limit, sizeof(limit));
	(void)snprintf(text, sizeof(text), "it ran for %s (max-run-time)", limit);
	if (agent_move(a, AGENT_EV_EXPIRED, text, &err) < 0) {
		log_error("agent %s: %s: %s", a->row.name, text, err.msg);
		(void)loop_timer_set(a->sup->loop, t, CLOCK_NS_PER_S, 0);
		return;
	}
	agent_ask_to_end(a, 0);
}

void agent_health_start(struct agent *a, uint64_t ran_ns)
{
	const struct manifest *m = &a->manifest;
	struct health *h = &a->health;
	uint64_t now = clock_mono_ns();
	int r = 0;

	h->since_ns = h->last_beat_ns = h->tick_ns = now;
	h->ran_before_ns = ran_ns;
	h->beat.fn = beat_due;
	h->life.fn = life_over;
	if (m->heartbeat_ns)
		r = loop_timer_set(a->sup->loop, &h->beat, m->heartbeat_ns, m->heartbeat_ns);
	if (r == 0 && m->max_run_time_ns)
		r = loop_timer_set(a->sup->loop, &h->life,
			ran_ns < m->max_run_time_ns ? m->max_run_time_ns - ran_ns : 1, 0);
	if (r < 0)
		log_error("agent %s: no timer for its health", a->row.name);
}

void agent_health_beat(struct agent *a)
{
	a->health.last_beat_ns = clock_mono_ns();
}

void agent_health_hold(struct agent *a, bool held)
{
	a->health.held = held;
	if (!held)
		agent_health_beat(a);
}

void agent_health_stop(struct agent *a)
{
	loop_timer_done(&a->health.beat);
	loop_timer_done(&a->health.life);
}

uint64_t agent_ran_ns(const struct agent *a)
{
	const struct health *h = &a->health;

	return h->since_ns ? h->ran_before_ns + clock_mono_ns() - h->since_ns : 0;
}
