#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include <base/kerr.h>

#include "http_input.h"
#include "http_target.h"

struct sup;
struct http;
struct http_request;

/*
 * HTTP/1.1 on the unix socket: libmicrohttpd, driven by kosvmd's own loop.
 * It never waits: whoever is slow holds up himself. Loop thread only.
 */
#define HTTP_CLIENTS_MAX 256u

int http_open(struct http **ret, struct sup *s, const char *path, struct kerr *e);
/* Takes no one new and gives streams that end up to `ms` to deliver the rest; then cuts all. NULL
 * is fine. */
void http_close(struct http *h, unsigned ms);

struct http_counts {
	unsigned clients;
	uint64_t connections;
	uint64_t refused;    /* too many, or not allowed */
	uint64_t answers[6]; /* by the first digit of the status */
};
void http_counts(const struct http *h, struct http_counts *ret);

/* ---- routes ---- */

struct route {
	const char *method;
	/* "/v1/agents/{ref}/logs": a part in braces is any, and args[] in order. NULL ends a table.
	 */
	const char *path;
	/*
	 * Answers now or later, once: http_ok, http_fail or http_stream. -errno
	 * instead of an answer: it is one with e's text.
	 */
	int (*fn)(struct http_request *q, struct kerr *e);
	const struct http_field *query;
	const struct http_field *body;
	bool slow; /* may answer in lines, with progress */
};

/* -ENOENT: no such path. -EOPNOTSUPP: another method; `allow` gets those there are. */
int route_find(const char *method, const struct http_target *t, const struct route **ret,
	const char **ret_args, char allow[static 64], struct kerr *e);

extern const struct route agent_routes[], life_routes[], stream_routes[], log_routes[],
	image_routes[], host_routes[], watch_routes[], metrics_routes[], stats_routes[],
	panic_routes[], update_routes[], policy_routes[];

/*
 * One request that came in whole. It lives until its answer has gone or its
 * client has left, whichever comes first; then op_free(op) is called.
 */
#define HTTP_ARGS_MAX 2u
struct http_request {
	struct sup *sup;
	const struct route *route;
	struct http_target target;
	const char *args[HTTP_ARGS_MAX];
	json_t *body; /* an object, checked against route->body; NULL for GET and DELETE */
	const char *last_event_id; /* the header, or NULL */

	/* What a later answer hangs on. */
	void *op;
	void (*op_free)(void *op);

	struct http_conn *conn; /* http*.c alone */
};

/* ---- answers; each takes the reference of what it gets ---- */

void http_ok(struct http_request *q, int status, json_t *body);
/* code: an errno, of either sign. */
void http_fail(struct http_request *q, int code, const char *message);
void http_fail_kerr(struct http_request *q, const struct kerr *err);
/* A line of a long operation; dropped when nobody wants it, or reads too slowly. */
void http_progress(struct http_request *q, const char *text);

/* A whole text of a type; text is malloc'd and taken over. */
void http_text(struct http_request *q, const char *type, char *text, size_t len);

/*
 * An answer without known end. Embedded in its owner; free is called once,
 * when the answer has ended or was cut, also when http_stream fails.
 */
struct http_source {
	/*
	 * Bytes put into buf; 0: call again soon, others get their turn;
	 * -EAGAIN: nothing now, http_wake follows; -ENODATA: the end; another
	 * -errno: the answer is cut off.
	 */
	ssize_t (*read)(struct http_source *src, char *buf, size_t max);
	void (*free)(struct http_source *src);
	struct http_request *q;
};
int http_stream(struct http_request *q, const char *type, struct http_source *src, struct kerr *e);
void http_wake(struct http_source *src);
