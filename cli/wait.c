#include <getopt.h>
#include <stdio.h>

#include "names.h"

static void print_code(const char *name, const struct call *c)
{
	const json_t *code = json_object_get(c->ok, "exit_code");

	if (json_is_integer(code)) {
		(void)printf("%lld\n", (long long)json_integer_value(code));
		return;
	}
	/* It never had one: the VM ended before the agent did. */
	(void)puts("-1");
	(void)fprintf(stderr, "kosvm wait: agent %s: ", name);
	(void)fflush(stderr);
	(void)fprintf(stderr, "%s\n", cli_text(c->ok, "state"));
}

int cmd_wait(int argc, char **argv)
{
	int r = cli_no_options("wait", argc, argv,
		"Prints one exit code a line, -1 for an agent whose VM ended first.\n");

	if (r >= 0)
		return r;
	if (optind >= argc)
		return cli_usage("wait", "expected names of agents");
	return names_each("wait", "wait", argc - optind, argv + optind, NULL, print_code);
}
