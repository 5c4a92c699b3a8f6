#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "call.h"
#include "print.h"
#include "verbs.h"

static void print_value(const char *key, const json_t *value)
{
	char number[32];
	char name[32];
	size_t i = 0;

	for (; key[i] && i + 1 < sizeof(name); i++)
		name[i] = key[i] == '_' ? ' ' : key[i];
	name[i] = '\0';
	(void)printf("%-12s ", name);
	if (json_is_integer(value)) {
		(void)snprintf(
			number, sizeof(number), "%lld", (long long)json_integer_value(value));
		cli_print_safe(number);
	} else {
		cli_print_safe(json_is_string(value)  ? json_string_value(value)
				: json_is_true(value) ? "yes"
						      : "no");
	}
	(void)putchar('\n');
}

static void print_table(const json_t *info, const json_t *panic)
{
	const json_t *value;
	const json_t *p;
	const char *key;
	char since[24];
	size_t i;

	json_object_foreach((json_t *)info, key, value)
	{
		if (strcmp(key, "started_ns") != 0 && strcmp(key, "isolation") != 0 &&
			strcmp(key, "quotas") != 0)
			print_value(key, value);
	}
	cli_age(info, "started_ns", since, sizeof(since));
	(void)printf("%-12s %s\n", "up", since);
	json_array_foreach(json_object_get(info, "isolation"), i, p)
	{
		if (json_is_true(json_object_get(p, "active")))
			continue;
		(void)printf("%-12s without %s: ", "isolation", cli_text(p, "name"));
		cli_print_safe(cli_text(p, "why"));
		(void)putchar('\n');
	}
	json_array_foreach(json_object_get(info, "quotas"), i, p)
	{
		if (json_is_true(json_object_get(p, "active")))
			continue;
		(void)printf("%-12s without %s: ", "quotas", cli_text(p, "by"));
		cli_print_safe(cli_text(p, "why"));
		(void)putchar('\n');
	}
	json_array_foreach(json_object_get(panic, "panics"), i, p)
	{
		(void)printf("%-12s %s: ", "panic", cli_text(p, "action"));
		cli_print_safe(cli_text(p, "reason"));
		(void)fputs(" -> `kosvm unpanic` ends it\n", stdout);
	}
}

static int info(const struct cmd *c, int argc, char **argv)
{
	enum cli_format format = FORMAT_TABLE;
	struct kerr err = { 0 };
	json_t *panic = NULL;
	json_t *o = NULL;
	int opt;
	int r;

	while ((opt = cli_opt(c, argc, argv)) > 0) {
		if (cli_format_parse(optarg, &format) < 0)
			return cli_usage(c, "--format %s: expected table or json", optarg);
	}
	if (opt != -1)
		return CLI_OPT_EXIT(opt);
	if (optind < argc)
		return cli_usage(c, "unexpected argument %s", argv[optind]);
	r = call_kosvmd(CALL_SHORT, "GET", url_new("/v1/info"), NULL, &o, &err);
	if (r == 0)
		r = call_kosvmd(CALL_SHORT, "GET", url_new("/v1/panic"), NULL, &panic, &err);
	if (r == 0 && format == FORMAT_TABLE) {
		print_table(o, panic);
	} else if (r == 0) {
		(void)json_object_set(o, "panics", json_object_get(panic, "panics"));
		cli_print_json(o);
	}
	json_decref(panic);
	json_decref(o);
	return r < 0 ? cli_fail(c, &err) : 0;
}

const struct cmd cmd_info = {
	.name = "info",
	.args = "[--format table|json]",
	.summary = "say what kosvmd has and where",
	.opts = (const struct opt[]){ { "format", OPT_LONG, "F",
					      "table (default) or json (one object)" },
		{ 0 } },
	.fn = info,
};
