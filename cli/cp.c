#include <errno.h>
#include <getopt.h>
#include <unistd.h>

#include "copy.h"
#include "verbs.h"

static int copy(const struct cmd *c, const char *from, const char *to, unsigned flags)
{
	struct copy_path src = { 0 };
	struct copy_path dst = { 0 };
	struct kerr err = { 0 };
	int r;

	if (copy_path_parse(from, &src) < 0)
		r = cli_usage(c, "%s: expected NAME:PATH, a path here, or -", from);
	else if (copy_path_parse(to, &dst) < 0)
		r = cli_usage(c, "%s: expected NAME:PATH, a path here, or -", to);
	else if (!src.agent == !dst.agent)
		r = cli_usage(c, "expected NAME: before one of the two paths");
	else if (dst.stream && isatty(STDOUT_FILENO))
		r = cli_usage(c, "-: a tar stream is nothing for a terminal: send it to a file");
	else if ((src.agent ? copy_out(&src, &dst, flags, &err)
			    : copy_in(&src, &dst, flags, &err)) < 0)
		r = cli_fail(c, &err);
	else
		r = 0;
	copy_path_done(&src);
	copy_path_done(&dst);
	return r;
}

static int cp(const struct cmd *c, int argc, char **argv)
{
	unsigned flags = 0;
	int o;

	while ((o = cli_opt(c, argc, argv)) > 0)
		flags |= o == 'L' ? COPY_FOLLOW : COPY_OWNERS;
	if (o != -1)
		return CLI_OPT_EXIT(o);
	if (argc - optind != 2)
		return cli_usage(c, "expected a source and a destination");
	return copy(c, argv[optind], argv[optind + 1], flags);
}

const struct cmd cmd_cp = {
	.name = "cp",
	.args = "[-a] [-L] NAME:PATH PATH|- , or: [-a] [-L] PATH|- NAME:PATH",
	.summary = "copy files and directories between an agent and here",
	.more = "Into a directory that is there, else to that name. PATH/. is what is in a\n"
		"directory, without itself. - is a tar stream, on standard input or output.\n"
		"Without -a copies belong to the user here, to the agent's user there.\n",
	.opts = (const struct opt[]){ { "archive", 'a', NULL,
					      "keep owners, as numbers (out: as root)" },
		{ "follow-link", 'L', NULL, "copy what a symbolic link PATH here points to" },
		{ 0 } },
	.fn = cp,
	.words = WORDS_AGENT_PATHS,
};
