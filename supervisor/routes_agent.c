/* Agents as things: listed, created, looked at, removed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <manifests/minisign.h>

#include "routes.h"

int route_agent(struct http_request *q, struct agent **ret, struct kerr *e)
{
	*ret = agent_find(q->sup, q->args[0], e);
	return *ret ? 0 : -(e->code ? e->code : ENOENT);
}

const char *route_text(const struct http_request *q, const char *key)
{
	const char *s = json_string_value(json_object_get(q->body, key));

	return s ? s : "";
}

bool route_flag(const struct http_request *q, const char *key)
{
	return json_is_true(json_object_get(q->body, key));
}

/* ---- GET /v1/agents ---- */

/* "key" or "key=value" */
static bool has_label(const json_t *labels, const char *wanted)
{
	const char *eq = strchrnul(wanted, '=');
	const char *value;
	_cleanup_free_ char *key = strndup(wanted, (size_t)(eq - wanted));

	value = key ? json_string_value(json_object_get(labels, key)) : NULL;
	return value && (*eq == '\0' || strcmp(value, eq + 1) == 0);
}

static bool is_wanted(const struct http_request *q, const struct agent *a)
{
	const char *state = http_target_query(&q->target, "state");
	const char *name = http_target_query(&q->target, "name");

	if (state ? strcmp(state, agent_state_name(a->state)) != 0
		  : !http_query_bool(&q->target, "all", false) && !agent_state_live(a->state))
		return false;
	return !name || strstr(a->row.name, name);
}

static bool has_labels(const struct http_request *q, const json_t *described)
{
	for (size_t i = 0; i < q->target.nquery; i++) {
		if (strcmp(q->target.query[i].key, "label") == 0 &&
			!has_label(json_object_get(described, "labels"), q->target.query[i].value))
			return false;
	}
	return true;
}

static int by_name(const void *x, const void *y)
{
	const struct agent *const *a = x;
	const struct agent *const *b = y;

	return strcmp((*a)->row.name, (*b)->row.name);
}

/* All agents, in order of their names; to be freed. */
static struct agent **sorted(struct sup *s, size_t *ret_count)
{
	struct agent **list;
	struct agent *a;
	size_t n = 0;

	LIST_FOREACH(a, &s->agents, link)
	n++;
	list = calloc(n + 1, sizeof(struct agent *));
	if (!list)
		return NULL;
	*ret_count = n;
	n = 0;
	LIST_FOREACH(a, &s->agents, link)
	list[n++] = a;
	qsort(list, n, sizeof(struct agent *), by_name);
	return list;
}

static int list_agents(struct http_request *q, struct kerr *e)
{
	const char *state = http_target_query(&q->target, "state");
	_cleanup_free_ struct agent **list = NULL;
	enum agent_state known;
	json_t *out;
	size_t n = 0;

	if (state && agent_state_parse(state, &known) < 0)
		return kerr_set(e, EINVAL, "state: no state is named %.64s", state);
	list = sorted(q->sup, &n);
	out = json_array();
	if (!list || !out) {
		json_decref(out);
		return kerr_errno(e, ENOMEM, "agents");
	}
	for (size_t i = 0; i < n; i++) {
		/* Describing is most of the work: done for those that may be wanted. */
		json_t *o = is_wanted(q, list[i]) ? agent_describe(list[i]) : NULL;

		if (!o || !has_labels(q, o))
			json_decref(o);
		else
			(void)json_array_append_new(out, o);
	}
	http_ok(q, 200, json_pack("{s:o}", "agents", out));
	return 0;
}

/* ---- POST /v1/agents ---- */

static int create(struct http_request *q, struct kerr *e)
{
	const json_t *manifest = json_object_get(q->body, "manifest");
	const json_t *signature = json_object_get(q->body, "signature");
	const char *file = route_text(q, "manifest_file");
	const char *sig_file = route_text(q, "signature_file");
	const char *name = json_string_value(json_object_get(q->body, "name"));
	const struct agent_launch launch = {
		.name = name,
		.env = json_object_get(q->body, "env"),
		.tty = route_flag(q, "tty"),
		.open_stdin = route_flag(q, "stdin"),
		.remove = route_flag(q, "remove"),
		.linger_ms = (unsigned)json_integer_value(json_object_get(q->body, "linger_ms")),
		.provisional = route_flag(q, "start"),
		.rows = (unsigned)json_integer_value(json_object_get(q->body, "rows")),
		.cols = (unsigned)json_integer_value(json_object_get(q->body, "cols")),
	};
	struct agent *a;
	int r;

	r = agent_create(q->sup, *file ? file : "manifest", json_string_value(manifest),
		json_string_length(manifest), *sig_file ? sig_file : "signature",
		json_string_value(signature), json_string_length(signature), &launch, &a, e);
	if (r < 0)
		return r;
	if (!launch.provisional) {
		http_ok(q, 201, agent_describe(a));
		return 0;
	}
	r = route_start(q, a, 201, e);
	if (r < 0)
		(void)agent_remove(a, NULL);
	return r;
}

