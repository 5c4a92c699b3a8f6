/*
 * What any client of the API may say, as libmicrohttpd hands it over: a
 * method, a target and a body. It is refused with a text, or every rule of
 * its route holds and the frame it becomes can be sent.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>

#include "exec_request.h"
#include "http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* The first piece up to `end`, as a C string. */
static char *piece(const uint8_t **data, size_t *len, char end)
{
	const uint8_t *stop = memchr(*data, end, *len);
	size_t n = stop ? (size_t)(stop - *data) : *len;
	char *text = strndup((const char *)*data, n);

	must(text);
	*data += n + (stop ? 1 : 0);
	*len -= n + (stop ? 1 : 0);
	return text;
}

static void sent(int (*check)(const json_t *, struct kerr *),
	int (*send_it)(int, const json_t *, struct kerr *), const json_t *args)
{
	struct kerr e = { 0 };
	int sv[2];

	if (check(args, &e) < 0) {
		must(e.msg[0]);
		return;
	}
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) == 0);
	must(send_it(sv[0], args, &e) == 0);
	(void)close(sv[0]);
	(void)close(sv[1]);
}

static void as_stream(const json_t *body)
{
	sent(exec_request_check, exec_request_send, body);
	sent(attach_request_check, attach_request_send, body);
	sent(copy_request_check, copy_request_send, body);
}

/* What passed its table is of the kinds that the table says. */
static void held(const struct http_field *fields, const json_t *body)
{
	for (; fields && fields->key; fields++) {
		const json_t *v = json_object_get(body, fields->key);

		must(v || !fields->required);
		if (v && fields->kind == HTTP_INT)
			must(json_integer_value(v) >= fields->min &&
				json_integer_value(v) <= fields->max);
		if (v && fields->kind == HTTP_TEXT && fields->max)
			must(json_string_length(v) <= (size_t)fields->max);
	}
}

static void asked(const char *method, const struct http_target *t, const json_t *body)
{
	const struct route *route = NULL;
	const char *args[HTTP_ARGS_MAX] = { 0 };
	struct kerr e = { 0 };
	char allow[64];

	if (route_find(method, t, &route, args, allow, &e) < 0) {
		must(e.msg[0]);
		return;
	}
	must(strcmp(route->method, method) == 0);
	for (size_t i = 0; i < HTTP_ARGS_MAX; i++)
		must(!args[i] || args[i][0]);
	if (http_query_check(t, route->query, &e) == 0) {
		(void)http_query_bool(t, "follow", true);
		must(http_query_int(t, "tail", 0) >= 0);
	}
	if (body && http_body_check(body, route->body, &e) == 0)
		held(route->body, body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	_cleanup_free_ char *method = piece(&data, &len, ' ');
	_cleanup_free_ char *raw = piece(&data, &len, '\n');
	struct http_target t = { 0 };
	struct kerr e = { 0 };
	json_t *body = NULL;

	if (http_body_parse((const char *)data, len, &body, &e) < 0)
		must(e.msg[0] && !body);
	else
		must(json_is_object(body));
	if (http_target_parse(&t, raw, &e) == 0) {
		must(t.nparts <= HTTP_PARTS_MAX && t.nquery <= HTTP_QUERY_MAX);
		asked(method, &t, body);
	}
	if (body)
		as_stream(body);
	http_target_done(&t);
	json_decref(body);
	return 0;
}
