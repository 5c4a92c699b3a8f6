#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <base/log.h>

#include "cli.h"
#include "safe.h"

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
	safe_print(stderr, e->msg);
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

int cli_no_options(const char *verb, int argc, char **argv, const char *more)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c = getopt_long(argc, argv, "+h", options, NULL);

	if (c == -1)
		return -1;
	return c == 'h' ? cli_help(verb, more) : cli_usage(verb, "see above");
}

/* kosvmd takes plain files only: what comes through a pipe is put into a nameless one. */
static int spool_stdin(struct kerr *e)
{
	const char *dir = getenv("TMPDIR");
	_cleanup_close_ int fd = -1;
	char buf[65536];
	ssize_t n;

	if (!dir || !*dir)
		dir = "/var/tmp";
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return kerr_errno(e, errno, "standard input: a temporary file in %s", dir);
	while ((n = read(STDIN_FILENO, buf, sizeof(buf))) != 0) {
		int r = n > 0 ? io_write_full(fd, buf, (size_t)n) : 0;

		if (n < 0 && errno != EINTR)
			return kerr_errno(e, errno, "standard input");
		if (r < 0)
			return kerr_errno(e, -r, "standard input: a temporary file in %s", dir);
	}
	if (lseek(fd, 0, SEEK_SET) < 0)
		return kerr_errno(e, errno, "standard input");
	return steal_fd(&fd);
}

int cli_open(const char *path, int flags, struct kerr *e)
{
	struct stat st;
	int fd;

	if (strcmp(path, "-") == 0) {
		if (fstat(STDIN_FILENO, &st) < 0)
			return kerr_errno(e, errno, "standard input");
		if (!S_ISREG(st.st_mode))
			return spool_stdin(e);
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	} else {
		fd = open(path, flags | O_CLOEXEC);
	}
	return fd < 0 ? kerr_errno(e, errno, "%s", path) : fd;
}

/*
 * A caller may have closed 0, 1 or 2. Then a socket or a key's file would
 * get that number, and messages would be written into it: each is filled
 * with something that can only fail.
 */
static void fill_std_fds(void)
{
	static const int flags[] = { O_WRONLY, O_RDONLY, O_RDONLY };

	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", flags[fd]) != fd)
			_exit(CLI_FAILED);
	}
}

/* What was printed must have arrived. A reader that went away is told by the exit code alone. */
static int finish(int code)
{
	int error = fflush(stdout) < 0 ? errno : ferror(stdout) ? EIO : 0;

	if (error == 0)
		return code;
	if (error != EPIPE)
		(void)fprintf(stderr, "kosvm: standard output: %s\n", strerror(error));
	return code ? code : CLI_FAILED;
}

static int run(int argc, char **argv)
{
	const struct cmd *c;

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

int main(int argc, char **argv)
{
	fill_std_fds();
	log_init("kosvm", log_level_from_env(LOG_LEVEL_WARN));
	(void)signal(SIGPIPE, SIG_IGN);
	return finish(run(argc, argv));
}