/* ---- GET, DELETE /v1/agents/{ref} ---- */

static int inspect(struct http_request *q, struct kerr *e)
{
	struct agent *a;
	int r = route_agent(q, &a, e);

	if (r == 0)
		http_ok(q, 200, agent_inspect(a));
	return r;
}

static void removal_moved(struct agent_watcher *w, struct agent *a)
{
	(void)w;
	(void)a;
}

static void removal_done(struct agent_watcher *w, const struct kerr *err)
{
	struct agent_op *op = container_of(w, struct agent_op, watcher);

	if (!err) {
		http_ok(op->q, 200, NULL);
		return;
	}
	agent_unwatch(w);
	http_fail_kerr(op->q, err);
}

static int remove_agent(struct http_request *q, struct kerr *e)
{
	struct agent_op *op;
	struct agent *a;
	int r = route_agent(q, &a, e);

	if (r < 0)
		return r;
	if (agent_state_next(a->state, AGENT_EV_PURGE)) {
		r = agent_remove(a, e);
		if (r == 0)
			http_ok(q, 200, NULL);
		return r;
	}
	if (!http_query_bool(&q->target, "force", false))
		return kerr_set(e, EBUSY, "agent %s is %s: stop it first, or `kosvm rm --force %s`",
			a->row.name, agent_state_name(a->state), a->row.name);
	op = agent_op_new(q, e);
	if (!op)
		return -ENOMEM;
	a->remove_when_ended = true;
	op->watcher.moved = removal_moved;
	op->watcher.removed = removal_done;
	agent_watch(a, &op->watcher);
	r = agent_kill(a, e);
	if (r < 0) {
		a->remove_when_ended = false;
		agent_unwatch(&op->watcher);
	}
	return r;
}

static const struct http_field list_query[] = {
	{ .key = "all", .kind = HTTP_BOOL },
	{ .key = "state", .kind = HTTP_TEXT },
	{ .key = "label", .kind = HTTP_TEXT, .repeat = true },
	{ .key = "name", .kind = HTTP_TEXT },
	{ 0 },
};

static const struct http_field create_body[] = {
	{ .key = "manifest", .kind = HTTP_TEXT, .required = true, .max = MANIFEST_MAX_BYTES },
	{ .key = "signature", .kind = HTTP_TEXT, .required = true, .max = MINISIGN_FILE_MAX },
	{ .key = "manifest_file", .kind = HTTP_TEXT, .max = 4096 },
	{ .key = "signature_file", .kind = HTTP_TEXT, .max = 4096 },
	{ .key = "name", .kind = HTTP_TEXT },
	{ .key = "env", .kind = HTTP_MAP },
	{ .key = "tty", .kind = HTTP_BOOL },
	{ .key = "stdin", .kind = HTTP_BOOL },
	{ .key = "remove", .kind = HTTP_BOOL },
	{ .key = "linger_ms", .kind = HTTP_INT, .max = 3600000 },
	{ .key = "rows", .kind = HTTP_INT, .min = 1, .max = GUEST_WINSIZE_MAX },
	{ .key = "cols", .kind = HTTP_INT, .min = 1, .max = GUEST_WINSIZE_MAX },
	{ .key = "start", .kind = HTTP_BOOL },
	{ 0 },
};

static const struct http_field remove_query[] = {
	{ .key = "force", .kind = HTTP_BOOL },
	{ 0 },
};

const struct route agent_routes[] = {
	{ .method = "GET", .path = "/v1/agents", .fn = list_agents, .query = list_query },
	{ .method = "POST", .path = "/v1/agents", .fn = create, .body = create_body, .slow = true },
	{ .method = "GET", .path = "/v1/agents/{ref}", .fn = inspect },
	{ .method = "DELETE",
		.path = "/v1/agents/{ref}",
		.fn = remove_agent,
		.query = remove_query,
		.slow = true },
	{ 0 },
};
