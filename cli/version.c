#include <getopt.h>
#include <stdio.h>

#include "cli.h"

int cmd_version(int argc, char **argv)
{
	int r = cli_no_options("version", argc, argv, NULL);

	if (r >= 0)
		return r;
	if (optind < argc)
		return cli_usage("version", "unexpected argument %s", argv[optind]);
	(void)puts("kosvm " KOSVM_VERSION);
	return 0;
}
