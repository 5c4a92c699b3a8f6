/* GET /events: what happens, as server-sent events. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>
#include <base/units.h>

#include "http_lines.h"
#include "routes.h"

/* Whoever looks on sees that the stream lives. */
#define PULSE_NS (15 * CLOCK_NS_PER_S)

#define REPLAY_PAGE 64u

struct watch {
	struct event_watcher watcher;
	struct loop_timer pulse;
	struct sup *sup;
	struct http_lines *lines;
	char *agent; /* NULL: of all */
	bool follow;
	bool replaying; /* moves come from the database, up to the last one, not as they happen */
	struct db_page page;
};

static void send_event(struct watch *w, const char *type, uint64_t time_ns, const json_t *fields)
{
	_cleanup_free_ char *data = json_dumps(fields, JSON_COMPACT);
	_cleanup_free_ char *text = NULL;
	int n = -1;

	if (data)
		n = asprintf(
			&text, "id: %" PRIu64 "\nevent: %s\ndata: %s\n\n", time_ns, type, data);
	if (n > 0)
		(void)http_lines_put(w->lines, text, (size_t)n, true);
}

static void happened(struct event_watcher *ew, const struct event *ev)
{
	struct watch *w = container_of(ew, struct watch, watcher);
	const char *agent = json_string_value(json_object_get(ev->fields, "agent"));

	/* It is in the database: its turn comes there. */
	if (w->replaying && strcmp(ev->type, "agent.move") == 0)
		return;
	if (!w->agent || (agent && strcmp(agent, w->agent) == 0))
		send_event(w, ev->type, ev->time_ns, ev->fields);
}

static int replay_one(void *user, const struct db_transition *t, struct kerr *e)
{
	struct watch *w = user;
	json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:s}", "from", t->from, "event",
		t->event, "to", t->to, "generation", (json_int_t)t->generation, "time_ns",
		(json_int_t)t->time_ns, "agent", t->name, "id", t->uid, "type", "agent.move");

	w->page.after_seq = t->seq;
	w->page.most--;
	if (!o || json_object_set_new(o, "reason", api_text(t->reason)) < 0) {
		json_decref(o);
		return kerr_errno(e, ENOMEM, "events");
	}
	send_event(w, "agent.move", t->time_ns, o);
	json_decref(o);
	return 0;
}

/* The next page of what was; behind the last one, what is. */
static int replay(void *user)
{
	struct watch *w = user;
	struct kerr err = { 0 };

	w->page.most = REPLAY_PAGE;
	if (db_transitions_after(w->sup->db, &w->page, replay_one, w, &err) < 0) {
		log_error("events: %s", err.msg);
		http_lines_cut(w->lines); /* rather no stream than one with a gap */
		return 0;
	}
	if (w->page.most == 0)
		return 1;
	w->replaying = false;
	if (!w->follow)
		http_lines_end(w->lines);
	return 0;
}

static void pulse(struct loop_timer *t)
{
	struct watch *w = container_of(t, struct watch, pulse);

	if (http_lines_waiting(w->lines) == 0)
		(void)http_lines_put(w->lines, ":\n\n", 3, true);
}

static void watch_free(void *user)
{
	struct watch *w = user;

	events_unwatch(w->sup, &w->watcher);
	loop_timer_done(&w->pulse);
	free(w->agent);
	free(w);
}

/* `since`, else the last event that the reader has seen. */
static int replay_from(
	const struct http_request *q, uint64_t *ret, bool *ret_wanted, struct kerr *e)
{
	const char *since = http_target_query(&q->target, "since");
	const char *text = since ? since : q->last_event_id;

	*ret_wanted = text != NULL;
	if (text && units_parse_u64(text, INT64_MAX, ret) < 0)
		return kerr_set(e, EINVAL, "%s: expected a time in nanoseconds",
			since ? "since" : "Last-Event-ID");
	return 0;
}

static int watch_events(struct http_request *q, struct kerr *e)
{
	const char *ref = http_target_query(&q->target, "agent");
	struct agent *a = ref ? agent_find(q->sup, ref, e) : NULL;
	uint64_t since_ns = 0;
	struct watch *w;
	bool replays;
	int r;

	if (ref && !a)
		return -(e->code ? e->code : ENOENT);
	r = replay_from(q, &since_ns, &replays, e);
	if (r < 0)
		return r;
	w = calloc(1, sizeof(*w));
	if (!w)
		return kerr_errno(e, ENOMEM, "events");
	w->sup = q->sup;
	w->watcher.fn = happened;
	w->pulse = (struct loop_timer){ .fn = pulse, .w = { .fd = -1 } };
	w->agent = a ? strdup(a->row.name) : NULL;
	w->follow = http_query_bool(&q->target, "follow", true);
	w->replaying = replays;
	w->page = (struct db_page){ .agent = a ? a->row.id : 0, .since_ns = since_ns };
	r = a && !w->agent ? kerr_errno(e, ENOMEM, "events")
			   : http_lines_open(&w->lines, q, "text/event-stream", watch_free, w, e);
	if (r < 0) {
		watch_free(w);
		return r;
	}
	/* The headers go at once: somebody waits to know that he is heard. */
	(void)http_lines_put(w->lines, ":\n\n", 3, true);
	(void)loop_timer_set(q->sup->loop, &w->pulse, PULSE_NS, PULSE_NS);
	if (w->follow)
		events_watch(q->sup, &w->watcher);
	if (w->replaying)
		http_lines_refill(w->lines, replay);
	else if (!w->follow)
		http_lines_end(w->lines);
	return 0;
}

static const struct http_field events_query[] = {
	{ .key = "since", .kind = HTTP_INT, .max = INT64_MAX },
	{ .key = "agent", .kind = HTTP_TEXT },
	{ .key = "follow", .kind = HTTP_BOOL },
	{ 0 },
};

const struct route watch_routes[] = {
	{ .method = "GET", .path = "/events", .fn = watch_events, .query = events_query },
	{ 0 },
};
