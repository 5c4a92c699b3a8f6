/* A request on its way in: its target, its body, and to the one who answers it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "http_private.h"
#include "sup.h"

static struct http_conn *conn_of(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

void http_suspend(struct http_conn *c)
{
	if (!c->suspended) {
		c->suspended = true;
		MHD_suspend_connection(c->mhd);
	}
}

void http_resume(struct http_conn *c)
{
	if (c->suspended) {
		c->suspended = false;
		MHD_resume_connection(c->mhd);
		/* It goes on at libmicrohttpd's next turn, which nothing else would bring about. */
		c->http->resumed = true;
		(void)loop_timer_set(c->http->sup->loop, &c->http->again, 1, 0);
	}
}

/* The first line is there. What is returned becomes the request's context. */
void *http_on_target(void *cls, const char *uri, struct MHD_Connection *mhd)
{
	struct http *h = cls;
	struct http_conn *c = conn_of(mhd);

	if (!c)
		return NULL;
	c->err = (struct kerr){ 0 };
	c->begun = c->dispatched = c->answered = c->queued = c->wants_lines = false;
	c->q = calloc(1, sizeof(*c->q));
	if (!c->q)
		return NULL;
	c->q->sup = h->sup;
	c->q->conn = c;
	(void)http_target_parse(&c->q->target, uri, &c->err);
	return c;
}

static const char *header(struct http_conn *c, const char *name)
{
	return MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, name);
}

/* Whoever announces more than there may be is told so before it is sent. */
static bool announces_too_much(struct http_conn *c)
{
	const char *length = header(c, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return length && strtoull(length, NULL, 10) > HTTP_BODY_MAX;
}

static int take_body(struct http_conn *c, const char *data, size_t len)
{
	if (len > HTTP_BODY_MAX - c->body_len)
		return -EFBIG;
	if (c->body_len + len > c->body_cap) {
		size_t cap = (c->body_len + len) * 2;
		char *body = realloc(c->body, cap);

		if (!body)
			return -ENOMEM;
		c->body = body;
		c->body_cap = cap;
	}
	memcpy(c->body + c->body_len, data, len);
	c->body_len += len;
	return 0;
}

static int prepare(struct http_conn *c, const char *method, char allow[static 64], struct kerr *e)
{
	struct http_request *q = c->q;
	int r = c->err.code ? -c->err.code : 0;

	if (r < 0) {
		*e = c->err;
		return r;
	}
	r = route_find(method, &q->target, &q->route, q->args, allow, e);
	if (r == 0)
		r = http_query_check(&q->target, q->route->query, e);
	if (r < 0)
		return r;
	if (strcmp(method, "POST") != 0 && strcmp(method, "PATCH") != 0)
		return c->body_len == 0 ? 0 : kerr_set(e, EINVAL, "body: %s takes none", method);
	r = http_body_parse(c->body, c->body_len, &q->body, e);
	if (r == 0)
		r = http_body_check(q->body, q->route->body, e);
	return r;
}

/* All is there: the answer comes from the route, now or later. */
static void dispatch(struct http_conn *c, const char *method)
{
	const char *accept = header(c, MHD_HTTP_HEADER_ACCEPT);
	struct http_request *q = c->q;
	struct kerr err = { 0 };
	char allow[64] = "";
	int r;

	c->dispatched = true;
	c->deadline_ns = 0;
	if (c->http->closing) {
		http_fail(q, ESHUTDOWN, "kosvmd is ending");
		return;
	}
	r = prepare(c, method, allow, &err);
	if (r == 0) {
		c->wants_lines = q->route->slow && accept && strstr(accept, "application/x-ndjson");
		q->last_event_id = header(c, "Last-Event-ID");
		r = q->route->fn(q, &err);
		q->last_event_id = NULL;
	}
	if (r < 0 && !c->answered)
		http_fail(q, r, err.msg);
	if (r < 0 && allow[0] && c->response)
		(void)MHD_add_response_header(c->response, MHD_HTTP_HEADER_ALLOW, allow);
	/* From here on it goes on in lines, if that was asked for. */
	if (!c->answered && c->wants_lines)
		(void)http_lines_open(&c->lines, q, "application/x-ndjson", NULL, NULL, &err);
}

enum MHD_Result http_on_request(void *cls, struct MHD_Connection *mhd, const char *url,
	const char *method, const char *version, const char *data, size_t *len, void **ctx)
{
	struct http_conn *c = *ctx;

	(void)cls;
	(void)mhd;
	(void)url;
	(void)version;
	if (!c || c->cut)
		return MHD_NO;
	if (!c->begun) {
		c->begun = true;
		if (!announces_too_much(c))
			return MHD_YES;
		c->dispatched = true;
		http_fail(c->q, EFBIG, "body: more than 1 MiB");
		return http_queue(c);
	}
	if (*len > 0) {
		int r = take_body(c, data, *len);

		*len = 0;
		if (r == 0)
			return MHD_YES;
		/* In the middle of a body libmicrohttpd takes no answer. */
		http_cut(c, http_status(-r), -r,
			r == -EFBIG ? "body: more than 1 MiB" : "body: no memory");
		return MHD_NO;
	}
	if (!c->dispatched)
		dispatch(c, method);
	if (c->answered)
		return http_queue(c);
	http_suspend(c);
	return MHD_YES;
}

void http_request_release(struct http_conn *c)
{
	struct http_request *q = c->q;
	void *op = q ? q->op : NULL;

	if (!q)
		return;
	q->op = NULL;
	if (op && q->op_free)
		q->op_free(op);
	if (c->source) {
		struct http_source *src = c->source;

		c->source = NULL;
		c->lines = NULL;
		src->q = NULL;
		src->free(src);
	}
}

/*
 * libmicrohttpd frees what it has closed when it comes by: at once those of the
 * list of own time-outs, the others only when nobody older idles. The time-out
 * itself never passes.
 */
static void have_it_freed(struct http_conn *c)
{
	(void)MHD_set_connection_option(c->mhd, MHD_CONNECTION_OPTION_TIMEOUT, 86400u);
	c->http->resumed = true;
}

void http_on_done(
	void *cls, struct MHD_Connection *mhd, void **ctx, enum MHD_RequestTerminationCode why)
{
	struct http_conn *c = *ctx;

	(void)cls;
	(void)mhd;
	*ctx = NULL;
	if (!c)
		return;
	if (c->cut || why != MHD_REQUEST_TERMINATED_COMPLETED_OK)
		have_it_freed(c);
	http_request_release(c);
	if (c->response)
		MHD_destroy_response(c->response);
	c->response = NULL;
	json_decref(c->q->body);
	http_target_done(&c->q->target);
	free(c->q);
	c->q = NULL;
	free(c->body);
	c->body = NULL;
	c->body_len = c->body_cap = 0;
	c->begun = c->dispatched = c->answered = c->queued = false;
	if (!c->cut)
		c->deadline_ns = clock_mono_ns() + HTTP_REQUEST_NS;
	if (c->http->closing)
		http_cut(c, 0, 0, NULL);
}
