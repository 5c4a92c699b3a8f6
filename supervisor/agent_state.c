#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <base/cleanup.h>

#include "agent.h"

static const char *const state_names[AGENT_STATE_COUNT] = {
	[AGENT_CREATED] = "created",
	[AGENT_STARTING] = "starting",
	[AGENT_RUNNING] = "running",
	[AGENT_STOPPING] = "stopping",
	[AGENT_STOPPED] = "stopped",
	[AGENT_FAILED] = "failed",
	[AGENT_PURGING] = "purging",
};

static const char *const event_names[AGENT_EVENT_COUNT] = {
	[AGENT_EV_START] = "start",
	[AGENT_EV_READY] = "ready",
	[AGENT_EV_EXITED] = "exited",
	[AGENT_EV_STOP] = "stop",
	[AGENT_EV_ENDED] = "ended",
	[AGENT_EV_BROKEN] = "broken",
	[AGENT_EV_PURGE] = "rm",
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
	},
	[AGENT_RUNNING] = {
		[AGENT_EV_EXITED] = AGENT_STOPPING,
		[AGENT_EV_STOP] = AGENT_STOPPING,
		[AGENT_EV_BROKEN] = AGENT_FAILED,
	},
	[AGENT_STOPPING] = {
		[AGENT_EV_ENDED] = AGENT_STOPPED,
		[AGENT_EV_BROKEN] = AGENT_FAILED,
	},
	[AGENT_STOPPED] = {
		[AGENT_EV_START] = AGENT_STARTING,
		[AGENT_EV_PURGE] = AGENT_PURGING,
	},
	[AGENT_FAILED] = {
		[AGENT_EV_START] = AGENT_STARTING,
		[AGENT_EV_PURGE] = AGENT_PURGING,
	},
	/* A purge that was cut off is taken up again. */
	[AGENT_PURGING] = {
		[AGENT_EV_PURGE] = AGENT_PURGING,
	},
};

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

enum agent_state agent_state_next(enum agent_state s, enum agent_event ev)
{
	return moves[s][ev];
}

void agent_state_allowed(enum agent_state s, char *buf, size_t len)
{
	size_t n = 0;

	buf[0] = '\0';
	for (int ev = 0; ev < AGENT_EVENT_COUNT; ev++) {
		if (!moves[s][ev] || n >= len)
			continue;
		n += (size_t)snprintf(buf + n, len - n, "%s%s", n ? ", " : "", event_names[ev]);
	}
}
