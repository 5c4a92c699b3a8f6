#pragma once

#include <microhttpd.h>
#include <sys/queue.h>

#include <base/loop.h>

#include "http.h"
#include "http_lines.h"
#include "listener.h"
#include "refusal.h"

/* Between http*.c. */

/* A connection has so long for each request: from its beginning, or the end of the last answer. */
#define HTTP_REQUEST_NS (10 * CLOCK_NS_PER_S)
/* And so long to take an answer that is no stream. */
#define HTTP_ANSWER_NS (60 * CLOCK_NS_PER_S)

struct http {
	struct sup *sup;
	struct MHD_Daemon *mhd;
	struct listener listener;
	struct refusals refusals;
	struct loop_fd events;   /* libmicrohttpd's epoll */
	struct loop_timer again; /* what it wants to do without an event */
	struct loop_timer sweep;
	LIST_HEAD(http_conn_list, http_conn) conns;
	struct http_counts counts;
	bool resumed; /* somebody was, since its last turn began */
	bool closing;
};

/* A request in the making, until it is one. */
struct http_conn {
	LIST_ENTRY(http_conn) link;
	struct http *http;
	struct MHD_Connection *mhd;
	int fd;                /* libmicrohttpd's */
	struct loop_fd hangup; /* libmicrohttpd does not look at who is suspended */
	uint64_t deadline_ns;  /* 0: none */
	bool cut;              /* nothing of it matters any more */

	/* The request, if there is one. */
	struct http_request *q;
	char *body;
	size_t body_len;
	size_t body_cap;
	struct kerr err; /* what is wrong with its first line */
	bool begun;      /* its headers are there */
	bool dispatched; /* its body too */
	bool answered;   /* with `response` or a stream */
	bool queued;     /* libmicrohttpd has the answer */
	bool suspended;
	bool wants_lines; /* of a long operation */
	struct MHD_Response *response;
	unsigned status;
	struct http_source *source;
	struct http_lines *lines;
};

/* libmicrohttpd's callbacks, http_request.c. */
void *http_on_target(void *cls, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result http_on_request(void *cls, struct MHD_Connection *mhd, const char *url,
	const char *method, const char *version, const char *data, size_t *len, void **ctx);
void http_on_done(
	void *cls, struct MHD_Connection *mhd, void **ctx, enum MHD_RequestTerminationCode why);

/* The connection goes at once; text NULL: without a word. */
void http_cut(struct http_conn *c, int status, int code, const char *message);
void http_suspend(struct http_conn *c);
void http_resume(struct http_conn *c);
/* Lets go of all that hangs on the request. */
void http_request_release(struct http_conn *c);
/* The answer is there: hands it to libmicrohttpd. */
enum MHD_Result http_queue(struct http_conn *c);
json_t *http_error(int code, const char *message);
int http_status(int code);
