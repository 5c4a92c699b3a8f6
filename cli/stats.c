#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "lines.h"
#include "print.h"
#include "usage.h"
#include "verbs.h"

enum { NO_STREAM = OPT_LONG, FORMAT };

struct stats {
	struct lines lines;
	json_t *earlier;
	char *const *names; /* only these; NULL-terminated, empty: all */
	enum cli_format format;
	bool once;
};

/* By name, id or the beginning of an id; which exist is the server's word. */
static bool wanted(const struct stats *s, const json_t *o)
{
	const char *id = cli_text(o, "id");

	if (!*s->names)
		return true;
	for (char *const *n = s->names; *n; n++) {
		if (strcmp(*n, cli_text(o, "name")) == 0 || strncmp(*n, id, strlen(*n)) == 0)
			return true;
	}
	return false;
}

static void print_list(const struct stats *s, const json_t *list)
{
	struct table *t = table_new(6);
	json_t *o;
	size_t i;

	table_add(t,
		(const char *const[]){ "NAME", "STATE", "CPU", "MEMORY / LIMIT", "VSOCK FROM / TO",
			"BLOCK READ / WRITTEN" });
	json_array_foreach(json_object_get(list, "stats"), i, o)
	{
		double cpu = usage_cpu(s->earlier, o);
		struct usage_text u;

		if (!wanted(s, o))
			continue;
		if (s->format == FORMAT_JSON) {
			(void)json_object_set_new(
				o, "cpu_percent", cpu < 0 ? json_null() : json_real(cpu));
			cli_print_json(o);
			continue;
		}
		usage_format(o, cpu, &u);
		table_add(t,
			(const char *const[]){ cli_text(o, "name"), cli_text(o, "state"), u.cpu,
				u.memory, u.vsock, u.block });
	}
	if (s->format == FORMAT_TABLE) {
		/* On a terminal, over the one before. */
		if (!s->once && isatty(STDOUT_FILENO))
			(void)fputs("\x1b[H\x1b[J", stdout);
		table_print(t);
	}
	table_free(t);
}

static int take(void *user, const char *line, size_t len)
{
	struct stats *s = user;
	json_t *list = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	bool first = !s->earlier;

	if (!json_is_object(list)) {
		json_decref(list);
		return len == 0 ? 0 : -EPROTO;
	}
	/* The first one knows no CPU time yet: a single table waits for the second. */
	if (!first || !s->once)
		print_list(s, list);
	json_decref(s->earlier);
	s->earlier = list;
	return s->once && !first;
}

static int chunk(void *user, char *data, size_t len, struct kerr *e)
{
	struct stats *s = user;
	int r = lines_feed(&s->lines, data, len, take, s);

	if (r < 0)
		return kerr_set(e, -r, "kosvmd sent what are no statistics");
	if (fflush(stdout) < 0 || ferror(stdout))
		return kerr_set(e, EPIPE, "standard output is closed");
	return r;
}

/* Each has to be there and to run; the reason why not is the server's. */
static int check_names(char *const *names, struct kerr *e)
{
	for (; *names; names++) {
		json_t *valid = call_string("the name", *names, e);
		int r;

		json_decref(valid);
		r = valid
			? call_kosvmd(CALL_SHORT, "GET", url_agent(*names, "stats"), NULL, NULL, e)
			: -EINVAL;
		if (r < 0)
			return r;
	}
	return 0;
}

static int stats(const struct cmd *c, int argc, char **argv)
{
	struct stats s = { 0 };
	struct url *u;
	const struct call_reader reader = { .chunk = chunk, .user = &s };
	struct kerr err = { 0 };
	int o;
	int r;

	while ((o = cli_opt(c, argc, argv)) > 0) {
		if (o == NO_STREAM)
			s.once = true;
		else if (cli_format_parse(optarg, &s.format) < 0)
			return cli_usage(c, "--format %s: expected table or json", optarg);
	}
	if (o != -1)
		return CLI_OPT_EXIT(o);
	s.names = argv + optind;
	r = check_names(s.names, &err);
	if (r == 0) {
		u = url_new("/v1/stats");
		url_query(u, "follow", "true");
		r = call_read(u, &reader, &err);
	}
	json_decref(s.earlier);
	lines_done(&s.lines);
	return r < 0 ? cli_fail(c, &err) : 0;
}

const struct cmd cmd_stats = {
	.name = "stats",
	.args = "[--no-stream] [--format table|json] [NAME...]",
	.summary = "show what running agents use, each second",
	.more = "CPU is in percent of one processor. Memory is what the host has given so far.\n",
	.opts = (const struct opt[]){ { "no-stream", NO_STREAM, NULL,
					      "once, after a second of measuring" },
		{ "format", FORMAT, "F", "table (default) or json (one object a line)" }, { 0 } },
	.fn = stats,
	.words = WORDS_AGENTS,
};
