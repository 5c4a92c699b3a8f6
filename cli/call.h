#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include <base/kerr.h>

#include "url.h"

/*
 * Requests to kosvmd (docs/openapi.yaml), which is started when none is
 * there. -errno is what kosvmd said, the text is its own. Every function
 * here takes `u` over, and `body` (NULL: none).
 */

/*
 * One request, one answer: *ret is the caller's (may be NULL when the
 * answer says nothing). A long operation's progress goes to stderr.
 */
enum call_kind { CALL_SHORT, CALL_LONG };
int call_kosvmd(enum call_kind kind, const char *method, struct url *u, json_t *body, json_t **ret,
	struct kerr *e);

/*
 * A GET whose answer goes on for a while, in pieces. chunk: 0 to go on, 1
 * for enough, -errno (with *e said). While it waits, wake (may be NULL) is
 * called when wake_fd is readable, with the same returns.
 */
struct call_reader {
	int (*chunk)(void *user, char *data, size_t len, struct kerr *e);
	void *user;
	int wake_fd; /* with wake only */
	int (*wake)(void *user, struct kerr *e);
};
int call_read(struct url *u, const struct call_reader *r, struct kerr *e);

/* A POST that is answered by a stream: *ret_fd is the caller's. */
int call_stream(struct url *u, json_t *body, int *ret_fd, struct kerr *e);

/*
 * Gives kosvmd an open file: token is what a request calls it, as long as
 * *ret_conn (the caller's) is open.
 */
int call_give(int fd, char token[static 64], int *ret_conn, struct kerr *e);

/* json_string that says what is wrong: NULL and *e when it is no valid UTF-8. */
json_t *call_string(const char *what, const char *s, struct kerr *e);
