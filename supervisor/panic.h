#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "sup.h"

struct agent;

/*
 * The kill switch. A panic covers all agents, or those whose labels have
 * every pair of `labels`. While it stands, the VMs of covered agents are
 * frozen (no guest instruction runs) or killed, and none is started. It is
 * recorded first and stands across restarts of kosvmd until panic_clear.
 * Several may stand at once; one with the same labels replaces the other.
 *
 * Every VM is told before any answer is waited for.
 */

/*
 * labels: an object of strings, borrowed; NULL or empty: all. reason: a line
 * for people, "" is fine. It is done in any case; -errno: it could not be
 * recorded and ends with this kosvmd.
 */
int panic_set(struct sup *s, bool kill, const json_t *labels, const char *reason, struct kerr *e);

/* Ends all of them: what is frozen goes on, due restarts are made. */
int panic_clear(struct sup *s, struct kerr *e);

/*
 * {"active": bool, "panics": [{"action", "labels", "reason", "since_ns"}],
 *  "frozen": agents that are, "pending": agents still to be frozen or gone}
 */
json_t *panic_describe(struct sup *s);

/* ---- for agent*.c and main.c ---- */

/* -EBUSY names the panic that covers the agent. */
int panic_check(const struct agent *a, struct kerr *e);
/* Does to one whose VM has just been taken over what the panics want. May free a. */
void panic_apply(struct agent *a);
/* At the start of kosvmd, before agents_load. */
int panic_load(struct sup *s, struct kerr *e);
void panic_done(struct sup *s);
