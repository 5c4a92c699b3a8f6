#include <stdio.h>

#include "each.h"
#include "print.h"
#include "verbs.h"

static void print_code(const char *name, const json_t *ok)
{
	const json_t *code = json_object_get(ok, "exit_code");

	if (json_is_integer(code)) {
		(void)printf("%lld\n", (long long)json_integer_value(code));
		return;
	}
	/* It never had one: the VM ended before the agent did. */
	(void)puts("-1");
	(void)fprintf(stderr, "kosvm wait: agent %s: ", name);
	(void)fflush(stderr);
	(void)fprintf(stderr, "%s\n", cli_text(ok, "state"));
}

static int wait_for(const struct cmd *c, int argc, char **argv)
{
	return each_agent(c, "wait", argc, argv, print_code);
}

const struct cmd cmd_wait = {
	.name = "wait",
	.args = "NAME...",
	.summary = "wait for agents to end and print their exit codes",
	.more = "Prints one exit code a line, -1 for an agent whose VM ended first.\n",
	.fn = wait_for,
	.words = WORDS_AGENTS,
};
