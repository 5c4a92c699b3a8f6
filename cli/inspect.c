#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "each.h"
#include "print.h"
#include "verbs.h"

static json_t *found;

static void collect(const char *name, const json_t *ok)
{
	(void)name;
	(void)json_array_append(found, (json_t *)ok);
}

static int inspect(const struct cmd *c, int argc, char **argv)
{
	const struct each how = {
		.kind = CALL_SHORT,
		.method = "GET",
		.collection = "/v1/agents",
		.done = collect,
	};
	int r = cli_no_options(c, argc, argv);

	if (r >= 0)
		return r;
	if (optind >= argc)
		return cli_usage(c, "expected names of agents");
	found = json_array();
	r = each_name(c, &how, argc - optind, argv + optind);
	cli_print_pretty(found);
	json_decref(found);
	return r;
}

const struct cmd cmd_inspect = {
	.name = "inspect",
	.args = "NAME...",
	.summary = "print all that is known of agents, as JSON",
	.more = "A list with an object for each: manifest, boots, states and all that `ps` has.\n",
	.fn = inspect,
	.words = WORDS_AGENTS,
};
