/* What agents use: of one, of all, of all each second. */
#include <errno.h>
#include <stdlib.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "http_lines.h"
#include "routes.h"
#include "stats_round.h"

/* ---- one ---- */

struct one {
	struct http_request *q;
	struct agent *agent; /* NULL: it has answered */
};

static void one_done(void *user, int result, const struct agent_stats *st)
{
	struct one *o = user;
	struct agent *a = o->agent;
	struct kerr err = { 0 };

	o->agent = NULL;
	if (result == 0) {
		http_ok(o->q, 200, stats_describe(a, st));
		return;
	}
	if (result == -ENOTCONN)
		(void)kerr_set(&err, ENOTCONN, "agent %s has no VM: it is %s", a->row.name,
			agent_state_name(a->state));
	else
		(void)kerr_errno(&err, -result, "its VMM gave no figures");
	http_fail_kerr(o->q, &err);
}

static void one_free(void *user)
{
	struct one *o = user;

	if (o->agent)
		agent_stats_cancel(o->agent, o);
	free(o);
}

static int one_stats(struct http_request *q, struct kerr *e)
{
	struct agent *a;
	struct one *o;
	int r = route_agent(q, &a, e);

	if (r < 0)
		return r;
	o = calloc(1, sizeof(*o));
	if (!o)
		return kerr_errno(e, ENOMEM, "stats");
	*o = (struct one){ .q = q, .agent = a };
	q->op = o;
	q->op_free = one_free;
	agent_stats(a, one_done, o);
	return 0;
}

/* ---- all ---- */

struct all {
	struct sup *sup;
	struct http_request *q;
	struct http_lines *lines; /* each second, if that was asked for */
	struct loop_timer second;
	struct stats_round *round;
};

static void all_done(void *user, json_t *list)
{
	struct all *all = user;
	json_t *o = json_pack("{s:I, s:o}", "time_ns", (json_int_t)clock_real_ns(), "stats", list);

	all->round = NULL;
	if (all->lines)
		(void)http_lines_json(all->lines, o, true);
	else if (o)
		http_ok(all->q, 200, o);
	else
		http_fail(all->q, ENOMEM, "stats: no memory");
}

static void all_again(struct loop_timer *t)
{
	struct all *all = container_of(t, struct all, second);

	/* One that takes longer than a second is waited for. */
	if (!all->round)
		(void)stats_round_begin(&all->round, all->sup, all_done, all, NULL);
}

static void all_free(void *user)
{
	struct all *all = user;

	stats_round_cancel(all->round);
	loop_timer_done(&all->second);
	free(all);
}

static int all_stats(struct http_request *q, struct kerr *e)
{
	struct all *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return kerr_errno(e, ENOMEM, "stats");
	all->sup = q->sup;
	all->q = q;
	all->second = (struct loop_timer){ .fn = all_again, .w = { .fd = -1 } };
	if (!http_query_bool(&q->target, "follow", false)) {
		q->op = all;
		q->op_free = all_free;
		return stats_round_begin(&all->round, q->sup, all_done, all, e);
	}
	r = http_lines_open(&all->lines, q, "application/x-ndjson", all_free, all, e);
	if (r < 0) {
		all_free(all);
		return r;
	}
	(void)loop_timer_set(q->sup->loop, &all->second, CLOCK_NS_PER_S, CLOCK_NS_PER_S);
	return stats_round_begin(&all->round, q->sup, all_done, all, e);
}

static const struct http_field stats_query[] = {
	{ .key = "follow", .kind = HTTP_BOOL },
	{ 0 },
};

const struct route stats_routes[] = {
	{ .method = "GET", .path = "/v1/stats", .fn = all_stats, .query = stats_query },
	{ .method = "GET", .path = "/v1/agents/{ref}/stats", .fn = one_stats },
	{ 0 },
};
