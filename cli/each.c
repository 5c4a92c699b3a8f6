#include "each.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

static int one(const struct each *how, const char *name, struct kerr *e)
{
	json_t *valid = call_string("the name", name, e);
	json_t *ok = NULL;
	struct url *u;
	int r;

	json_decref(valid);
	if (!valid)
		return -EINVAL;
	if (!*name)
		return kerr_set(e, EINVAL, "an empty name: expected the name of something");
	u = url_new(how->collection);
	url_segment(u, name);
	if (how->action)
		url_segment(u, how->action);
	if (how->query_key)
		url_query(u, how->query_key, "true");
	r = call_kosvmd(
		how->kind, how->method, u, how->body ? json_deep_copy(how->body) : NULL, &ok, e);
	if (r == 0 && how->done)
		how->done(name, ok);
	else if (r == 0)
		(void)puts(name);
	json_decref(ok);
	return r;
}

int each_name(const struct cmd *c, const struct each *how, int count, char **names)
{
	int code = 0;

	for (int i = 0; i < count; i++) {
		struct kerr err = { 0 };

		if (one(how, names[i], &err) < 0)
			code = cli_fail(c, &err);
		(void)fflush(stdout);
	}
	return code;
}

int each_agent(const struct cmd *c, const char *action, int argc, char **argv,
	void (*done)(const char *name, const json_t *ok))
{
	const struct each how = {
		.kind = CALL_LONG,
		.method = "POST",
		.collection = "/v1/agents",
		.action = action,
		.done = done,
	};
	int r = cli_no_options(c, argc, argv);

	if (r >= 0)
		return r;
	if (optind >= argc)
		return cli_usage(c, "expected names of agents");
	return each_name(c, &how, argc - optind, argv + optind);
}
