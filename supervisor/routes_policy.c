/* POST /v1/policy: what would hold for an agent of this manifest. */
#include <string.h>

#include <manifests/manifest.h>

#include "policy.h"
#include "routes.h"

static int explain(struct http_request *q, struct kerr *e)
{
	const json_t *text = json_object_get(q->body, "manifest");
	const char *file = route_text(q, "file");
	json_t *answer = NULL;
	int r = policy_explain(q->sup, *file ? file : "manifest", json_string_value(text),
		json_string_length(text), &answer, e);

	if (r == 0)
		http_ok(q, 200, answer);
	return r;
}

static const struct http_field policy_body[] = {
	{ .key = "manifest", .kind = HTTP_TEXT, .required = true, .max = MANIFEST_MAX_BYTES },
	{ .key = "file", .kind = HTTP_TEXT, .max = 4096 },
	{ 0 },
};

const struct route policy_routes[] = {
	{ .method = "POST", .path = "/v1/policy", .fn = explain, .body = policy_body },
	{ 0 },
};
