#pragma once

#include "http.h"

/*
 * A bounded queue of text on its way to one client: lines of a long
 * operation, events, figures. Its owner is the answer.
 */
#define HTTP_LINES_MAX 262144u

struct http_lines;

/* Begins the answer. gone(user), if not NULL: it is over, and so is *ret. */
int http_lines_open(struct http_lines **ret, struct http_request *q, const char *type,
	void (*gone)(void *user), void *user, struct kerr *e);

/* -ENOBUFS: more would wait than may. Who reads so slowly is cut off if `cut`, else it is dropped.
 */
int http_lines_put(struct http_lines *l, const char *text, size_t len, bool cut);
/* One line of JSON; takes the reference. */
int http_lines_json(struct http_lines *l, json_t *line, bool cut);
/*
 * more(user), asked whenever all has been read, puts the next piece: what is longer than the queue
 * goes through it all the same. It returns 0 once there is no more, and is not asked again.
 */
void http_lines_refill(struct http_lines *l, int (*more)(void *user));
/* Nothing follows. */
void http_lines_end(struct http_lines *l);
/* The answer is cut off where it is. */
void http_lines_cut(struct http_lines *l);
/* What waits in it. */
size_t http_lines_waiting(const struct http_lines *l);
