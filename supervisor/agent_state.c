#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <base/cleanup.h>

#include "agent.h"

static const char *const state_names[AGENT_STATE_COUNT] = {
	[AGENT_CREATED] = "created",
	[AGENT_STARTING] = "starting",
	[AGENT_RUNNING] = "running",
	[AGENT_SLEEPING] = "sleeping",
	[AGENT_ASLEEP] = "asleep",
	[AGENT_WAKING] = "waking",
	[AGENT_STOPPING] = "stopping",
	[AGENT_STOPPED] = "stopped",
	[AGENT_FAILED] = "failed",
	[AGENT_PURGING] = "purging",
	[AGENT_PURGED] = "purged",
};

static const char *const event_names[AGENT_EVENT_COUNT] = {
	[AGENT_EV_START] = "start",
	[AGENT_EV_RESTART] = "restart",
	[AGENT_EV_READY] = "ready",
	[AGENT_EV_EXITED] = "exited",
	[AGENT_EV_STOP] = "stop",
	[AGENT_EV_HUNG] = "hung",
	[AGENT_EV_EXPIRED] = "expired",
	[AGENT_EV_ENDED] = "ended",
	[AGENT_EV_BROKEN] = "broken",
	[AGENT_EV_LOST] = "lost",
	[AGENT_EV_OOM] = "oom",
	[AGENT_EV_SLEEP] = "sleep",
	[AGENT_EV_SLEPT] = "slept",
	[AGENT_EV_WAKE] = "wake",
	[AGENT_EV_WOKEN] = "woken",
	[AGENT_EV_PURGE] = "rm",
	[AGENT_EV_PURGED] = "purged",
};

/* What is not here is not allowed. */
static const enum agent_state moves[AGENT_STATE_COUNT][AGENT_EVENT_COUNT] = {
	[AGENT_CREATED] = {
		[AGENT_EV_START] = AGENT_STARTING,
		[AGENT_EV_PURGE] = AGENT_PURGING,
	},
	[AGENT_STARTING] = {
		[AGENT_EV_READY] = AGENT_RUNNING,
		[AGENT_EV_STOP] = AGENT_STOPPING,
		[AGENT_EV_BROKEN] = AGENT_FAILED,
		[AGENT_EV_LOST] = AGENT_FAILED,
		[AGENT_EV_OOM] = AGENT_FAILED,
	},
	[AGENT_RUNNING] = {
		[AGENT_EV_EXITED] = AGENT_STOPPING,
		[AGENT_EV_STOP] = AGENT_STOPPING,
		[AGENT_EV_HUNG] = AGENT_STOPPING,
		[AGENT_EV_EXPIRED] = AGENT_STOPPING,
		[AGENT_EV_BROKEN] = AGENT_FAILED,
		[AGENT_EV_LOST] = AGENT_FAILED,
		[AGENT_EV_OOM] = AGENT_FAILED,
		[AGENT_EV_SLEEP] = AGENT_SLEEPING,
	},
	[AGENT_SLEEPING] = {
		[AGENT_EV_STOP] = AGENT_STOPPING,
		[AGENT_EV_BROKEN] = AGENT_FAILED,
		[AGENT_EV_LOST] = AGENT_FAILED,
		[AGENT_EV_OOM] = AGENT_FAILED,
		[AGENT_EV_SLEPT] = AGENT_ASLEEP,
	},
	/* No VM is there that could end or be lost. */
	[AGENT_ASLEEP] = {
		[AGENT_EV_WAKE] = AGENT_WAKING,
		[AGENT_EV_PURGE] = AGENT_PURGING,
	},
	[AGENT_WAKING] = {
		[AGENT_EV_STOP] = AGENT_STOPPING,
		[AGENT_EV_BROKEN] = AGENT_FAILED,
		[AGENT_EV_LOST] = AGENT_FAILED,
		[AGENT_EV_OOM] = AGENT_FAILED,
		[AGENT_EV_WOKEN] = AGENT_RUNNING,
	},
	/* One that was to end and is gone has ended; how, kosvmd did not see. */
	[AGENT_STOPPING] = {
		[AGENT_EV_ENDED] = AGENT_STOPPED,
		[AGENT_EV_BROKEN] = AGENT_FAILED,
		[AGENT_EV_LOST] = AGENT_STOPPED,
		[AGENT_EV_OOM] = AGENT_FAILED,
	},
	[AGENT_STOPPED] = {
		[AGENT_EV_START] = AGENT_STARTING,
		[AGENT_EV_RESTART] = AGENT_STARTING,
		[AGENT_EV_PURGE] = AGENT_PURGING,
	},
	[AGENT_FAILED] = {
		[AGENT_EV_START] = AGENT_STARTING,
		[AGENT_EV_RESTART] = AGENT_STARTING,
		[AGENT_EV_PURGE] = AGENT_PURGING,
	},
	/* A purge that was cut off is taken up again. */
	[AGENT_PURGING] = {
		[AGENT_EV_PURGE] = AGENT_PURGING,
		[AGENT_EV_PURGED] = AGENT_PURGED,
	},
	[AGENT_PURGED] = { 0 },
};

/* A VM is there or about to be. */
bool agent_state_live(enum agent_state s)
{
	static const bool live[AGENT_STATE_COUNT] = {
		[AGENT_STARTING] = true,
		[AGENT_RUNNING] = true,
		[AGENT_SLEEPING] = true,
		[AGENT_WAKING] = true,
		[AGENT_STOPPING] = true,
	};

	return live[s];
}

const char *agent_state_name(enum agent_state s)
{
	return s > 0 && s < AGENT_STATE_COUNT ? state_names[s] : "unknown";
}

const char *agent_event_name(enum agent_event ev)
{
	return event_names[ev];
}

int agent_state_parse(const char *s, enum agent_state *ret)
{
	for (int i = AGENT_CREATED; i < AGENT_STATE_COUNT; i++) {
		if (strcmp(s, state_names[i]) == 0) {
			*ret = (enum agent_state)i;
			return 0;
		}
	}
	return -EINVAL;
}

int agent_event_parse(const char *s, enum agent_event *ret)
{
	for (int i = 0; i < AGENT_EVENT_COUNT; i++) {
		if (strcmp(s, event_names[i]) == 0) {
			*ret = (enum agent_event)i;
			return 0;
		}
	}
	return -EINVAL;
}

enum agent_state agent_state_next(enum agent_state s, enum agent_event ev)
{
	return moves[s][ev];
}

void agent_state_allowed(enum agent_state s, char *buf, size_t len)
{
	size_t n = 0;

	(void)snprintf(buf, len, "nothing");
	for (int ev = 0; ev < AGENT_EVENT_COUNT; ev++) {
		if (!moves[s][ev] || n >= len)
			continue;
		n += (size_t)snprintf(buf + n, len - n, "%s%s", n ? ", " : "", event_names[ev]);
	}
}
