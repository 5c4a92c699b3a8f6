#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include <base/kerr.h>

#include "http_target.h"

/*
 * What a request may say, as a table: the keys of its JSON object, or the
 * parameters of its query. What is not in the table is refused.
 */
#define HTTP_BODY_MAX  1048576u
#define HTTP_DEPTH_MAX 32u

enum http_kind {
	HTTP_TEXT = 1, /* max: bytes, 0: no bound but the body's */
	HTTP_BOOL,
	HTTP_INT,  /* min..max */
	HTTP_LIST, /* of texts; max: items */
	HTTP_MAP,  /* of texts */
};

struct http_field {
	const char *key; /* NULL ends a table */
	enum http_kind kind;
	bool required;
	bool repeat;   /* may be in a query more than once */
	bool nullable; /* null is a value, too; of a body */
	int64_t min;
	int64_t max;
};

/* One object; nothing at all is an empty one. -EINVAL says what is wrong where. */
int http_body_parse(const char *data, size_t len, json_t **ret, struct kerr *e);
/* fields NULL: none are allowed. */
int http_body_check(const json_t *body, const struct http_field *fields, struct kerr *e);
int http_query_check(const struct http_target *t, const struct http_field *fields, struct kerr *e);

/* Of a query that was checked. */
bool http_query_bool(const struct http_target *t, const char *key, bool fallback);
int64_t http_query_int(const struct http_target *t, const char *key, int64_t fallback);
