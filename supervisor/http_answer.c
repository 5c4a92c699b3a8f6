/* Answers: whole ones, errors, streams. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <wire/api_proto.h>

#include "http_private.h"

#define STREAM_BLOCK 65536u
#define JSON_TYPE    "application/json"
#define LINES_TYPE   "application/x-ndjson"

int http_status(int code)
{
	switch (code < 0 ? -code : code) {
	case EINVAL:
	case EPROTO:
	case E2BIG:
	case EBADMSG:
	case ERANGE:
	case ENAMETOOLONG:
		return MHD_HTTP_BAD_REQUEST;
	case EACCES:
	case EPERM:
		return MHD_HTTP_FORBIDDEN;
	case ENOENT:
		return MHD_HTTP_NOT_FOUND;
	case EOPNOTSUPP:
		return MHD_HTTP_METHOD_NOT_ALLOWED;
	case EEXIST:
	case EBUSY:
	case ENOTCONN:
	case ECANCELED:
	case ECONNREFUSED:
		return MHD_HTTP_CONFLICT;
	case EFBIG:
		return MHD_HTTP_CONTENT_TOO_LARGE;
	case ESHUTDOWN:
	case EUSERS:
		return MHD_HTTP_SERVICE_UNAVAILABLE;
	case ETIMEDOUT:
		return MHD_HTTP_GATEWAY_TIMEOUT;
	case ENOSPC:
	case EDQUOT:
		return MHD_HTTP_INSUFFICIENT_STORAGE;
	default:
		return MHD_HTTP_INTERNAL_SERVER_ERROR;
	}
}

json_t *http_error(int code, const char *message)
{
	const char *name;

	if (code < 0)
		code = -code;
	name = strerrorname_np(code);
	return json_pack("{s:{s:i, s:s, s:o}}", "error", "errno", code, "code", name ? name : "EIO",
		"message", api_text(message && *message ? message : "failed"));
}

/* Dispatched in a callback of libmicrohttpd: it is queued behind; else it waits, suspended. */
static void answered(struct http_conn *c, struct MHD_Response *response, int status)
{
	if (!response) {
		http_cut(c, 0, 0, NULL);
		return;
	}
	c->answered = true;
	c->response = response;
	c->status = (unsigned)status;
	if (!c->source)
		c->deadline_ns = clock_mono_ns() + HTTP_ANSWER_NS;
	http_resume(c);
}

enum MHD_Result http_queue(struct http_conn *c)
{
	if (c->cut || !c->response)
		return MHD_NO;
	/* Called again behind an answer that was cut. */
	if (c->queued)
		return MHD_NO;
	c->queued = true;
	c->http->counts.answers[c->status / 100 % 6]++;
	if (c->http->closing)
		(void)MHD_add_response_header(c->response, MHD_HTTP_HEADER_CONNECTION, "close");
	return MHD_queue_response(c->mhd, c->status, c->response);
}

static void whole(struct http_conn *c, int status, const char *type, char *text, size_t len)
{
	struct MHD_Response *response = NULL;

	if (text)
		response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	if (!response)
		free(text);
	else
		(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	answered(c, response, status);
}

static void whole_json(struct http_conn *c, int status, const char *type, json_t *body)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;

	json_decref(body);
	/* A line: kind to terminals. The NUL's place is the line end's. */
	if (text)
		text[len++] = '\n';
	whole(c, status, type, text, len);
}

void http_ok(struct http_request *q, int status, json_t *body)
{
	struct http_conn *c = q->conn;

	if (!body)
		body = json_object();
	if (c->lines) {
		(void)http_lines_json(c->lines, json_pack("{s:o}", "ok", body), true);
		http_lines_end(c->lines);
		return;
	}
	if (c->answered) {
		json_decref(body);
		return;
	}
	if (c->wants_lines)
		whole_json(c, MHD_HTTP_OK, LINES_TYPE, json_pack("{s:o}", "ok", body));
	else
		whole_json(c, status, JSON_TYPE, body);
}

void http_fail(struct http_request *q, int code, const char *message)
{
	struct http_conn *c = q->conn;

	if (c->lines) {
		(void)http_lines_json(c->lines, http_error(code, message), true);
		http_lines_end(c->lines);
		return;
	}
	if (!c->answered)
		whole_json(c, http_status(code), JSON_TYPE, http_error(code, message));
}

void http_fail_kerr(struct http_request *q, const struct kerr *err)
{
	http_fail(q, err->code, err->msg);
}

void http_text(struct http_request *q, const char *type, char *text, size_t len)
{
	if (q->conn->answered) {
		free(text);
		return;
	}
	whole(q->conn, MHD_HTTP_OK, type, text, len);
}

void http_progress(struct http_request *q, const char *text)
{
	/* A reader who is slow needs no more of these. */
	if (q->conn->lines && http_lines_waiting(q->conn->lines) < 4096)
		(void)http_lines_json(
			q->conn->lines, json_pack("{s:o}", "progress", api_text(text)), false);
}

/* ---- streams ---- */

static ssize_t stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct http_conn *c = cls;
	ssize_t n;

	(void)pos;
	if (c->cut || !c->source)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	n = c->source->read(c->source, buf, max);
	if (n >= 0)
		return n;
	if (n == -ENODATA || (n == -EAGAIN && c->http->closing))
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (n != -EAGAIN)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	http_suspend(c);
	return 0;
}

int http_stream(struct http_request *q, const char *type, struct http_source *src, struct kerr *e)
{
	struct http_conn *c = q->conn;
	struct MHD_Response *response = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, STREAM_BLOCK, stream_read, c, NULL);

	if (!response) {
		src->free(src);
		return kerr_errno(e, ENOMEM, "stream");
	}
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	src->q = q;
	c->source = src;
	answered(c, response, MHD_HTTP_OK);
	return 0;
}

void http_wake(struct http_source *src)
{
	if (src->q)
		http_resume(src->q->conn);
}
