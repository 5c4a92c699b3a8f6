#pragma once

#include "agent.h"
#include "http.h"
#include "sup.h"

/* Between routes_*.c. */

/* The agent of {ref}; -ENOENT. */
int route_agent(struct http_request *q, struct agent **ret, struct kerr *e);

/*
 * Waits for what happens to an agent: q->op becomes it, and goes with q. Its
 * callbacks answer, or unwatch and answer.
 */
struct agent_op {
	struct agent_watcher watcher;
	struct http_request *q;
	bool seen; /* as the callbacks need it */
};
struct agent_op *agent_op_new(struct http_request *q, struct kerr *e);

/* Starts the agent and answers with `status` when it runs. -errno: refused at once. */
int route_start(struct http_request *q, struct agent *a, int status, struct kerr *e);

/* A required or optional text of the body; "" when it is not there. */
const char *route_text(const struct http_request *q, const char *key);
bool route_flag(const struct http_request *q, const char *key);
