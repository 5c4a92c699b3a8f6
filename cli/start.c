#include "each.h"
#include "verbs.h"

static int start(const struct cmd *c, int argc, char **argv)
{
	return each_agent(c, "start", argc, argv, NULL);
}

const struct cmd cmd_start = {
	.name = "start",
	.args = "NAME...",
	.summary = "start created or stopped agents; their state goes on",
	.fn = start,
	.words = WORDS_AGENTS,
};
