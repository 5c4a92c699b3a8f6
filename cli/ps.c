#include <getopt.h>
#include <stdio.h>

#include <base/clock.h>
#include <base/units.h>

#include "cli.h"

static const char help[] = "  -a, --all        stopped and failed agents too\n"
			   "  -q, --quiet      names only\n"
			   "      --format F   table (default) or json (one object a line)\n";

struct ps {
	struct table *t;
	bool quiet;
	enum cli_format format;
};

static void age(const json_t *o, const char *key, char *buf, size_t len)
{
	uint64_t then = (uint64_t)json_integer_value(json_object_get(o, key));
	uint64_t now = clock_real_ns();

	if (then == 0)
		(void)snprintf(buf, len, "-");
	else
		units_format_duration(now > then ? now - then : 0, buf, len);
}

static void row(void *user, const json_t *o)
{
	struct ps *p = user;
	const json_t *code = json_object_get(o, "exit_code");
	char memory[16];
	char since[24];
	char exit_text[16] = "-";
	const char *state = cli_text(o, "state");
	bool ended = json_integer_value(json_object_get(o, "ended_ns")) != 0;

	if (p->format == FORMAT_JSON) {
		cli_print_json(o);
		return;
	}
	if (p->quiet) {
		cli_print_safe(cli_text(o, "name"));
		(void)putchar('\n');
		return;
	}
	units_format_size(
		(uint64_t)json_integer_value(json_object_get(o, "memory")), memory, sizeof(memory));
	age(o, ended ? "ended_ns" : "started_ns", since, sizeof(since));
	if (json_is_integer(code))
		(void)snprintf(exit_text, sizeof(exit_text), "%d", (int)json_integer_value(code));
	table_add(p->t,
		(const char *const[]){ cli_text(o, "name"), state, since, exit_text, memory,
			cli_text(o, "reason") });
}

int cmd_ps(int argc, char **argv)
{
	static const struct option options[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "format", required_argument, NULL, 'F' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct ps p = { 0 };
	struct call call = CALL_INIT;
	struct kerr err = { 0 };
	bool all = false;
	int c;
	int r;

	while ((c = getopt_long(argc, argv, "+aqh", options, NULL)) != -1) {
		if (c == 'a')
			all = true;
		else if (c == 'q')
			p.quiet = true;
		else if (c == 'h')
			return cli_help("ps", help);
		else if (c != 'F')
			return cli_usage("ps", "see above");
		else if (cli_format_parse(optarg, &p.format) < 0)
			return cli_usage("ps", "--format %s: expected table or json", optarg);
	}
	if (optind < argc)
		return cli_usage("ps", "unexpected argument %s", argv[optind]);
	p.t = table_new(6);
	table_add(
		p.t, (const char *const[]){ "NAME", "STATE", "SINCE", "EXIT", "MEMORY", "REASON" });
	r = call_kosvmd("ps", json_pack("{s:b}", "all", all), NULL, 0, row, &p, &call, &err);
	if (r == 0 && p.format == FORMAT_TABLE && !p.quiet)
		table_print(p.t);
	table_free(p.t);
	call_done(&call);
	return r < 0 ? cli_fail("ps", &err) : 0;
}
