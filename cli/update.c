#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include <base/units.h>

#include "each.h"
#include "verbs.h"

enum {
	OPT_DISK_BANDWIDTH = OPT_LONG,
	OPT_DISK_OPS,
	OPT_DISK_BURST,
	OPT_VSOCK_BANDWIDTH,
	OPT_VSOCK_BURST,
	OPT_CPU,
	OPT_CPU_WEIGHT,
	OPT_RESET,
};

static int parse_count(const char *s, uint64_t *ret)
{
	return units_parse_u64(s, INT64_MAX, ret);
}

static const struct limit {
	int key;
	const char *name; /* in the request */
	int (*parse)(const char *s, uint64_t *ret);
	const char *expected;
	bool may_be_none;
} limits[] = {
	{ OPT_DISK_BANDWIDTH, "disk_bandwidth", units_parse_size, "a size such as 20M", true },
	{ OPT_DISK_OPS, "disk_ops", parse_count, "a number such as 500", true },
	{ OPT_DISK_BURST, "disk_burst", units_parse_size, "a size such as 40M", true },
	{ OPT_VSOCK_BANDWIDTH, "vsock_bandwidth", units_parse_size, "a size such as 10M", true },
	{ OPT_VSOCK_BURST, "vsock_burst", units_parse_size, "a size such as 10M", true },
	{ OPT_CPU, "cpu_permille", units_parse_share, "a share such as 50% or 1.5", true },
	{ OPT_CPU_WEIGHT, "cpu_weight", parse_count, "a number such as 100", false },
	{ 0 },
};

/* NULL: it is none of what is expected. */
static json_t *value_of(const struct limit *l, const char *text)
{
	uint64_t n = 0;

	if (strcmp(text, "manifest") == 0)
		return json_null();
	if (l->may_be_none && strcmp(text, "none") == 0)
		return json_integer(0);
	if (l->parse(text, &n) < 0 || n > INT64_MAX)
		return NULL;
	return json_integer((json_int_t)n);
}

static int take(const struct cmd *c, json_t *body, int o)
{
	const struct limit *l = limits;
	json_t *v;

	while (l->name && l->key != o)
		l++;
	if (!l->name)
		return json_object_set_new(body, "reset", json_true());
	v = value_of(l, optarg);
	if (!v)
		return cli_usage(c, "%s: expected %s%s, or manifest", optarg, l->expected,
			l->may_be_none ? ", none" : "");
	return json_object_set_new(body, l->name, v);
}

static int update(const struct cmd *c, int argc, char **argv)
{
	struct each how = {
		.kind = CALL_SHORT,
		.method = "PATCH",
		.collection = "/v1/agents",
	};
	json_t *body = json_object();
	int r = 0;
	int o = 0;

	while (r == 0 && (o = cli_opt(c, argc, argv)) > 0)
		r = take(c, body, o);
	if (r == 0 && o != -1)
		r = CLI_OPT_EXIT(o);
	else if (r == 0 && json_object_size(body) == 0)
		r = cli_usage(c, "nothing to change: expected --disk-bandwidth or another limit");
	else if (r == 0 && optind >= argc)
		r = cli_usage(c, "expected names of agents");
	else if (r == 0) {
		how.body = body;
		r = each_name(c, &how, argc - optind, argv + optind);
	}
	json_decref(body);
	return r;
}

const struct cmd cmd_update = {
	.name = "update",
	.args = "[LIMIT]... NAME...",
	.summary = "change the limits of agents, also while they run",
	.more = "What is changed stays across restarts. Instead of a value, `none` is no limit, and\n"
		"`manifest` what the manifest says. `kosvm inspect` shows what holds.\n",
	.opts = (const struct opt[]){ { "disk-bandwidth", OPT_DISK_BANDWIDTH, "SIZE",
					      "bytes that all its disks may move in a second" },
		{ "disk-ops", OPT_DISK_OPS, "N", "their operations in a second" },
		{ "disk-burst", OPT_DISK_BURST, "SIZE",
			"bytes at once after a rest; none: one second's worth" },
		{ "vsock-bandwidth", OPT_VSOCK_BANDWIDTH, "SIZE",
			"bytes a second over vsock, both ways together" },
		{ "vsock-burst", OPT_VSOCK_BURST, "SIZE", "the same as --disk-burst" },
		{ "cpu", OPT_CPU, "SHARE", "processors: 50% or 1.5" },
		{ "cpu-weight", OPT_CPU_WEIGHT, "N",
			"its part where processors are short, 1 to 10000" },
		{ "reset", OPT_RESET, NULL,
			"everything as the manifest says, but for what else is given" },
		{ 0 } },
	.fn = update,
	.words = WORDS_AGENTS,
};
