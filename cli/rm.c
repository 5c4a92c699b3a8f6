#include <getopt.h>

#include "each.h"
#include "verbs.h"

static int rm(const struct cmd *c, int argc, char **argv)
{
	struct each how = {
		.kind = CALL_LONG,
		.method = "DELETE",
		.collection = "/v1/agents",
	};
	int o;

	while ((o = cli_opt(c, argc, argv)) > 0)
		how.query_key = "force";
	if (o != -1)
		return CLI_OPT_EXIT(o);
	if (optind >= argc)
		return cli_usage(c, "expected names of agents");
	return each_name(c, &how, argc - optind, argv + optind);
}

const struct cmd cmd_rm = {
	.name = "rm",
	.args = "[-f] NAME...",
	.summary = "remove agents and their state",
	.more = "The state disk and the logs go too, for good.\n",
	.opts = (const struct opt[]){ { "force", 'f', NULL, "end a running agent first" }, { 0 } },
	.fn = rm,
	.words = WORDS_AGENTS,
};
