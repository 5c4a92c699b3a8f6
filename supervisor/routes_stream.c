/* Streams to the guest: exec, connect, attach, copy. Answered with a token for RUN/kosvmd.fds. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <wire/api_proto.h>
#include <wire/guest_proto.h>

#include "exchange.h"
#include "exec_request.h"
#include "routes.h"

#define COPY_PATH_MAX 4095

/* What is said first on a stream that was opened. */
struct stream_op {
	struct http_request *q;
	struct agent_connect *connect;
	int (*first)(int fd, const json_t *args, struct kerr *e); /* NULL: nothing */
	json_t *args;
};

static void op_free(void *user)
{
	struct stream_op *op = user;

	if (op->connect)
		agent_connect_cancel(op->connect);
	json_decref(op->args);
	free(op);
}

static void connected(void *user, int result, int fd)
{
	struct stream_op *op = user;
	char token[EXCHANGE_TOKEN_LEN + 1];
	struct kerr err = { 0 };
	int r;

	op->connect = NULL;
	if (result < 0) {
		(void)kerr_errno(&err, -result, "the guest did not accept the stream");
		http_fail(op->q, result, err.msg);
		return;
	}
	r = op->first ? op->first(fd, op->args, &err) : 0;
	if (r == 0)
		r = exchange_put(op->q->sup->exchange, fd, token, &err);
	if (r < 0) {
		(void)close(fd);
		http_fail(op->q, r, err.msg);
		return;
	}
	http_ok(op->q, 200, json_pack("{s:s}", "stream", token));
}

/* Takes the reference of args. */
static int open_stream(struct http_request *q, uint32_t port,
	int (*first)(int fd, const json_t *args, struct kerr *e), json_t *args, struct kerr *e)
{
	struct stream_op *op;
	struct agent *a;
	int r = route_agent(q, &a, e);

	op = r == 0 ? calloc(1, sizeof(*op)) : NULL;
	if (!op) {
		json_decref(args);
		return r < 0 ? r : kerr_errno(e, ENOMEM, "stream");
	}
	op->q = q;
	op->first = first;
	op->args = args;
	q->op = op;
	q->op_free = op_free;
	return agent_open_stream(a, port, connected, op, &op->connect, e);
}

static int connect_port(struct http_request *q, struct kerr *e)
{
	json_int_t port = json_integer_value(json_object_get(q->body, "port"));

	return open_stream(q, (uint32_t)port, NULL, NULL, e);
}

/* The same with env as a list, as the guest takes it. */
static json_t *exec_args(const struct http_request *q)
{
	const json_t *env = json_object_get(q->body, "env");
	json_t *args = json_copy(q->body);
	json_t *list = json_array();
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)env, key, value)(void)
		json_array_append_new(list, json_sprintf("%s=%s", key, json_string_value(value)));
	if (!args || json_object_set_new(args, "env", list) < 0 ||
		json_array_size(list) != json_object_size(env)) {
		json_decref(args);
		return NULL;
	}
	return args;
}

/* Asks the guest's service; takes the reference of args. */
static int service(struct http_request *q, int (*check)(const json_t *args, struct kerr *e),
	int (*send)(int fd, const json_t *args, struct kerr *e), json_t *args, struct kerr *e)
{
	int r = args ? check(args, e) : kerr_errno(e, ENOMEM, "stream");

	if (r < 0) {
		json_decref(args);
		return r;
	}
	return open_stream(q, GUEST_PORT_EXEC, send, args, e);
}

static int exec(struct http_request *q, struct kerr *e)
{
	return service(q, exec_request_check, exec_request_send, exec_args(q), e);
}

static int attach(struct http_request *q, struct kerr *e)
{
	return service(q, attach_request_check, attach_request_send, json_incref(q->body), e);
}

static int copy(struct http_request *q, struct kerr *e)
{
	return service(q, copy_request_check, copy_request_send, json_incref(q->body), e);
}

static const struct http_field exec_body[] = {
	{ .key = "argv", .kind = HTTP_LIST, .required = true, .min = 1, .max = 256 },
	{ .key = "env", .kind = HTTP_MAP },
	{ .key = "user", .kind = HTTP_TEXT, .max = 1024 },
	{ .key = "cwd", .kind = HTTP_TEXT, .max = 1024 },
	{ .key = "tty", .kind = HTTP_BOOL },
	{ .key = "rows", .kind = HTTP_INT, .min = 1, .max = GUEST_WINSIZE_MAX },
	{ .key = "cols", .kind = HTTP_INT, .min = 1, .max = GUEST_WINSIZE_MAX },
	{ 0 },
};

static const struct http_field attach_body[] = {
	{ .key = "rows", .kind = HTTP_INT, .min = 1, .max = GUEST_WINSIZE_MAX },
	{ .key = "cols", .kind = HTTP_INT, .min = 1, .max = GUEST_WINSIZE_MAX },
	{ 0 },
};

static const struct http_field copy_body[] = {
	{ .key = "path", .kind = HTTP_TEXT, .required = true, .min = 1, .max = COPY_PATH_MAX },
	{ .key = "direction", .kind = HTTP_TEXT, .required = true },
	{ .key = "owners", .kind = HTTP_BOOL },
	{ 0 },
};

static const struct http_field connect_body[] = {
	{ .key = "port",
		.kind = HTTP_INT,
		.required = true,
		.min = GUEST_PORT_EXEC + 1,
		.max = UINT32_MAX - 1 },
	{ 0 },
};

const struct route stream_routes[] = {
	{ .method = "POST", .path = "/v1/agents/{ref}/exec", .fn = exec, .body = exec_body },
	{ .method = "POST",
		.path = "/v1/agents/{ref}/connect",
		.fn = connect_port,
		.body = connect_body },
	{ .method = "POST", .path = "/v1/agents/{ref}/attach", .fn = attach, .body = attach_body },
	{ .method = "POST", .path = "/v1/agents/{ref}/copy", .fn = copy, .body = copy_body },
	{ 0 },
};
