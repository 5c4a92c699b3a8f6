#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <jansson.h>

struct sup;

/*
 * What happens in kosvmd, told to whoever looks on (GET /events, the counters
 * of GET /metrics). Nothing is kept here: moves of agents are in the
 * database. Loop thread only.
 *
 * Types are "noun.verb" in small letters: "agent.move", "agent.pause",
 * "panic", "image.import"; docs/openapi.yaml has the list. An event about an
 * agent has the fields "agent" (its name) and "id".
 */
struct event {
	const char *type;
	uint64_t time_ns; /* CLOCK_REALTIME */
	json_t *fields;   /* with type and time_ns */
};

/* Embedded in its owner, detached by its owner; also from inside of any fn. */
struct event_watcher {
	LIST_ENTRY(event_watcher) link;
	void (*fn)(struct event_watcher *w, const struct event *ev); /* ev is borrowed */
	bool attached;
};

struct events {
	LIST_HEAD(event_watcher_list, event_watcher) watchers;
	struct event_watcher *next; /* of the one that is being called */
	uint64_t last_ns;
};

/*
 * fields is taken over, also on failure. Its own time_ns, if it has one, stays: a move has that of
 * its row in the database, by which it can be replayed. NULL (no memory) drops the event with a
 * line in the log.
 */
void events_publish(struct sup *s, const char *type, json_t *fields);

void events_watch(struct sup *s, struct event_watcher *w);
void events_unwatch(struct sup *s, struct event_watcher *w);
