#include <getopt.h>

#include "names.h"

int cmd_start(int argc, char **argv)
{
	int r = cli_no_options("start", argc, argv, NULL);

	if (r >= 0)
		return r;
	if (optind >= argc)
		return cli_usage("start", "expected names of agents");
	return names_each("start", "start", argc - optind, argv + optind, NULL, names_print);
}
