#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>

#include "call.h"
#include "environ.h"
#include "session.h"
#include "term.h"
#include "verbs.h"

/* exec and shell: a command beside the agent, with or without a terminal. */

#define EXEC_FAILED 125

struct exec {
	json_t *body;
	json_t *env;
	bool interactive;
	bool tty;
};

static int set_text(struct exec *x, const char *key, const char *what, struct kerr *e)
{
	json_t *t = call_string(what, optarg, e);

	return t ? json_object_set_new(x->body, key, t) : -e->code;
}

/* -1 to go on, else the exit code. */
static int options(const struct cmd *c, int argc, char **argv, struct exec *x)
{
	struct kerr err = { 0 };
	int o;

	while ((o = cli_opt(c, argc, argv)) > 0) {
		int r = 0;

		if (o == 'i')
			x->interactive = true;
		else if (o == 't')
			x->tty = true;
		else if (o == 'e')
			r = environ_add(x->env, optarg, &err);
		else if (o == 'u')
			r = set_text(x, "user", "--user", &err);
		else if (o == 'w')
			r = set_text(x, "cwd", "--workdir", &err);
		if (r < 0)
			return cli_usage(c, "%s", err.msg);
	}
	return o == -1 ? -1 : CLI_OPT_EXIT(o);
}

static int failed(const struct cmd *c, const struct kerr *e)
{
	(void)cli_fail(c, e);
	return EXEC_FAILED;
}

static int attend(const struct cmd *c, const char *name, const struct exec *x)
{
	struct session_config s = {
		.fd = -1,
		.what = "the command",
		.tty = x->tty,
		.raw = x->tty && x->interactive,
		.input = x->interactive,
		.end_input = true,
		.signals = true,
	};
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	struct kerr err = { 0 };
	uint32_t rows, cols;
	int r;

	if (x->tty) {
		term_size(&rows, &cols);
		(void)json_object_set_new(x->body, "tty", json_true());
		(void)json_object_set_new(x->body, "rows", json_integer(rows));
		(void)json_object_set_new(x->body, "cols", json_integer(cols));
	}
	r = call_stream(url_agent(name, "exec"), json_incref(x->body), &fd, &err);
	if (r < 0)
		return failed(c, &err);
	s.fd = fd;
	r = session_run(&s, &text, &err);
	if (r < 0)
		return failed(c, &err);
	if (text) {
		(void)kerr_set(&err, EIO, "%s", text);
		(void)cli_fail(c, &err);
	}
	return r;
}

static int add_command(const struct cmd *c, struct exec *x, int argc, char **argv)
{
	json_t *list = json_array();
	struct kerr err = { 0 };

	(void)json_object_set_new(x->body, "argv", list);
	for (int i = 0; i < argc; i++) {
		json_t *t = call_string("the command", argv[i], &err);

		if (!t)
			return failed(c, &err);
		(void)json_array_append_new(list, t);
	}
	return 0;
}

static int named(const struct cmd *c, const char *name)
{
	struct kerr err = { 0 };
	json_t *t = call_string("the name", name, &err);

	json_decref(t);
	return t ? 0 : failed(c, &err);
}

static void exec_init(struct exec *x)
{
	x->body = json_object();
	x->env = json_object();
	(void)json_object_set_new(x->body, "env", x->env);
}

static int parse_and_exec(const struct cmd *c, int argc, char **argv, struct exec *x)
{
	int r = options(c, argc, argv, x);

	if (r >= 0)
		return r;
	if (argc - optind < 2)
		return cli_usage(c, "expected the name of an agent and a command");
	if (x->interactive && x->tty && !isatty(STDIN_FILENO))
		return cli_usage(c, "-it: standard input is no terminal: leave -t away");
	r = named(c, argv[optind]);
	if (r == 0) {
		const char *name = argv[optind++];

		if (strcmp(argv[optind], "--") == 0 && optind + 1 < argc)
			optind++;
		r = add_command(c, x, argc - optind, argv + optind);
		if (r == 0)
			r = attend(c, name, x);
	}
	return r;
}

static int exec(const struct cmd *c, int argc, char **argv)
{
	struct exec x = { 0 };
	int r;

	exec_init(&x);
	r = parse_and_exec(c, argc, argv, &x);
	json_decref(x.body);
	return r;
}

/* bash where there is one. */
static int shell(const struct cmd *c, int argc, char **argv)
{
	static char sh[] = "/bin/sh", flag[] = "-c";
	static char script[] =
		"if [ -x /bin/bash ]; then exec /bin/bash -l; else exec /bin/sh -l; fi";
	char *command[] = { sh, flag, script };
	struct exec x = { .interactive = true, .tty = term_there() };
	int r;

	exec_init(&x);
	r = options(c, argc, argv, &x);
	if (r < 0) {
		r = argc - optind == 1 ? named(c, argv[optind])
				       : cli_usage(c, "expected the name of one agent");
		if (r == 0)
			r = add_command(c, &x, 3, command);
		if (r == 0)
			r = attend(c, argv[optind], &x);
	}
	json_decref(x.body);
	return r;
}

#define COMMON_OPTIONS                                                                             \
	{ "env", 'e', "NAME=VALUE",                                                                \
		"add a variable; without = this process's (may be repeated)" },                    \
		{ "user", 'u', "USER", "name, uid or uid:gid (default: the agent's user)" },       \
		{ "workdir", 'w', "DIR", "working directory" },                                    \
	{                                                                                          \
		0                                                                                  \
	}

const struct cmd cmd_exec = {
	.name = "exec",
	.args = "[-i] [-t] [-e NAME=VALUE] [-u USER] [-w DIR] NAME COMMAND [ARG...]",
	.summary = "run a command inside a running agent's VM",
	.more = "The exit code is the command's, 125 when kosvm failed, 126 when the command\n"
		"cannot be run, 127 when it is not there. INT, TERM and HUP are passed on to it.\n"
		"Without -t a terminal is shown control characters as '?'; with -t it obeys what\n"
		"the guest sends. `kosvm shell NAME` is exec -it with a shell.\n",
	.opts = (const struct opt[]){ { "interactive", 'i', NULL,
					      "pass standard input on; else the command has none" },
		{ "tty", 't', NULL, "give it a terminal" }, COMMON_OPTIONS },
	.fn = exec,
	.rest = true,
	.words = WORDS_AGENTS,
	.bad_usage = EXEC_FAILED,
};

const struct cmd cmd_shell = {
	.name = "shell",
	.args = "[-e NAME=VALUE] [-u USER] [-w DIR] NAME",
	.summary = "open a shell inside a running agent's VM",
	.more = "A login shell on a terminal of its own; a script when standard input is none.\n",
	.opts = (const struct opt[]){ COMMON_OPTIONS },
	.fn = shell,
	.words = WORDS_AGENTS,
	.bad_usage = EXEC_FAILED,
};
