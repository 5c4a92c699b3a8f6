#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/log.h>

#include "cli.h"

const struct cmd cli_cmds[] = {
	{ "run", cmd_run, "[-d] MANIFEST", "verify a signed manifest and start its agent" },
	{ "ps", cmd_ps, "[-a] [-q] [--format table|json]", "list agents" },
	{ "logs", cmd_logs, "[-f] [--console] NAME", "print what an agent wrote" },
	{ "exec", cmd_exec, "[-e N=V] [-u USER] [-w DIR] NAME COMMAND [ARG...]",
		"run a command inside a running agent's VM" },
	{ "send", cmd_send, "[--port N] NAME [LINE...]", "talk to an agent over vsock" },
	{ "stop", cmd_stop, "[--timeout T] [--kill] NAME...", "end agents in good order" },
	{ "start", cmd_start, "NAME...", "start stopped agents again; their state goes on" },
	{ "wait", cmd_wait, "NAME...", "wait for agents to end and print their exit codes" },
	{ "rm", cmd_rm, "[--force] NAME...", "remove agents and their state" },
	{ "image", cmd_image, "import|ls|rm ...", "kernels, initramfs and root filesystems" },
	{ "key", cmd_key, "gen|trust|ls|rm ...", "signing keys" },
	{ "manifest", cmd_manifest, "sign|verify|check ...", "sign and check manifests" },
	{ "doctor", cmd_doctor, "[--format table|json]",
		"say what this host lacks and how to mend it" },
	{ "version", cmd_version, "", "print the version" },
	{ 0 },
};

static const struct cmd *find(const char *name)
{
	for (const struct cmd *c = cli_cmds; c->name; c++) {
		if (strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}

static void print_verbs(FILE *f)
{
	(void)fputs("usage: kosvm VERB [OPTION...] [ARGUMENT...]\n\n"
		    "Hosts untrusted agents, each in a microVM of its own.\n\n",
		f);
	for (const struct cmd *c = cli_cmds; c->name; c++)
		(void)fprintf(f, "  %-10s %s\n", c->name, c->summary);
	(void)fputs("\n`kosvm VERB --help` tells more; kosvm(1) tells all.\n", f);
}

int cli_fail(const char *verb, const struct kerr *e)
{
	(void)fprintf(stderr, "kosvm %s: ", verb);
	for (const char *p = e->msg; *p; p++)
		(void)fputc((unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p, stderr);
	(void)fputc('\n', stderr);
	return CLI_FAILED;
}

int cli_usage(const char *verb, const char *fmt, ...)
{
	const struct cmd *c = find(verb);
	va_list ap;

	(void)fprintf(stderr, "kosvm %s: ", verb);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, "\nusage: kosvm %s %s\n", verb, c ? c->args : "");
	return CLI_USAGE;
}

int cli_help(const char *verb, const char *more)
{
	const struct cmd *c = find(verb);

	if (!c)
		return CLI_USAGE;
	(void)printf("usage: kosvm %s %s\n\n%s%c%s.\n", c->name, c->args, "",
		(char)(c->summary[0] - ('a' - 'A')), c->summary + 1);
	if (more)
		(void)printf("\n%s", more);
	return 0;
}

int cli_dispatch(
	const char *verb, const struct subcmd *subs, int argc, char **argv, const char *help)
{
	if (argc < 2)
		return cli_usage(verb, "what shall be done?");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return cli_help(verb, help);
	for (const struct subcmd *s = subs; s->name; s++) {
		if (strcmp(argv[1], s->name) == 0)
			return s->fn(argc - 1, argv + 1);
	}
	return cli_usage(verb, "unknown word %s", argv[1]);
}

int cli_open(const char *path, int flags, struct kerr *e)
{
	int fd;

	if (strcmp(path, "-") == 0)
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	else
		fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? kerr_errno(e, errno, "%s", path) : fd;
}

int main(int argc, char **argv)
{
	const struct cmd *c;

	log_init("kosvm", log_level_from_env(LOG_LEVEL_WARN));
	(void)signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		print_verbs(stderr);
		return CLI_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
		(strcmp(argv[1], "help") == 0 && argc == 2)) {
		print_verbs(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0)
		return cmd_version(1, argv + 1);
	if (strcmp(argv[1], "help") == 0) {
		static char help[] = "--help";
		char *with_help[] = { argv[2], help, NULL };

		c = find(argv[2]);
		if (c)
			return c->fn(2, with_help);
		argv++;
	}
	c = find(argv[1]);
	if (!c) {
		(void)fprintf(stderr, "kosvm: unknown verb %s: `kosvm help` lists them\n", argv[1]);
		return CLI_USAGE;
	}
	return c->fn(argc - 1, argv + 1);
}
