/* What an agent uses, asked of its VMM and of the kernel. */
#include <errno.h>
#include <stdlib.h>

#include <base/clock.h>

#include "agent.h"
#include "proc_usage.h"

struct agent_stats_request {
	LIST_ENTRY(agent_stats_request) link;
	struct agent *a;
	void (*done)(void *user, int result, const struct agent_stats *stats); /* NULL: cancelled */
	void *user;
};

static void answered(void *user, int result, const struct vmm_reply *reply)
{
	struct agent_stats_request *q = user;
	struct agent *a = q->a;
	struct proc_usage usage = { 0 };
	struct agent_stats s;

	LIST_REMOVE(q, link);
	if (result == 0)
		result = proc_usage_read(vmm_proc_pid(a->vmm), &usage);
	if (result == 0)
		s = (struct agent_stats){
			.time_ns = clock_real_ns(),
			.cpu_ns = usage.cpu_ns,
			.vcpu_ns = reply->stats.vcpu_ns,
			.memory_bytes = usage.memory_bytes,
			.memory_max = a->manifest.memory,
			.vsock_rx_bytes = reply->stats.vsock_rx_bytes,
			.vsock_tx_bytes = reply->stats.vsock_tx_bytes,
			.blk_read_bytes = reply->stats.blk_read_bytes,
			.blk_write_bytes = reply->stats.blk_write_bytes,
		};
	if (q->done)
		q->done(q->user, result, result == 0 ? &s : NULL);
	free(q);
}

void agent_stats(struct agent *a,
	void (*done)(void *user, int result, const struct agent_stats *stats), void *user)
{
	struct agent_stats_request *q = a->vmm ? calloc(1, sizeof(*q)) : NULL;
	int r;

	if (!q) {
		done(user, a->vmm ? -ENOMEM : -ENOTCONN, NULL);
		return;
	}
	*q = (struct agent_stats_request){ .a = a, .done = done, .user = user };
	r = vmm_proc_request(a->vmm, VMM_MSG_STATS, answered, q);
	if (r < 0) {
		free(q);
		done(user, r, NULL);
		return;
	}
	LIST_INSERT_HEAD(&a->stats, q, link);
}

void agent_stats_cancel(struct agent *a, const void *user)
{
	struct agent_stats_request *q;

	LIST_FOREACH(q, &a->stats, link)
	{
		if (q->user == user)
			q->done = NULL;
	}
}
