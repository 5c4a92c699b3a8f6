#pragma once

#include <stddef.h>

#include <base/kerr.h>

/*
 * The target of a request (RFC 9112, 3.2), "/v1/agents/a%20b/logs?tail=5",
 * taken apart. Hostile input: every part and value is UTF-8 without NUL
 * after decoding; a decoded slash stays inside of its part.
 */
#define HTTP_TARGET_MAX 16384u
#define HTTP_PARTS_MAX  8u
#define HTTP_QUERY_MAX  32u

struct http_target {
	char *text; /* what the pointers below point into */
	size_t nparts;
	const char *parts[HTTP_PARTS_MAX];
	size_t nquery;
	struct {
		const char *key;
		const char *value; /* "" without "=" */
	} query[HTTP_QUERY_MAX];
};

/* -EINVAL; -ENOENT: more parts than any path has. Zero-initialised ret; http_target_done in any
 * case. */
int http_target_parse(struct http_target *ret, const char *raw, struct kerr *e);
void http_target_done(struct http_target *t);

/* NULL when it is not there; the first of several. */
const char *http_target_query(const struct http_target *t, const char *key);
