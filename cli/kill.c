#include <getopt.h>

#include "each.h"
#include "signame.h"
#include "verbs.h"

static int kill_agents(const struct cmd *c, int argc, char **argv)
{
	struct each how = {
		.kind = CALL_LONG,
		.method = "POST",
		.collection = "/v1/agents",
		.action = "kill",
	};
	json_t *body = NULL;
	int o;
	int r;

	while ((o = cli_opt(c, argc, argv)) > 0) {
		int signo = signame_parse(optarg);

		json_decref(body);
		if (signo < 0)
			return cli_usage(
				c, "--signal %s: expected a signal such as TERM or 15", optarg);
		body = json_pack("{s:i}", "signal", signo);
		how.kind = CALL_SHORT;
	}
	how.body = body;
	if (o != -1)
		r = CLI_OPT_EXIT(o);
	else if (optind >= argc)
		r = cli_usage(c, "expected names of agents");
	else
		r = each_name(c, &how, argc - optind, argv + optind);
	json_decref(body);
	return r;
}

const struct cmd cmd_kill = {
	.name = "kill",
	.args = "[-s SIGNAL] NAME...",
	.summary = "end agents at once, or send them a signal",
	.more = "Without -s the VM ends as if the power went.\n",
	.opts =
		(const struct opt[]){
			{ "signal", 's', "SIGNAL",
				"send the agent's process this instead, such as HUP or 1" },
			{ 0 } },
	.fn = kill_agents,
	.words = WORDS_AGENTS,
};
