#include <string.h>

#include "safe.h"
#include "verbs.h"

void help_verbs(FILE *f)
{
	(void)fputs("usage: kosvm VERB [OPTION...] [ARGUMENT...]\n\n"
		    "Hosts untrusted agents, each in a microVM of its own.\n\n",
		f);
	for (const struct cmd *const *c = cli_cmds; *c; c++)
		(void)fprintf(f, "  %-11s %s\n", (*c)->name, (*c)->summary);
	(void)fputs("\n`kosvm help VERB` tells more; kosvm(1) tells all.\n", f);
}

int help_unknown(const char *verb)
{
	(void)fputs("kosvm: unknown verb ", stderr);
	safe_print(stderr, verb);
	(void)fputs(": `kosvm help` lists them\n", stderr);
	return CLI_USAGE;
}

/* `kosvm help image import` as well. */
static int help(const struct cmd *c, int argc, char **argv)
{
	const struct cmd *verb;
	int r = cli_no_options(c, argc, argv);

	if (r >= 0)
		return r;
	/* `kosvm help --version` has no such verb either. */
	if (argc == 1) {
		help_verbs(stdout);
		return 0;
	}
	verb = cli_find(argv[1]);
	if (!verb)
		return help_unknown(argv[1]);
	for (const struct cmd *const *s = verb->subs; s && *s && argc > 2; s++) {
		if (strcmp((*s)->name + strlen(verb->name) + 1, argv[2]) == 0)
			return cli_help(*s);
	}
	return cli_help(verb);
}

const struct cmd cmd_help = {
	.name = "help",
	.args = "[VERB]",
	.summary = "say how a verb is used",
	.fn = help,
	.words = WORDS_VERBS,
};
