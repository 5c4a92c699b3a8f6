#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <wire/api_proto.h>

#include "cli.h"

static const char help[] =
	"MANIFEST is an INI file (kosvm-manifest(5)); its signature is MANIFEST.minisig.\n"
	"Without -d the agent's output is printed until it ends, and its exit code is\n"
	"returned; the interrupt key stops the agent.\n\n"
	"  -d, --detach        return when the agent runs, and print its name\n"
	"      --signature F   take the signature from F\n";

static int start(const char *file, const char *sig_file, struct call *ret, struct kerr *e)
{
	_cleanup_close_ int manifest = cli_open(file, O_RDONLY, e);
	_cleanup_close_ int sig = -1;
	int fds[2];

	if (manifest < 0)
		return manifest;
	sig = cli_open(sig_file, O_RDONLY, e);
	if (sig < 0)
		return kerr_set(e, -sig,
			"%s: not signed: %s cannot be opened: `kosvm manifest sign %s --key FILE` "
			"makes it",
			file, sig_file, file);
	fds[0] = manifest;
	fds[1] = sig;
	return call_kosvmd("run",
		json_pack("{s:o, s:o}", "file", api_text(file), "signature", api_text(sig_file)),
		fds, 2, NULL, NULL, ret, e);
}

static volatile sig_atomic_t interrupts;

static void on_signal(int signo)
{
	(void)signo;
	interrupts = interrupts + 1;
}

/* The interrupt key stops the agent, a second one ends it at once; its log then ends by itself. */
static void interrupted(const char *name)
{
	static sig_atomic_t answered;
	struct call call = CALL_INIT;
	struct kerr err = { 0 };

	if (interrupts == answered)
		return;
	answered = interrupts;
	if (call_kosvmd("stop", json_pack("{s:s, s:b}", "name", name, "kill", answered > 1), NULL,
		    0, NULL, NULL, &call, &err) < 0)
		(void)cli_fail("run", &err);
	call_done(&call);
}

static int attend(const char *name, struct kerr *e)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	struct call call = CALL_INIT;
	sigset_t set, old;
	json_t *code;
	int r;

	sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, &old);
	(void)sigaction(SIGINT, &sa, NULL);
	(void)sigaction(SIGTERM, &sa, NULL);
	r = logs_follow(name, interrupted, e);
	/* All that is left is an answer: the keys end kosvm itself again. */
	(void)sigaction(SIGINT, &dfl, NULL);
	(void)sigaction(SIGTERM, &dfl, NULL);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		r = call_kosvmd(
			"wait", json_pack("{s:s}", "name", name), NULL, 0, NULL, NULL, &call, e);
	if (r == 0) {
		code = json_object_get(call.ok, "exit_code");
		if (json_is_integer(code))
			r = (int)json_integer_value(code);
		else
			r = kerr_set(e, EIO, "agent %s: %s", name, cli_text(call.ok, "reason"));
	}
	call_done(&call);
	return r;
}

int cmd_run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "detach", no_argument, NULL, 'd' },
		{ "signature", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct call call = CALL_INIT;
	struct kerr err = { 0 };
	const char *sig_file = NULL;
	char sig_buf[4096];
	bool detach = false;
	int c;
	int r;

	while ((c = getopt_long(argc, argv, "+dh", options, NULL)) != -1) {
		if (c == 'd')
			detach = true;
		else if (c == 's')
			sig_file = optarg;
		else if (c == 'h')
			return cli_help("run", help);
		else
			return cli_usage("run", "see above");
	}
	if (argc - optind != 1)
		return cli_usage("run", "expected one manifest");
	if (!sig_file) {
		r = snprintf(sig_buf, sizeof(sig_buf), "%s.minisig", argv[optind]);
		if (r < 0 || (size_t)r >= sizeof(sig_buf))
			return cli_usage("run", "the manifest's path is too long");
		sig_file = sig_buf;
	}
	r = start(argv[optind], sig_file, &call, &err);
	if (r == 0) {
		const char *name = cli_text(call.ok, "name");

		if (detach)
			(void)puts(name);
		else
			r = attend(name, &err);
	}
	call_done(&call);
	return r < 0 ? cli_fail("run", &err) : r;
}
