/* Limits that are changed while there is an agent: recorded, then told to its VM. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/log.h>

#include "agent.h"

int agent_limits_tell(struct agent *a, vmm_done_fn *done, void *user)
{
	struct rate_limit disk;
	struct rate_limit vsock;
	struct limits l;
	struct kerr err = { 0 };
	int r = agent_cgroup_set(a, &err);

	if (r < 0) {
		log_error("agent %s: %s", a->row.name, err.msg);
		return r;
	}
	limits_of(a, &l);
	limits_rates(&l, &disk, &vsock);
	return a->vmm ? vmm_proc_limits(a->vmm, &disk, &vsock, done, user) : -ENOTCONN;
}

static int record(
	struct agent *a, const struct limits_changed *changed, const char *what, struct kerr *e)
{
	_cleanup_free_ char *text = limits_format(changed);
	struct db_agent row = a->row;
	int r;

	if (!text)
		return kerr_errno(e, ENOMEM, "limits");
	row.overrides = text;
	row.state = (char *)agent_state_name(a->state);
	row.reason = a->reason;
	r = db_agent_update(a->sup->db, &row, what, e);
	if (r < 0)
		return r;
	free(a->row.overrides);
	a->row.overrides = text;
	text = NULL;
	a->row.moved_ns = row.moved_ns;
	a->changed = *changed;
	return 0;
}

int agent_update(struct agent *a, const json_t *body, struct kerr *e)
{
	struct limits_changed changed = a->changed;
	char what[256];
	int r;

	if (a->unreadable || a->state == AGENT_STOPPING || a->state >= AGENT_PURGING)
		return kerr_set(e, EBUSY, "agent %s is %s: its limits cannot be changed now",
			a->row.name, a->unreadable ? "unreadable" : agent_state_name(a->state));
	r = limits_change(&changed, body, what, sizeof(what), e);
	if (r == 0)
		r = limits_check(a, &changed, e);
	if (r == 0)
		r = quotas_check_change(a, &changed, e);
	if (r == 0)
		r = record(a, &changed, what, e);
	if (r < 0)
		return r;
	log_info("agent %s: %s", a->row.name, what);
	agent_publish_update(a, what);
	return 0;
}
