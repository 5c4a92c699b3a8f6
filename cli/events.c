#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "call.h"
#include "lines.h"
#include "print.h"
#include "verbs.h"
#include "when.h"

enum { SINCE = OPT_LONG, UNTIL };

struct events {
	struct lines lines;
	const char *type; /* only these; NULL: all */
	uint64_t until_ns;
};

/* A line of server-sent events: "data: {…}"; comments and other fields say nothing new. */
static int take(void *user, const char *line, size_t len)
{
	const struct events *ev = user;
	json_t *o;
	int r = 0;

	if (len < 5 || memcmp(line, "data:", 5) != 0)
		return 0;
	o = json_loadb(line + 5, len - 5, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(o))
		r = -EPROTO;
	else if (ev->until_ns && cli_u64(o, "time_ns") > ev->until_ns)
		r = 1;
	else if (!ev->type || strcmp(cli_text(o, "type"), ev->type) == 0)
		cli_print_json(o);
	json_decref(o);
	return r;
}

static int chunk(void *user, char *data, size_t len, struct kerr *e)
{
	struct events *ev = user;
	int r = lines_feed(&ev->lines, data, len, take, ev);

	if (r < 0)
		return kerr_set(e, -r, "kosvmd sent what is no event");
	if (fflush(stdout) < 0 || ferror(stdout))
		return kerr_set(e, EPIPE, "standard output is closed");
	return r;
}

static int time_is_over(void *user, struct kerr *e)
{
	(void)user;
	(void)e;
	return 1;
}

/* Ends at until_ns, whether events come or not. */
static int follow(struct url *u, struct events *ev, struct kerr *e)
{
	_cleanup_close_ int timer = -1;
	struct call_reader reader = { .chunk = chunk, .user = ev };

	if (ev->until_ns > clock_real_ns()) {
		struct itimerspec at = {
			.it_value = { .tv_sec = (time_t)(ev->until_ns / CLOCK_NS_PER_S),
				.tv_nsec = (long)(ev->until_ns % CLOCK_NS_PER_S) },
		};

		timer = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC);
		if (timer < 0 || timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL) < 0) {
			url_free(u);
			return kerr_errno(e, errno, "timer");
		}
		reader.wake_fd = timer;
		reader.wake = time_is_over;
	} else if (ev->until_ns) {
		url_query(u, "follow", "false");
	}
	return call_read(u, &reader, e);
}

static int option(const struct cmd *c, int o, struct events *ev, struct url *u)
{
	uint64_t ns;

	if (o == SINCE || o == UNTIL) {
		if (when_parse(optarg, clock_real_ns(), &ns) < 0)
			return cli_usage(c,
				"%s: expected a time such as 10m (ago) or 2026-01-02T03:04:05Z",
				optarg);
		if (o == SINCE)
			url_query_u64(u, "since", ns);
		else
			ev->until_ns = ns;
	} else if (strncmp(optarg, "agent=", 6) == 0) {
		url_query(u, "agent", optarg + 6);
	} else if (strncmp(optarg, "type=", 5) == 0) {
		ev->type = optarg + 5;
	} else {
		return cli_usage(c, "--filter %s: expected agent=NAME or type=TYPE", optarg);
	}
	return 0;
}

static int events(const struct cmd *c, int argc, char **argv)
{
	struct url *u = url_new("/events");
	struct events ev = { 0 };
	struct kerr err = { 0 };
	int code = 0;
	int o = -1;
	int r;

	while (code == 0 && (o = cli_opt(c, argc, argv)) > 0)
		code = option(c, o, &ev, u);
	if (code == 0 && o != -1)
		code = CLI_OPT_EXIT(o);
	else if (code == 0 && optind < argc)
		code = cli_usage(c, "unexpected argument %s", argv[optind]);
	if (code != 0 || o != -1) {
		url_free(u);
		return code;
	}
	r = follow(u, &ev, &err);
	lines_done(&ev.lines);
	return r < 0 ? cli_fail(c, &err) : 0;
}

const struct cmd cmd_events = {
	.name = "events",
	.args = "[--since TIME] [--until TIME] [-f FILTER]",
	.summary = "print what happens, a JSON object a line",
	.more = "Goes on until the interrupt key, or until --until.\n",
	.opts =
		(const struct opt[]){
			{ "since", SINCE, "TIME",
				"begin with the moves of agents after that: 10m ago, or a date" },
			{ "until", UNTIL, "TIME", "end then" },
			{ "filter", 'f', "FILTER",
				"agent=NAME or type=TYPE, such as type=agent.move" },
			{ 0 } },
	.fn = events,
};
