#include <stdio.h>
#include <string.h>

#include "cli.h"

int cmd_version(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], "--help") == 0)
		return cli_help("version", NULL);
	if (argc > 1)
		return cli_usage("version", "unexpected argument %s", argv[1]);
	(void)puts("kosvm " KOSVM_VERSION);
	return 0;
}
