#include "logs.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/units.h>

#include "call.h"
#include "safe.h"
#include "verbs.h"
#include "when.h"

#define RECORD_MAX 16384u
#define TRIES_MAX  10u
#define PAUSE_MS   200

struct printer {
	const struct logs_want *want;
	char buf[RECORD_MAX];
	size_t len;
	struct safe states[2]; /* a long line is cut into records, maybe in a character */
	/* Where it stands, for a log that is followed over a restart of kosvmd. */
	char stamp[40]; /* of the last record; "": none yet */
	unsigned same;  /* so many records had it */
	unsigned skip;  /* and so many of them come again */
	unsigned tries; /* since the last record */
};

/* False for one that was printed before kosvmd went away. */
static bool is_new(struct printer *p, const char *stamp, size_t len)
{
	if (strlen(p->stamp) != len || memcmp(p->stamp, stamp, len) != 0) {
		(void)snprintf(p->stamp, sizeof(p->stamp), "%.*s", (int)len, stamp);
		p->same = p->skip = 0;
	}
	if (p->skip > 0) {
		p->skip--;
		return false;
	}
	p->same++;
	p->tries = 0;
	return true;
}

/*
 * "TIME stdout F text\n" (CRI): the text goes to its stream, a newline
 * follows a full one.
 */
static void print_record(struct printer *p, char *rec, size_t len)
{
	char *end = rec + len;
	char *stream = memchr(rec, ' ', len);
	char *tag = stream ? memchr(stream + 1, ' ', (size_t)(end - stream - 1)) : NULL;
	bool err;
	FILE *f;

	if (!tag || end - tag < 3 || tag[2] != ' ' || !is_new(p, rec, (size_t)(stream - rec)))
		return;
	err = tag - stream == 7 && memcmp(stream + 1, "stderr", 6) == 0;
	f = err ? stderr : stdout;
	safe_for_terminal(&p->states[err], fileno(f), tag + 3, (size_t)(end - tag - 3));
	if (p->want->timestamps)
		(void)fprintf(f, "%.*s ", (int)(stream - rec), rec);
	(void)fwrite(tag + 3, 1, (size_t)(end - tag - 3), f);
	if (tag[1] == 'F')
		(void)fputc('\n', f);
}

static void print_records(struct printer *p)
{
	size_t pos = 0;
	char *nl;

	while ((nl = memchr(p->buf + pos, '\n', p->len - pos))) {
		print_record(p, p->buf + pos, (size_t)(nl - p->buf) - pos);
		pos = (size_t)(nl - p->buf) + 1;
	}
	memmove(p->buf, p->buf + pos, p->len - pos);
	p->len -= pos;
	if (p->len == RECORD_MAX)
		p->len = 0; /* no record is that long: the file was damaged */
}

static int flush_output(struct kerr *e)
{
	if (fflush(stdout) < 0 || ferror(stdout))
		return kerr_set(e, EPIPE, "standard output is closed");
	return 0;
}

static int take_records(void *user, char *data, size_t len, struct kerr *e)
{
	struct printer *p = user;

	while (len > 0) {
		size_t n = RECORD_MAX - p->len < len ? RECORD_MAX - p->len : len;

		memcpy(p->buf + p->len, data, n);
		p->len += n;
		data += n;
		len -= n;
		print_records(p);
	}
	return flush_output(e);
}

static int wake(void *user, struct kerr *e)
{
	const struct logs_want *w = ((struct printer *)user)->want;

	return w->wake(w->user, e);
}

static struct url *request(const struct logs_want *w, const struct printer *p)
{
	struct url *u = url_agent(w->name, "logs");
	uint64_t since = w->since_ns;
	const bool again = *p->stamp && when_parse(p->stamp, 0, &since) == 0;

	if (w->follow)
		url_query(u, "follow", "true");
	if (since)
		url_query_u64(u, "since", since);
	if (w->until_ns)
		url_query_u64(u, "until", w->until_ns);
	if (w->tail && !again)
		url_query(u, "tail", w->tail);
	if (w->no_stdout)
		url_query(u, "stdout", "false");
	if (w->no_stderr)
		url_query(u, "stderr", "false");
	return u;
}

