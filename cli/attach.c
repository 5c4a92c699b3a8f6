#include "attach.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <base/cleanup.h>

#include "call.h"
#include "print.h"
#include "session.h"
#include "term.h"
#include "verbs.h"

int attach_agent(const char *name, bool tty, bool input, bool signals, const struct keys *detach,
	struct kerr *e)
{
	struct session_config s = {
		.what = "the agent",
		.tty = tty,
		.raw = tty && input && isatty(STDIN_FILENO),
		.input = input,
		.signals = signals,
	};
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	json_t *body = json_object();
	uint32_t rows, cols;
	int r;

	if (s.raw) {
		s.detach = *detach;
		term_size(&rows, &cols);
		(void)json_object_set_new(body, "rows", json_integer(rows));
		(void)json_object_set_new(body, "cols", json_integer(cols));
	}
	r = call_stream(url_agent(name, "attach"), body, &fd, e);
	if (r < 0)
		return r;
	s.fd = fd;
	r = session_run(&s, &text, e);
	if (r >= 0 && text)
		return kerr_set(e, EIO, "%s", text);
	return r;
}

/* What it was created with. */
static int learn(const char *name, bool *tty, bool *input, struct kerr *e)
{
	json_t *o = NULL;
	const json_t *launch;
	int r = call_kosvmd(CALL_SHORT, "GET", url_agent(name, NULL), NULL, &o, e);

	launch = json_object_get(o, "launch");
	*tty = json_is_true(json_object_get(launch, "tty"));
	*input = *tty || json_is_true(json_object_get(launch, "stdin"));
	json_decref(o);
	return r;
}

enum { NO_STDIN = OPT_LONG, DETACH_KEYS, NO_SIGNALS };

static int attach(const struct cmd *c, int argc, char **argv)
{
	struct kerr err = { 0 };
	struct keys keys;
	bool no_stdin = false;
	bool signals = true;
	bool tty, input;
	int o;
	int r;

	(void)keys_parse(KEYS_DEFAULT, &keys);
	while ((o = cli_opt(c, argc, argv)) > 0) {
		if (o == NO_STDIN)
			no_stdin = true;
		else if (o == NO_SIGNALS)
			signals = false;
		else if (keys_parse(optarg, &keys) < 0)
			return cli_usage(
				c, "--detach-keys %s: expected keys such as ctrl-p,ctrl-q", optarg);
	}
	if (o != -1)
		return CLI_OPT_EXIT(o);
	if (argc - optind != 1)
		return cli_usage(c, "expected the name of one agent");
	r = learn(argv[optind], &tty, &input, &err);
	if (r == 0)
		r = attach_agent(argv[optind], tty, input && !no_stdin, signals, &keys, &err);
	if (r < 0)
		return cli_fail(c, &err);
	if (r == SESSION_DETACHED)
		(void)fprintf(stderr, "kosvm attach: detached; the agent goes on\n");
	return r == SESSION_DETACHED ? 0 : r;
}

const struct cmd cmd_attach = {
	.name = "attach",
	.args = "[--no-stdin] [--detach-keys KEYS] [--no-signals] NAME",
	.summary = "join a running agent's own input and output",
	.more = "From now on, until it ends; its exit code is returned. On the terminal of an\n"
		"agent that has one (run -t), ctrl-p ctrl-q leaves it running. An agent\n"
		"without gets INT, TERM and HUP passed on.\n",
	.opts = (const struct opt[]){ { "no-stdin", NO_STDIN, NULL, "pass no input on" },
		{ "detach-keys", DETACH_KEYS, "KEYS",
			"leave by these (default: " KEYS_DEFAULT ")" },
		{ "no-signals", NO_SIGNALS, NULL, "signals end this command, not the agent" },
		{ 0 } },
	.fn = attach,
	.words = WORDS_AGENTS,
};
