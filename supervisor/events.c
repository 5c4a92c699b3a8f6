#include "events.h"

#include <base/clock.h>
#include <base/log.h>

#include "sup.h"

/* Who resumes after an event must not miss its twin: no two have one time. */
static uint64_t time_of(struct sup *s, const json_t *fields)
{
	uint64_t t = (uint64_t)json_integer_value(json_object_get(fields, "time_ns"));

	if (t == 0) {
		t = clock_real_ns();
		if (t <= s->events.last_ns)
			t = s->events.last_ns + 1;
	}
	s->events.last_ns = t;
	return t;
}

void events_publish(struct sup *s, const char *type, json_t *fields)
{
	struct event ev = { .type = type, .time_ns = time_of(s, fields), .fields = fields };
	struct event_watcher *w;

	if (!fields || json_object_set_new(fields, "type", json_string(type)) < 0 ||
		json_object_set_new(fields, "time_ns", json_integer((json_int_t)ev.time_ns)) < 0) {
		log_warn("event %s: nobody is told: no memory", type);
		json_decref(fields);
		return;
	}
	for (w = LIST_FIRST(&s->events.watchers); w; w = s->events.next) {
		s->events.next = LIST_NEXT(w, link);
		w->fn(w, &ev);
	}
	s->events.next = NULL;
	json_decref(fields);
}

void events_watch(struct sup *s, struct event_watcher *w)
{
	LIST_INSERT_HEAD(&s->events.watchers, w, link);
	w->attached = true;
}

void events_unwatch(struct sup *s, struct event_watcher *w)
{
	if (!w->attached)
		return;
	if (s->events.next == w)
		s->events.next = LIST_NEXT(w, link);
	LIST_REMOVE(w, link);
	w->attached = false;
}