int logs_print(const struct logs_want *w, struct kerr *e)
{
	const struct timespec pause = { .tv_nsec = PAUSE_MS * (long)CLOCK_NS_PER_MS };
	_cleanup_free_ struct printer *p = calloc(1, sizeof(*p));
	const struct call_reader reader = {
		.chunk = take_records,
		.user = p,
		.wake_fd = w->wake_fd,
		.wake = w->wake ? wake : NULL,
	};
	int r;

	if (!p)
		abort();
	p->want = w;
	/* Agents outlive kosvmd, and so does who follows them. */
	while ((r = call_read(request(w, p), &reader, e)) == -ECONNRESET && w->follow &&
		p->tries++ < TRIES_MAX) {
		p->len = 0;
		p->skip = p->same;
		(void)nanosleep(&pause, NULL);
	}
	return r;
}

static int take_console(void *user, char *data, size_t len, struct kerr *e)
{
	size_t kept = 0;

	/* A serial line ends its lines with both. */
	for (size_t i = 0; i < len; i++) {
		if (data[i] != '\r')
			data[kept++] = data[i];
	}
	safe_for_terminal(user, STDOUT_FILENO, data, kept);
	(void)fwrite(data, 1, kept, stdout);
	return flush_output(e);
}

static int print_console(const char *name, struct kerr *e)
{
	struct safe safe = { 0 };
	const struct call_reader reader = { .chunk = take_console, .user = &safe };

	return call_read(url_agent(name, "console"), &reader, e);
}

enum { CONSOLE = OPT_LONG, SINCE, UNTIL, ONLY_STDOUT, ONLY_STDERR };

static int moment(const struct cmd *c, const char *option, uint64_t *ret)
{
	if (when_parse(optarg, clock_real_ns(), ret) == 0)
		return 0;
	return cli_usage(c, "--%s %s: expected a time such as 10m (ago) or 2026-01-02T03:04:05Z",
		option, optarg);
}

static int tail(const struct cmd *c, struct logs_want *w)
{
	uint64_t n;

	w->tail = strcmp(optarg, "all") == 0 ? NULL : optarg;
	if (!w->tail || units_parse_u64(optarg, 1000000000, &n) == 0)
		return 0;
	return cli_usage(c, "--tail %s: expected a number of lines, or all", optarg);
}

static int logs(const struct cmd *c, int argc, char **argv)
{
	struct logs_want w = { 0 };
	struct kerr err = { 0 };
	bool console = false;
	int o;
	int r = 0;

	while (r == 0 && (o = cli_opt(c, argc, argv)) > 0) {
		if (o == 'f')
			w.follow = true;
		else if (o == 't')
			w.timestamps = true;
		else if (o == CONSOLE)
			console = true;
		else if (o == 'n')
			r = tail(c, &w);
		else if (o == ONLY_STDOUT)
			w.no_stderr = true;
		else if (o == ONLY_STDERR)
			w.no_stdout = true;
		else
			r = moment(c, o == SINCE ? "since" : "until",
				o == SINCE ? &w.since_ns : &w.until_ns);
	}
	if (r != 0)
		return r;
	if (o != -1)
		return CLI_OPT_EXIT(o);
	if (argc - optind != 1)
		return cli_usage(c, "expected the name of one agent");
	if (w.follow && console)
		return cli_usage(c, "--console cannot be followed");
	w.name = argv[optind];
	r = console ? print_console(w.name, &err) : logs_print(&w, &err);
	return r < 0 ? cli_fail(c, &err) : 0;
}

const struct cmd cmd_logs = {
	.name = "logs",
	.args = "[-f] [-t] [-n LINES] [--since TIME] [--until TIME] [--console] NAME",
	.summary = "print what an agent wrote",
	.more = "What the agent wrote to stdout comes on stdout, its stderr on stderr. A terminal\n"
		"is shown control characters as '?'; a pipe or file gets every byte.\n",
	.opts = (const struct opt[]){ { "follow", 'f', NULL, "go on until the agent ends" },
		{ "timestamps", 't', NULL, "put the time in front of each line" },
		{ "tail", 'n', "LINES", "only so many of the last lines (default: all)" },
		{ "since", SINCE, "TIME",
			"only what came after: 10m ago, or 2026-01-02T03:04:05Z" },
		{ "until", UNTIL, "TIME", "only what came before" },
		{ "stdout", ONLY_STDOUT, NULL, "no stderr" },
		{ "stderr", ONLY_STDERR, NULL, "no stdout" },
		{ "console", CONSOLE, NULL, "the boot console of its VM instead" }, { 0 } },
	.fn = logs,
	.words = WORDS_AGENTS,
};
