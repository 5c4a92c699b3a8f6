#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include <base/units.h>

#include "call.h"
#include "print.h"
#include "verbs.h"

struct ps {
	struct table *t;
	bool quiet;
	bool whole_id;
	enum cli_format format;
};

static void row(const struct ps *p, const json_t *o)
{
	const json_t *code = json_object_get(o, "exit_code");
	char memory[16];
	char since[24];
	char id[40];
	char state[40];
	char exit_text[16] = "-";
	const char *paused = cli_text(o, "paused");
	bool ended = cli_u64(o, "ended_ns") != 0;

	if (p->format == FORMAT_JSON) {
		cli_print_json(o);
		return;
	}
	if (p->quiet) {
		cli_print_safe(cli_text(o, "name"));
		(void)putchar('\n');
		return;
	}
	(void)snprintf(id, sizeof(id), "%.*s", p->whole_id ? 32 : 12, cli_text(o, "id"));
	(void)snprintf(state, sizeof(state), "%s%s%s%s", cli_text(o, "state"), *paused ? " (" : "",
		paused, *paused ? ")" : "");
	units_format_size(cli_u64(o, "memory"), memory, sizeof(memory));
	cli_age(o, ended ? "ended_ns" : "started_ns", since, sizeof(since));
	if (json_is_integer(code))
		(void)snprintf(exit_text, sizeof(exit_text), "%d", (int)json_integer_value(code));
	table_add(p->t,
		(const char *const[]){ cli_text(o, "name"), state, since, exit_text, memory, id,
			cli_text(o, "reason") });
}

/* "name=x", "label=k=v", "state=running" (docker: status) into the query. */
static bool filter(struct url *u, const char *text)
{
	static const struct {
		const char *word;
		const char *key;
	} words[] = {
		{ "name=", "name" },
		{ "label=", "label" },
		{ "state=", "state" },
		{ "status=", "state" },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t n = strlen(words[i].word);

		if (strncmp(text, words[i].word, n) == 0) {
			url_query(u, words[i].key, text + n);
			return true;
		}
	}
	return false;
}

enum { NO_TRUNC = OPT_LONG, FORMAT };

/* -1 to go on, else the exit code. */
static int options(const struct cmd *c, int argc, char **argv, struct ps *p, struct url *u)
{
	int o;

	while ((o = cli_opt(c, argc, argv)) > 0) {
		if (o == 'a')
			url_query(u, "all", "true");
		else if (o == 'q')
			p->quiet = true;
		else if (o == NO_TRUNC)
			p->whole_id = true;
		else if (o == FORMAT && cli_format_parse(optarg, &p->format) < 0)
			return cli_usage(c, "--format %s: expected table or json", optarg);
		else if (o == 'f' && !filter(u, optarg))
			return cli_usage(c,
				"--filter %s: expected name=TEXT, state=STATE or label=KEY[=VALUE]",
				optarg);
	}
	if (o != -1)
		return CLI_OPT_EXIT(o);
	return optind < argc ? cli_usage(c, "unexpected argument %s", argv[optind]) : -1;
}

static int ps(const struct cmd *c, int argc, char **argv)
{
	struct url *u = url_new("/v1/agents");
	struct ps p = { 0 };
	struct kerr err = { 0 };
	json_t *answer = NULL;
	const json_t *o;
	size_t i;
	int r = options(c, argc, argv, &p, u);

	if (r >= 0) {
		url_free(u);
		return r;
	}
	if (call_kosvmd(CALL_SHORT, "GET", u, NULL, &answer, &err) < 0)
		return cli_fail(c, &err);
	p.t = table_new(7);
	table_add(p.t,
		(const char *const[]){
			"NAME", "STATE", "SINCE", "EXIT", "MEMORY", "ID", "REASON" });
	json_array_foreach(json_object_get(answer, "agents"), i, o) row(&p, o);
	if (p.format == FORMAT_TABLE && !p.quiet)
		table_print(p.t);
	table_free(p.t);
	json_decref(answer);
	return 0;
}

const struct cmd cmd_ps = {
	.name = "ps",
	.args = "[-a] [-q] [-f FILTER]... [--format table|json]",
	.summary = "list agents",
	.opts = (const struct opt[]){ { "all", 'a', NULL, "those that do not run, too" },
		{ "quiet", 'q', NULL, "names only" },
		{ "filter", 'f', "FILTER",
			"name=TEXT, state=STATE or label=KEY[=VALUE]; all must hold" },
		{ "no-trunc", NO_TRUNC, NULL, "whole ids" },
		{ "format", FORMAT, "F", "table (default) or json (one object a line)" }, { 0 } },
	.fn = ps,
};
