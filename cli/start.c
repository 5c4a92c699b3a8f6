#include <string.h>

#include "names.h"

int cmd_start(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], "--help") == 0)
		return cli_help("start", NULL);
	if (argc < 2 || argv[1][0] == '-')
		return cli_usage("start", "expected names of agents");
	return names_each("start", "start", argc - 1, argv + 1, NULL, names_print);
}
