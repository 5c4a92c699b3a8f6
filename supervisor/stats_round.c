#include "stats_round.h"

#include <errno.h>
#include <stdlib.h>

#include <base/cleanup.h>
#include <base/clock.h>

#define PATIENCE_NS (2 * CLOCK_NS_PER_S)

struct item {
	LIST_ENTRY(item) link;
	struct stats_round *round;
	struct agent *agent; /* as long as it has not answered */
};

struct stats_round {
	LIST_HEAD(item_list, item) waiting;
	struct loop_timer late;
	json_t *list;
	bool asking;
	void (*done)(void *user, json_t *list);
	void *user;
};

static void round_free(struct stats_round *r)
{
	struct item *i;

	while ((i = LIST_FIRST(&r->waiting))) {
		LIST_REMOVE(i, link);
		agent_stats_cancel(i->agent, i);
		free(i);
	}
	loop_timer_done(&r->late);
	json_decref(r->list);
	free(r);
}

static void finish(struct stats_round *r)
{
	void (*done)(void *user, json_t *list) = r->done;
	void *user = r->user;
	json_t *list = r->list;

	r->list = NULL;
	round_free(r);
	done(user, list);
}

static void is_late(struct loop_timer *t)
{
	finish(container_of(t, struct stats_round, late));
}

json_t *stats_describe(const struct agent *a, const struct agent_stats *st)
{
	static const char *const keys[] = { "id", "name", "state", "paused" };
	json_t *all = agent_describe(a);
	json_t *o;

	o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:i, s:I, s:I, s:I, s:I}", "time_ns",
		(json_int_t)st->time_ns, "cpu_ns", (json_int_t)st->cpu_ns, "vcpu_ns",
		(json_int_t)st->vcpu_ns, "memory_bytes", (json_int_t)st->memory_bytes, "memory_max",
		(json_int_t)st->memory_max, "vcpus", (int)a->manifest.vcpus, "vsock_rx_bytes",
		(json_int_t)st->vsock_rx_bytes, "vsock_tx_bytes", (json_int_t)st->vsock_tx_bytes,
		"blk_read_bytes", (json_int_t)st->blk_read_bytes, "blk_write_bytes",
		(json_int_t)st->blk_write_bytes);
	for (size_t i = 0; o && i < array_size(keys); i++)
		(void)json_object_set(o, keys[i], json_object_get(all, keys[i]));
	json_decref(all);
	return o;
}

static void answered(void *user, int result, const struct agent_stats *st)
{
	struct item *i = user;
	struct stats_round *r = i->round;

	if (result == 0)
		(void)json_array_append_new(r->list, stats_describe(i->agent, st));
	LIST_REMOVE(i, link);
	free(i);
	if (!r->asking && LIST_EMPTY(&r->waiting))
		finish(r);
}

int stats_round_begin(struct stats_round **ret, struct sup *s,
	void (*done)(void *user, json_t *list), void *user, struct kerr *e)
{
	struct stats_round *r = calloc(1, sizeof(*r));
	struct agent *a;

	if (!r)
		return kerr_errno(e, ENOMEM, "stats");
	r->list = json_array();
	r->done = done;
	r->user = user;
	r->late = (struct loop_timer){ .fn = is_late, .w = { .fd = -1 } };
	LIST_INIT(&r->waiting);
	*ret = r;
	r->asking = true;
	LIST_FOREACH(a, &s->agents, link)
	{
		struct item *i = a->vmm ? calloc(1, sizeof(*i)) : NULL;

		if (!i)
			continue;
		i->round = r;
		i->agent = a;
		LIST_INSERT_HEAD(&r->waiting, i, link);
		agent_stats(a, answered, i);
	}
	r->asking = false;
	if (LIST_EMPTY(&r->waiting) || loop_timer_set(s->loop, &r->late, PATIENCE_NS, 0) < 0)
		finish(r);
	return 0;
}

void stats_round_cancel(struct stats_round *r)
{
	if (r)
		round_free(r);
}
