#include <getopt.h>

#include "names.h"

static bool force;

static json_t *make(void)
{
	return json_pack("{s:b}", "force", force);
}

int cmd_rm(int argc, char **argv)
{
	static const struct option options[] = {
		{ "force", no_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "+fh", options, NULL)) != -1) {
		if (c == 'f')
			force = true;
		else if (c == 'h')
			return cli_help("rm",
				"The state disk and the logs go too, for good.\n\n"
				"  -f, --force   end a running agent first\n");
		else
			return cli_usage("rm", "see above");
	}
	if (optind >= argc)
		return cli_usage("rm", "expected names of agents");
	return names_each("rm", "rm", argc - optind, argv + optind, make, names_print);
}
