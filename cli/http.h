#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <base/kerr.h>

/* HTTP/1.1 over kosvmd's socket, by libcurl. */
struct http_request {
	const char *method;
	const char *path; /* with the query */
	const char *body; /* JSON; NULL: none */
	bool lines;       /* progress is wanted: application/x-ndjson */

	/* The body of a 2xx answer, in pieces: 0 to go on, 1 for enough, -errno with *e said. */
	int (*chunk)(void *user, char *data, size_t len, struct kerr *e);
	void *user;
	/* Called when wake_fd is readable, if not NULL. Returns as chunk does. */
	int wake_fd;
	int (*wake)(void *user, struct kerr *e);
};

/*
 * 0 when the whole answer came (or chunk had enough); -errno with what the
 * answer's `error` says, or why there is no answer.
 */
int http_do(const struct http_request *q, struct kerr *e);
