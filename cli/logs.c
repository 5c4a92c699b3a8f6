#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "cli.h"
#include "safe.h"

static const char help[] =
	"What the agent wrote to stdout comes on stdout, its stderr on stderr. A terminal\n"
	"is shown control characters as '?'; a pipe or file gets every byte.\n\n"
	"  -f, --follow       go on until the agent ends\n"
	"  -t, --timestamps   put the time in front of each line\n"
	"      --console      the boot console of its VM instead\n";

#define RECORD_MAX 16384u

/*
 * "TIME stdout F text\n" (CRI): the text goes to its stream, a newline
 * follows a full one.
 */
static void print_record(char *rec, size_t len, bool timestamps)
{
	static struct safe states[2]; /* a long line is cut into records, maybe in a character */
	char *end = rec + len;
	char *stream = memchr(rec, ' ', len);
	char *tag = stream ? memchr(stream + 1, ' ', (size_t)(end - stream - 1)) : NULL;
	bool err;
	FILE *f;

	if (!tag || end - tag < 3 || tag[2] != ' ')
		return;
	err = tag - stream == 7 && memcmp(stream + 1, "stderr", 6) == 0;
	f = err ? stderr : stdout;
	safe_for_terminal(&states[err], fileno(f), tag + 3, (size_t)(end - tag - 3));
	if (timestamps)
		(void)fprintf(f, "%.*s ", (int)(stream - rec), rec);
	(void)fwrite(tag + 3, 1, (size_t)(end - tag - 3), f);
	if (tag[1] == 'F')
		(void)fputc('\n', f);
}

static int copy_records(int fd, bool timestamps, void (*interrupted)(const char *name),
	const char *name, struct kerr *e)
{
	_cleanup_free_ char *buf = malloc(RECORD_MAX);
	sigset_t waiting;
	size_t len = 0;

	if (!buf)
		return kerr_errno(e, ENOMEM, "logs");
	(void)sigprocmask(SIG_BLOCK, NULL, &waiting);
	(void)sigdelset(&waiting, SIGINT);
	(void)sigdelset(&waiting, SIGTERM);
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		size_t pos = 0;
		ssize_t n;
		char *nl;

		/* The caller's signals come here and nowhere else: output is never broken off. */
		if (interrupted)
			interrupted(name);
		if (interrupted && ppoll(&p, 1, NULL, &waiting) < 0 && errno == EINTR)
			continue;
		n = read(fd, buf + len, RECORD_MAX - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kerr_errno(e, errno, "logs");
		if (n == 0)
			return 0;
		len += (size_t)n;
		while ((nl = memchr(buf + pos, '\n', len - pos))) {
			print_record(buf + pos, (size_t)(nl - buf) - pos, timestamps);
			pos = (size_t)(nl - buf) + 1;
		}
		(void)fflush(stdout);
		if (ferror(stdout))
			return kerr_set(e, EPIPE, "standard output is closed");
		memmove(buf, buf + pos, len - pos);
		len -= pos;
		if (len == RECORD_MAX)
			len = 0; /* no record is that long: the file was damaged */
	}
}

static int copy_console(int fd, struct kerr *e)
{
	struct safe safe = { 0 };
	char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		size_t kept = 0;

		/* A serial line ends its lines with both. */
		for (ssize_t i = 0; i < n; i++) {
			if (buf[i] != '\r')
				buf[kept++] = buf[i];
		}
		safe_for_terminal(&safe, STDOUT_FILENO, buf, kept);
		(void)fwrite(buf, 1, kept, stdout);
	}
	return n < 0 ? kerr_errno(e, errno, "logs") : 0;
}

static int logs(const char *name, bool follow, bool console, bool timestamps,
	void (*interrupted)(const char *name), struct kerr *e)
{
	struct call call = CALL_INIT;
	int r = call_kosvmd("logs",
		json_pack("{s:s, s:b, s:b}", "name", name, "follow", follow, "console", console),
		NULL, 0, NULL, NULL, &call, e);

	if (r == 0 && call.fd < 0)
		r = kerr_set(e, EPROTO, "kosvmd gave no stream");
	if (r == 0)
		r = console ? copy_console(call.fd, e)
			    : copy_records(call.fd, timestamps, interrupted, name, e);
	call_done(&call);
	return r;
}

int logs_follow(const char *name, void (*interrupted)(const char *name), struct kerr *e)
{
	return logs(name, true, false, false, interrupted, e);
}

int cmd_logs(int argc, char **argv)
{
	static const struct option options[] = {
		{ "follow", no_argument, NULL, 'f' },
		{ "timestamps", no_argument, NULL, 't' },
		{ "console", no_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct kerr err = { 0 };
	bool follow = false;
	bool console = false;
	bool timestamps = false;
	int c;

	while ((c = getopt_long(argc, argv, "+fth", options, NULL)) != -1) {
		if (c == 'f')
			follow = true;
		else if (c == 't')
			timestamps = true;
		else if (c == 'c')
			console = true;
		else if (c == 'h')
			return cli_help("logs", help);
		else
			return cli_usage("logs", "see above");
	}
	if (argc - optind != 1)
		return cli_usage("logs", "expected the name of one agent");
	if (follow && console)
		return cli_usage("logs", "--console cannot be followed");
	if (logs(argv[optind], follow, console, timestamps, NULL, &err) < 0)
		return cli_fail("logs", &err);
	return 0;
}
