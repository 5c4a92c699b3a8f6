/* A VM that stands still, and goes on as if nothing had been. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <base/clock.h>
#include <base/log.h>

#include "agent.h"

static void publish(struct agent *a)
{
	agent_publish(a, "agent.pause", json_pack("{s:s}", "paused", a->row.paused));
}

static void frozen(void *user, int result, const struct vmm_reply *reply)
{
	struct agent *a = user;

	(void)reply;
	if (result == -ECANCELED || result == -ECONNRESET)
		return; /* it is gone, or not ours any more */
	if (result == 0) {
		a->frozen = true;
		return;
	}
	log_error("agent %s: pause: %s", a->row.name, strerror(-result));
	if (strcmp(a->row.paused, "panic") == 0) {
		agent_break(a, "it could not be frozen: %s", strerror(-result));
		return;
	}
	a->row.paused[0] = '\0';
	(void)agent_note(a);
	publish(a);
	agent_health_hold(a, false);
}

int agent_freeze(struct agent *a)
{
	int r = vmm_proc_request(a->vmm, VMM_MSG_PAUSE, frozen, a);

	if (r < 0)
		return r;
	agent_health_hold(a, true);
	/* Its time to become ready stands still as well. */
	if (a->state == AGENT_STARTING)
		(void)loop_timer_set(a->sup->loop, &a->deadline, 0, 0);
	return 0;
}

void agent_pause(struct agent *a, const char *why)
{
	char before[sizeof(a->row.paused)];

	if (strcmp(a->row.paused, why) == 0)
		return;
	memcpy(before, a->row.paused, sizeof(before));
	(void)snprintf(a->row.paused, sizeof(a->row.paused), "%s", why);
	if (agent_note(a) < 0 && strcmp(why, "panic") != 0) {
		memcpy(a->row.paused, before, sizeof(before));
		return;
	}
	publish(a);
	if (!*before && strcmp(why, "panic") != 0 && agent_freeze(a) < 0) {
		a->row.paused[0] = '\0';
		(void)agent_note(a);
		publish(a);
	}
}

static void thawed(void *user, int result, const struct vmm_reply *reply)
{
	struct agent *a = user;

	(void)reply;
	if (result == -ECANCELED || result == -ECONNRESET)
		return;
	if (result < 0) {
		agent_break(a, "it could not be resumed: %s", strerror(-result));
		return;
	}
	a->frozen = false;
	agent_health_hold(a, *a->row.paused != '\0');
}

void agent_unpause(struct agent *a)
{
	int r;

	if (!*a->row.paused && !a->frozen)
		return;
	a->row.paused[0] = '\0';
	(void)agent_note(a);
	publish(a);
	a->idle.known = false;
	a->idle.busy_ns = clock_mono_ns();
	if (!a->vmm)
		return;
	r = vmm_proc_request(a->vmm, VMM_MSG_RESUME, thawed, a);
	if (r < 0 && r != -ENOTCONN) {
		agent_break(a, "it could not be resumed: %s", strerror(-r));
		return;
	}
	if (a->state == AGENT_STARTING)
		(void)loop_timer_set(a->sup->loop, &a->deadline, a->manifest.start_timeout_ns, 0);
}

void agent_needed(struct agent *a)
{
	a->idle.busy_ns = clock_mono_ns();
	if (strcmp(a->row.paused, "idle") == 0)
		agent_unpause(a);
}
