/* kosvmd itself, and the keys it trusts. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <images/store.h>
#include <manifests/keyring.h>
#include <manifests/minisign.h>

#include "routes.h"

static int version(struct http_request *q, struct kerr *e)
{
	(void)e;
	http_ok(q, 200, json_pack("{s:s, s:i}", "version", KOSVM_VERSION, "api", API_VERSION));
	return 0;
}

static int info(struct http_request *q, struct kerr *e)
{
	_cleanup_free_ struct store_entry *images = NULL;
	struct sup *s = q->sup;
	struct keyring keys = { 0 };
	struct http_counts counts;
	size_t nimages = 0;
	struct agent *a;
	int total = 0;
	int running = 0;
	int r = store_list(s->images_fd, &images, &nimages, e);

	if (r == 0)
		r = keyring_load(s->keys_fd, &keys, e);
	if (r < 0)
		return r;
	LIST_FOREACH(a, &s->agents, link)
	{
		total++;
		running += a->state == AGENT_RUNNING;
	}
	http_counts(s->http, &counts);
	http_ok(q, 200,
		json_pack("{s:s, s:i, s:I, s:o, s:o, s:o, s:o, s:i, s:i, s:i, s:i, s:i, s:o, s:o}",
			"version", KOSVM_VERSION, "pid", (int)getpid(), "started_ns",
			(json_int_t)s->started_ns, "state_dir", api_text(s->paths.state_dir),
			"run_dir", api_text(s->paths.run_dir), "vmm", api_text(s->vmm_program),
			"init", api_text(s->init_program), "agents", total, "running", running,
			"images", (int)nimages, "keys", (int)keys.count, "clients",
			(int)counts.clients, "isolation",
			isolation_describe(&s->isolation, &s->sandbox), "quotas",
			quotas_describe(&s->quotas)));
	keyring_done(&keys);
	return 0;
}

/* ---- keys ---- */

static int list_keys(struct http_request *q, struct kerr *e)
{
	struct keyring keys = { 0 };
	json_t *list = json_array();
	int r = list ? keyring_load(q->sup->keys_fd, &keys, e) : kerr_errno(e, ENOMEM, "keys");

	if (r < 0) {
		json_decref(list);
		return r;
	}
	for (size_t i = 0; i < keys.count; i++) {
		char id[17];

		minisign_key_id_text(keys.entries[i].pub.key_id, id);
		(void)json_array_append_new(list,
			json_pack("{s:s, s:o}", "id", id, "comment",
				api_text(keys.entries[i].comment)));
	}
	keyring_done(&keys);
	http_ok(q, 200, json_pack("{s:o}", "keys", list));
	return 0;
}

static int trust_key(struct http_request *q, struct kerr *e)
{
	const json_t *key = json_object_get(q->body, "key");
	const char *file = route_text(q, "file");
	struct minisign_pub pub;
	char id[17];
	int r = keyring_trust(q->sup->keys_fd, *file ? file : "key", json_string_value(key),
		json_string_length(key), &pub, e);

	if (r < 0)
		return r;
	minisign_key_id_text(pub.key_id, id);
	events_publish(q->sup, "key.trust", json_pack("{s:s}", "key", id));
	http_ok(q, 201, json_pack("{s:s}", "id", id));
	return 0;
}

static int remove_key(struct http_request *q, struct kerr *e)
{
	int r = keyring_remove(q->sup->keys_fd, q->args[0], e);

	if (r < 0)
		return r;
	events_publish(q->sup, "key.remove", json_pack("{s:s}", "key", q->args[0]));
	http_ok(q, 200, NULL);
	return 0;
}

static const struct http_field trust_body[] = {
	{ .key = "key", .kind = HTTP_TEXT, .required = true, .max = MINISIGN_FILE_MAX },
	{ .key = "file", .kind = HTTP_TEXT, .max = 4096 },
	{ 0 },
};

const struct route host_routes[] = {
	{ .method = "GET", .path = "/v1/version", .fn = version },
	{ .method = "GET", .path = "/v1/info", .fn = info },
	{ .method = "GET", .path = "/v1/keys", .fn = list_keys },
	{ .method = "POST", .path = "/v1/keys", .fn = trust_key, .body = trust_body },
	{ .method = "DELETE", .path = "/v1/keys/{id}", .fn = remove_key },
	{ 0 },
};
