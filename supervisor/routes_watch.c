/* GET /events: what happens, as server-sent events. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "http_lines.h"
#include "routes.h"

/* Whoever looks on sees that the stream lives. */
#define PULSE_NS (15 * CLOCK_NS_PER_S)

struct watch {
	struct event_watcher watcher;
	struct loop_timer pulse;
	struct sup *sup;
	struct http_lines *lines;
	char *agent; /* NULL: of all */
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

	if (!w->agent || (agent && strcmp(agent, w->agent) == 0))
		send_event(w, ev->type, ev->time_ns, ev->fields);
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

static int watch_events(struct http_request *q, struct kerr *e)
{
	const char *ref = http_target_query(&q->target, "agent");
	struct agent *a = ref ? agent_find(q->sup, ref, e) : NULL;
	struct watch *w;
	int r;

	if (ref && !a)
		return -(e->code ? e->code : ENOENT);
	w = calloc(1, sizeof(*w));
	if (!w)
		return kerr_errno(e, ENOMEM, "events");
	w->sup = q->sup;
	w->watcher.fn = happened;
	w->pulse = (struct loop_timer){ .fn = pulse, .w = { .fd = -1 } };
	w->agent = a ? strdup(a->row.name) : NULL;
	r = a && !w->agent ? kerr_errno(e, ENOMEM, "events")
			   : http_lines_open(&w->lines, q, "text/event-stream", watch_free, w, e);
	if (r < 0) {
		watch_free(w);
		return r;
	}
	/* The headers go at once: somebody waits to know that he is heard. */
	(void)http_lines_put(w->lines, ":\n\n", 3, true);
	(void)loop_timer_set(q->sup->loop, &w->pulse, PULSE_NS, PULSE_NS);
	if (http_query_bool(&q->target, "follow", true))
		events_watch(q->sup, &w->watcher);
	else
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
