#include "call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <wire/api_proto.h>

#include "daemon.h"
#include "http.h"
#include "print.h"
#include "safe.h"

#define ANSWER_MAX (64u << 20)

json_t *call_string(const char *what, const char *s, struct kerr *e)
{
	json_t *t = json_string(s);

	if (!t)
		(void)kerr_set(e, EINVAL, "%s is no valid UTF-8 text", what);
	return t;
}

/* ---- the progress of a long operation: one line that is rewritten ---- */

static void show_progress(const char *text, bool *shown)
{
	if (isatty(STDERR_FILENO)) {
		(void)fputs("\r\x1b[K", stderr);
		safe_print(stderr, text);
		*shown = true;
	} else {
		safe_print(stderr, text);
		(void)fputc('\n', stderr);
	}
}

static void end_progress(bool *shown)
{
	if (*shown)
		(void)fputs("\r\x1b[K", stderr);
	*shown = false;
}

/* ---- answers ---- */

struct answer {
	bool lines;
	bool shown;
	char *buf;
	size_t len;
	json_t *ok;
};

static int parse(const char *text, size_t len, json_t **ret, struct kerr *e)
{
	*ret = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(*ret)) {
		json_decref(*ret);
		*ret = NULL;
		return kerr_set(e, EPROTO, "kosvmd gave an answer that is no JSON object");
	}
	return 0;
}

static int take_line(struct answer *a, const char *line, size_t len, struct kerr *e)
{
	json_t *o = NULL;
	json_t *part;
	int r = parse(line, len, &o, e);

	if (r < 0)
		return r;
	part = json_object_get(o, "progress");
	if (part) {
		show_progress(json_is_string(part) ? json_string_value(part) : "", &a->shown);
	} else if ((part = json_object_get(o, "error"))) {
		r = print_take_error(part, e);
	} else if ((part = json_object_get(o, "ok")) && !a->ok) {
		a->ok = json_incref(part);
	} else {
		r = kerr_set(e, EPROTO, "kosvmd gave an answer of unknown kind");
	}
	json_decref(o);
	return r;
}

static int take_lines(struct answer *a, struct kerr *e)
{
	size_t pos = 0;
	char *nl;
	int r = 0;

	while (r == 0 && (nl = memchr(a->buf + pos, '\n', a->len - pos))) {
		size_t len = (size_t)(nl - a->buf) - pos;

		if (len > 0)
			r = take_line(a, a->buf + pos, len, e);
		pos += len + 1;
	}
	memmove(a->buf, a->buf + pos, a->len - pos);
	a->len -= pos;
	return r;
}

static int take_chunk(void *user, char *data, size_t len, struct kerr *e)
{
	struct answer *a = user;
	char *bigger;

	if (a->len + len > ANSWER_MAX)
		return kerr_set(e, EMSGSIZE, "kosvmd's answer is too long");
	bigger = realloc(a->buf, a->len + len);
	if (!bigger)
		return kerr_errno(e, ENOMEM, "answer");
	a->buf = bigger;
	memcpy(a->buf + a->len, data, len);
	a->len += len;
	return a->lines ? take_lines(a, e) : 0;
}

int call_kosvmd(enum call_kind kind, const char *method, struct url *u, json_t *body, json_t **ret,
	struct kerr *e)
{
	_cleanup_free_ char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct answer a = { .lines = kind == CALL_LONG };
	const struct http_request q = {
		.method = method,
		.path = url_text(u),
		.body = text,
		.lines = a.lines,
		.chunk = take_chunk,
		.user = &a,
	};
	int r = body && !text ? kerr_set(e, EINVAL, "arguments are no valid UTF-8 text")
			      : http_do(&q, e);

	end_progress(&a.shown);
	if (r == 0 && !a.lines)
		r = parse(a.buf ? a.buf : "", a.len, &a.ok, e);
	else if (r == 0 && !a.ok)
		r = kerr_set(e, ECONNRESET, "kosvmd ended before it answered");
	if (r == 0 && ret)
		*ret = json_incref(a.ok);
	json_decref(a.ok);
	free(a.buf);
	json_decref(body);
	url_free(u);
	return r;
}

int call_read(struct url *u, const struct call_reader *reader, struct kerr *e)
{
	const struct http_request q = {
		.method = "GET",
		.path = url_text(u),
		.chunk = reader->chunk,
		.user = reader->user,
		.wake_fd = reader->wake_fd,
		.wake = reader->wake,
	};
	int r = http_do(&q, e);

	url_free(u);
	return r;
}

/* ---- descriptors ---- */

/* One request on the descriptor socket. *ret_fd: -1 when none came. */
static int ask(int conn, json_t *msg, int fd, json_t **ret, int *ret_fd, struct kerr *e)
{
	json_t *answer = NULL;
	int fds[FDPASS_MAX_FDS];
	size_t n = 0;
	int r = api_send(conn, msg, &fd, fd >= 0 ? 1 : 0, e);

	json_decref(msg);
	if (r == 0)
		r = api_recv(conn, &answer, fds, FDPASS_MAX_FDS, &n, e);
	if (r == 0)
		r = kerr_set(e, ECONNRESET, "kosvmd ended before it answered");
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (ret_fd && *ret_fd < 0)
			*ret_fd = fds[i];
		else
			(void)close(fds[i]);
	}
	r = print_take_error(json_object_get(answer, "error"), e);
	if (r == 0)
		*ret = answer;
	else
		json_decref(answer);
	return r;
}

int call_stream(struct url *u, json_t *body, int *ret_fd, struct kerr *e)
{
	_cleanup_close_ int conn = -1;
	json_t *answer = NULL;
	json_t *taken = NULL;
	int fd = -1;
	int r = call_kosvmd(CALL_SHORT, "POST", u, body, &answer, e);

	if (r == 0)
		r = daemon_connect_fds(&conn, e);
	if (r == 0)
		r = ask(conn, json_pack("{s:s}", "take", cli_text(answer, "stream")), -1, &taken,
			&fd, e);
	if (r == 0 && fd < 0)
		r = kerr_set(e, EPROTO, "kosvmd gave no stream");
	if (r == 0)
		*ret_fd = fd;
	json_decref(taken);
	json_decref(answer);
	return r;
}

int call_give(int fd, char token[static 64], int *ret_conn, struct kerr *e)
{
	_cleanup_close_ int conn = -1;
	json_t *answer = NULL;
	const char *text;
	int r = daemon_connect_fds(&conn, e);

	if (r == 0)
		r = ask(conn, json_pack("{s:i}", "give", 1), fd, &answer, NULL, e);
	if (r < 0)
		return r;
	text = json_string_value(
		json_array_get(json_object_get(json_object_get(answer, "ok"), "tokens"), 0));
	if (!text || strlen(text) >= 64)
		r = kerr_set(e, EPROTO, "kosvmd gave no token");
	else
		memcpy(token, text, strlen(text) + 1);
	json_decref(answer);
	if (r == 0)
		*ret_conn = steal_fd(&conn);
	return r;
}
