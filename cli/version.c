#include <getopt.h>
#include <stdio.h>

#include "verbs.h"

/* This program's only: it asks nobody, so that it always answers, and at once. */
static int version(const struct cmd *c, int argc, char **argv)
{
	int r = cli_no_options(c, argc, argv);

	if (r >= 0)
		return r;
	if (optind < argc)
		return cli_usage(c, "unexpected argument %s", argv[optind]);
	(void)puts("kosvm " KOSVM_VERSION);
	return 0;
}

const struct cmd cmd_version = {
	.name = "version",
	.args = "",
	.summary = "print the version",
	.fn = version,
};
