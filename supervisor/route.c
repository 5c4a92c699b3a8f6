/* Which route a request takes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <base/cleanup.h>

#include "http.h"

/* Does the pattern fit? args get what stands for the braces. */
static bool fits(const char *pattern, const struct http_target *t, const char **args)
{
	size_t nargs = 0;
	size_t i = 0;

	for (const char *p = pattern + 1; p; i++) {
		const char *slash = strchr(p, '/');
		size_t len = slash ? (size_t)(slash - p) : strlen(p);

		if (i == t->nparts)
			return false;
		if (p[0] == '{') {
			if (t->parts[i][0] == '\0')
				return false;
			args[nargs++] = t->parts[i];
		} else if (strlen(t->parts[i]) != len || memcmp(t->parts[i], p, len) != 0) {
			return false;
		}
		p = slash ? slash + 1 : NULL;
	}
	return i == t->nparts;
}

int route_find(const char *method, const struct http_target *t, const struct route **ret,
	const char **ret_args, char allow[static 64], struct kerr *e)
{
	const struct route *const tables[] = { agent_routes, life_routes, stream_routes, log_routes,
		image_routes, host_routes, watch_routes, metrics_routes, stats_routes, panic_routes,
		update_routes, policy_routes };
	const char *args[HTTP_ARGS_MAX] = { 0 };
	size_t len = 0;

	allow[0] = '\0';
	for (size_t i = 0; i < array_size(tables); i++) {
		for (const struct route *r = tables[i]; r->path; r++) {
			if (!fits(r->path, t, args))
				continue;
			if (strcmp(r->method, method) == 0) {
				memcpy(ret_args, args, sizeof(args));
				*ret = r;
				return 0;
			}
			len += (size_t)snprintf(allow + len, len < 64 ? 64 - len : 0, "%s%s",
				len > 0 ? ", " : "", r->method);
		}
	}
	if (allow[0])
		return kerr_set(e, EOPNOTSUPP, "this address takes %s", allow);
	return kerr_set(e, ENOENT, "no such address; docs/openapi.yaml has them all");
}
