/* PATCH /v1/agents/{ref}: limits from now on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "routes.h"

struct update_op {
	struct http_request *q;
	struct vmm_proc *vmm; /* NULL: it has answered, or is gone */
	json_t *answer;
};

static void op_free(void *user)
{
	struct update_op *op = user;

	if (op->vmm)
		vmm_proc_request_forget(op->vmm, op);
	json_decref(op->answer);
	free(op);
}

static void answer(struct update_op *op)
{
	json_t *body = op->answer;

	op->answer = NULL;
	http_ok(op->q, 200, body);
}

/* One that ended meanwhile meets its limits when it is started again. */
static void told(void *user, int result, const struct vmm_reply *reply)
{
	struct update_op *op = user;

	(void)reply;
	op->vmm = NULL;
	if (result < 0 && result != -ECANCELED && result != -ECONNRESET)
		http_fail(op->q, result, "recorded for the next start, but its VM did not take it");
	else
		answer(op);
}

static int update(struct http_request *q, struct kerr *e)
{
	struct update_op *op;
	struct agent *a;
	int r = route_agent(q, &a, e);

	if (r < 0)
		return r;
	op = calloc(1, sizeof(*op));
	if (!op)
		return kerr_errno(e, ENOMEM, "update");
	op->q = q;
	q->op = op;
	q->op_free = op_free;
	r = agent_update(a, q->body, e);
	if (r < 0)
		return r;
	op->answer = json_pack("{s:o}", "limits", limits_describe(a));
	r = agent_limits_tell(a, told, op);
	if (r == 0)
		op->vmm = a->vmm;
	else if (r == -ENOTCONN)
		answer(op); /* no VM, or one that is told when it can be */
	else
		return kerr_errno(e, -r, "recorded for the next start, but its VM cannot be told");
	return 0;
}

/* The ranges are limits_change's. */
#define NUMBER(k)                                                                                  \
	{                                                                                          \
		.key = (k), .kind = HTTP_INT, .nullable = true, .max = INT64_MAX                   \
	}
static const struct http_field update_body[] = {
	NUMBER("disk_bandwidth"),
	NUMBER("disk_ops"),
	NUMBER("disk_burst"),
	NUMBER("vsock_bandwidth"),
	NUMBER("vsock_burst"),
	NUMBER("cpu_permille"),
	NUMBER("cpu_weight"),
	{ .key = "reset", .kind = HTTP_BOOL },
	{ 0 },
};

const struct route update_routes[] = {
	{ .method = "PATCH", .path = "/v1/agents/{ref}", .fn = update, .body = update_body },
	{ 0 },
};
