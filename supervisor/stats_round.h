#pragma once

#include <jansson.h>

#include "agent.h"

/*
 * Asks all agents that have a VM what they use, at once, and waits for the
 * answers two seconds at most: one that is late is left out this time.
 */
struct stats_round;

/*
 * done(user, list): once, possibly before this returns; list is the callee's,
 * objects as `Stats` of docs/openapi.yaml, NULL when there is no memory. The
 * round is over then. *ret is set before done is called.
 */
int stats_round_begin(struct stats_round **ret, struct sup *s,
	void (*done)(void *user, json_t *list), void *user, struct kerr *e);
/* done is not called. NULL is fine. */
void stats_round_cancel(struct stats_round *r);

/* One agent's figures as an object. */
json_t *stats_describe(const struct agent *a, const struct agent_stats *st);
