#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/log.h>

#include "verbs.h"

const struct cmd *const cli_cmds[] = {
	&cmd_run,
	&cmd_create,
	&cmd_start,
	&cmd_stop,
	&cmd_restart,
	&cmd_kill,
	&cmd_rm,
	&cmd_update,
	&cmd_ps,
	&cmd_inspect,
	&cmd_wait,
	&cmd_logs,
	&cmd_attach,
	&cmd_exec,
	&cmd_shell,
	&cmd_cp,
	&cmd_send,
	&cmd_stats,
	&cmd_top,
	&cmd_events,
	&cmd_image,
	&cmd_key,
	&cmd_manifest,
	&cmd_policy,
	&cmd_panic,
	&cmd_unpanic,
	&cmd_info,
	&cmd_doctor,
	&cmd_completion,
	&cmd_version,
	&cmd_help,
	NULL,
};

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
	static char help[] = "help";
	char *only_help[] = { help, NULL };
	const struct cmd *c;

	if (argc < 2) {
		help_verbs(stderr);
		return CLI_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return cli_run(&cmd_help, 1, only_help);
	if (strcmp(argv[1], "--version") == 0)
		return cli_run(&cmd_version, 1, argv + 1);
	c = cli_find(argv[1]);
	if (!c)
		return help_unknown(argv[1]);
	return cli_run(c, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	fill_std_fds();
	log_init("kosvm", log_level_from_env(LOG_LEVEL_WARN));
	(void)signal(SIGPIPE, SIG_IGN);
	return finish(run(argc, argv));
}
