/* The kill switch. */
#include <errno.h>
#include <string.h>

#include "panic.h"
#include "routes.h"

static int get(struct http_request *q, struct kerr *e)
{
	(void)e;
	http_ok(q, 200, panic_describe(q->sup));
	return 0;
}

static int set(struct http_request *q, struct kerr *e)
{
	const char *action = route_text(q, "action");
	bool kill = strcmp(action, "kill") == 0;
	int r;

	if (!kill && strcmp(action, "freeze") != 0)
		return kerr_set(e, EINVAL, "action: expected freeze or kill");
	r = panic_set(q->sup, kill, json_object_get(q->body, "labels"), route_text(q, "reason"), e);
	if (r == 0)
		http_ok(q, 200, panic_describe(q->sup));
	return r;
}

static int clear(struct http_request *q, struct kerr *e)
{
	int r = panic_clear(q->sup, e);

	if (r == 0)
		http_ok(q, 200, panic_describe(q->sup));
	return r;
}

static const struct http_field panic_body[] = {
	{ .key = "action", .kind = HTTP_TEXT, .required = true },
	{ .key = "reason", .kind = HTTP_TEXT, .required = true, .min = 1, .max = 200 },
	{ .key = "labels", .kind = HTTP_MAP },
	{ 0 },
};

const struct route panic_routes[] = {
	{ .method = "GET", .path = "/v1/panic", .fn = get },
	{ .method = "POST", .path = "/v1/panic", .fn = set, .body = panic_body },
	{ .method = "DELETE", .path = "/v1/panic", .fn = clear },
	{ 0 },
};
