#include <getopt.h>

#include <base/clock.h>
#include <base/units.h>

#include "each.h"
#include "grace.h"
#include "verbs.h"

json_t *grace_parse(const char *text)
{
	uint64_t ns;

	if (units_parse_duration(text, &ns) < 0 || ns > 86400 * CLOCK_NS_PER_S)
		return NULL;
	/* 0 would be the manifest's. */
	return json_pack(
		"{s:I}", "grace_ms", (json_int_t)(ns < CLOCK_NS_PER_MS ? 1 : ns / CLOCK_NS_PER_MS));
}

/* stop and restart. */
static int end(const struct cmd *c, int argc, char **argv)
{
	struct each how = {
		.kind = CALL_LONG,
		.method = "POST",
		.collection = "/v1/agents",
		.action = c->name,
	};
	json_t *body = NULL;
	int o;
	int r;

	while ((o = cli_opt(c, argc, argv)) > 0) {
		if (o == OPT_LONG) {
			how.action = "kill";
			continue;
		}
		json_decref(body);
		body = grace_parse(optarg);
		if (!body)
			return cli_usage(
				c, "--timeout %s: expected a duration such as 30s", optarg);
	}
	if (o != -1)
		r = CLI_OPT_EXIT(o);
	else if (optind >= argc)
		r = cli_usage(c, "expected names of agents");
	else {
		how.body = how.action == c->name ? body : NULL;
		r = each_name(c, &how, argc - optind, argv + optind);
	}
	json_decref(body);
	return r;
}

const struct cmd cmd_stop = {
	.name = "stop",
	.args = "[-t TIME] [--kill] NAME...",
	.summary = "end agents in good order",
	.more = "The agent gets SIGTERM, its state is synced and unmounted, and the VM switches\n"
		"itself off. What does not end in time is ended from outside.\n",
	.opts =
		(const struct opt[]){
			{ "timeout", 't', "TIME",
				"grace for the agent, such as 30s (default: the manifest's)" },
			{ "kill", OPT_LONG, NULL, "end the VM at once, as if the power went" },
			{ 0 } },
	.fn = end,
	.words = WORDS_AGENTS,
};

const struct cmd cmd_restart = {
	.name = "restart",
	.args = "[-t TIME] NAME...",
	.summary = "end agents in good order and start them again",
	.opts =
		(const struct opt[]){
			{ "timeout", 't', "TIME",
				"grace for the agent, such as 30s (default: the manifest's)" },
			{ 0 } },
	.fn = end,
	.words = WORDS_AGENTS,
};
