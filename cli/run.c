#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <base/cleanup.h>

#include "attach.h"
#include "create.h"
#include "logs.h"
#include "print.h"
#include "session.h"
#include "verbs.h"

#define LINGER_MS 30000u

struct attend {
	const struct cmd *cmd;
	const char *name;
	int signals;
	unsigned count;
};

/* The interrupt key stops the agent, a second one ends it at once; its log then ends by itself. */
static int interrupted(void *user, struct kerr *e)
{
	struct attend *a = user;
	struct signalfd_siginfo si;
	struct kerr err = { 0 };
	pid_t pid;

	(void)e;
	if (read(a->signals, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return 0;
	/* Stopping takes a while, and a second key must be seen meanwhile. */
	pid = fork();
	if (pid == 0) {
		if (call_kosvmd(CALL_LONG, "POST", url_agent(a->name, a->count ? "kill" : "stop"),
			    NULL, NULL, &err) < 0)
			(void)cli_fail(a->cmd, &err);
		_exit(0);
	}
	a->count++;
	return 0;
}

static int hold_signals(sigset_t *set, int *ret_fd, struct kerr *e)
{
	sigemptyset(set);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, set, NULL);
	(void)signal(SIGCHLD, SIG_IGN);
	*ret_fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
	return *ret_fd < 0 ? kerr_errno(e, errno, "signalfd") : 0;
}

/* How it ended: its exit code. */
static int result(const char *name, struct kerr *e)
{
	json_t *o = NULL;
	const json_t *code;
	int r = call_kosvmd(CALL_LONG, "POST", url_agent(name, "wait"), NULL, &o, e);

	if (r < 0)
		return r;
	code = json_object_get(o, "exit_code");
	if (json_is_integer(code))
		r = (int)json_integer_value(code);
	else
		r = kerr_set(e, EIO, "agent %s: %s", name, cli_text(o, "reason"));
	json_decref(o);
	return r;
}

/* Its output from the beginning, from the log, so that nothing is missed. */
static int follow(const struct cmd *c, const char *name, struct kerr *e)
{
	_cleanup_close_ int signals = -1;
	struct attend a = { .cmd = c, .name = name };
	struct logs_want w = { .name = name, .follow = true, .wake = interrupted, .user = &a };
	sigset_t set;
	int r = hold_signals(&set, &signals, e);

	if (r < 0)
		return r;
	a.signals = signals;
	w.wake_fd = signals;
	r = logs_print(&w, e);
	/* All that is left is an answer: the keys end kosvm itself again. */
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	return r < 0 ? r : result(name, e);
}

static int attend(const struct cmd *c, const struct create *x, const char *name, struct kerr *e)
{
	struct keys keys;
	int r;

	if (!x->tty && !x->interactive)
		return follow(c, name, e);
	(void)keys_parse(KEYS_DEFAULT, &keys);
	r = attach_agent(name, x->tty, x->interactive, true, &keys, e);
	if (r == SESSION_DETACHED)
		(void)fprintf(stderr, "kosvm run: detached; `kosvm attach %s` comes back\n", name);
	return r == SESSION_DETACHED ? 0 : r;
}

static void remove_it(const struct cmd *c, const char *name)
{
	struct kerr err = { 0 };

	int r = call_kosvmd(CALL_LONG, "DELETE", url_agent(name, NULL), NULL, NULL, &err);

	/* Another one who wanted the name was faster. */
	if (r < 0 && r != -ENOENT)
		(void)cli_fail(c, &err);
}

static int run(const struct cmd *c, int argc, char **argv)
{
	struct create x;
	struct kerr err = { 0 };
	json_t *agent = NULL;
	const char *file;
	int r;

	create_init(&x);
	r = create_options(c, argc, argv, &x, &file);
	if (r < 0 && x.tty && x.interactive && !x.detach && !isatty(STDIN_FILENO)) {
		r = cli_usage(c, "-it: standard input is no terminal: leave -t away");
	} else if (r < 0) {
		/*
		 * Its log and exit code are asked for after its end: then we
		 * remove it. If we are gone by then, kosvmd does.
		 */
		const bool ours = x.remove && !x.detach && !x.tty && !x.interactive;

		x.linger_ms = ours ? LINGER_MS : 0;
		r = create_agent(&x, file, true, &agent, &err);
		if (r == 0 && x.detach)
			(void)puts(cli_text(agent, "name"));
		else if (r == 0)
			r = attend(c, &x, cli_text(agent, "name"), &err);
		if (ours && agent)
			remove_it(c, cli_text(agent, "name"));
		if (r < 0)
			r = cli_fail(c, &err);
		json_decref(agent);
	}
	create_done(&x);
	return r;
}

const struct cmd cmd_run = {
	.name = "run",
	.args = "[-d] [OPTION...] MANIFEST",
	.summary = "verify a signed manifest and start its agent",
	.more = "MANIFEST is an INI file (kosvm-manifest(5)); its signature is MANIFEST.minisig.\n"
		"Without -d the agent's output is printed until it ends, and its exit code is\n"
		"returned; the interrupt key stops the agent. With -i or -t it is attached to\n"
		"instead (kosvm attach).\n",
	.opts = (const struct opt[]){ { "detach", 'd', NULL,
					      "return when the agent runs, and print its name" },
		CREATE_OPTIONS, { 0 } },
	.fn = run,
	.words = WORDS_FILES,
};
