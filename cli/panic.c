#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "print.h"
#include "verbs.h"

enum { ALL = OPT_LONG, KILL, FREEZE };

/* " team=red role=web", or " all agents". */
static void print_scope(const json_t *labels)
{
	const char *key;
	json_t *value;

	if (json_object_size(labels) == 0)
		(void)fputs(" all agents", stdout);
	json_object_foreach((json_t *)labels, key, value)
	{
		(void)putchar(' ');
		cli_print_safe(key);
		(void)putchar('=');
		cli_print_safe(json_string_value(value) ? json_string_value(value) : "");
	}
}

static void report(const json_t *answer)
{
	const json_t *p;
	size_t i;

	json_array_foreach(json_object_get(answer, "panics"), i, p)
	{
		cli_print_safe(cli_text(p, "action"));
		print_scope(json_object_get(p, "labels"));
		(void)fputs(": ", stdout);
		cli_print_safe(cli_text(p, "reason"));
		(void)putchar('\n');
	}
}

static int call(const struct cmd *c, const char *method, json_t *body)
{
	struct kerr err = { 0 };
	json_t *answer = NULL;

	if (call_kosvmd(CALL_SHORT, method, url_new("/v1/panic"), body, &answer, &err) < 0)
		return cli_fail(c, &err);
	report(answer);
	json_decref(answer);
	return 0;
}

static int add_label(json_t *body, const char *text)
{
	const char *eq = strchr(text, '=');
	json_t *labels = json_object_get(body, "labels");
	json_t *value;

	if (!eq || eq == text)
		return -1;
	value = json_string(eq + 1);
	if (!labels) {
		labels = json_object();
		(void)json_object_set_new(body, "labels", labels);
	}
	return json_object_setn_new(labels, text, (size_t)(eq - text), value);
}

/* -1 to go on, else the exit code. */
static int options(const struct cmd *c, int argc, char **argv, json_t *body)
{
	bool all = false;
	int o;

	while ((o = cli_opt(c, argc, argv)) > 0) {
		if (o == ALL)
			all = true;
		else if (o == 'l' && add_label(body, optarg) < 0)
			return cli_usage(c, "--label %s: expected KEY=VALUE", optarg);
		else if (o == 'r' && json_object_set_new(body, "reason", json_string(optarg)) < 0)
			return cli_usage(c, "the reason is no valid UTF-8 text");
		else if (o == KILL || o == FREEZE)
			(void)json_object_set_new(
				body, "action", json_string(o == KILL ? "kill" : "freeze"));
	}
	if (o != -1)
		return CLI_OPT_EXIT(o);
	if (optind < argc)
		return cli_usage(c, "unexpected argument %s", argv[optind]);
	if (all && json_object_get(body, "labels"))
		return cli_usage(c, "--all and --label exclude each other");
	if (!json_object_get(body, "reason"))
		return cli_usage(c, "expected --reason TEXT, which is recorded");
	return -1;
}

static int panic(const struct cmd *c, int argc, char **argv)
{
	json_t *body = json_pack("{s:s}", "action", "freeze");
	int r = options(c, argc, argv, body);

	if (r < 0)
		return call(c, "POST", body);
	json_decref(body);
	return r;
}

static int unpanic(const struct cmd *c, int argc, char **argv)
{
	int r = cli_no_options(c, argc, argv);

	if (r >= 0)
		return r;
	if (optind < argc)
		return cli_usage(c, "unexpected argument %s", argv[optind]);
	return call(c, "DELETE", NULL);
}

const struct cmd cmd_panic = {
	.name = "panic",
	.args = "[--freeze | --kill] [--all | -l KEY=VALUE...] -r REASON",
	.summary = "stop agents at once and refuse starts until unpanic",
	.more = "The kill switch: it holds over a restart of kosvmd and of the machine.\n",
	.opts = (const struct opt[]){ { "all", ALL, NULL, "every agent (default)" },
		{ "label", 'l', "KEY=VALUE",
			"only agents with this label; may be repeated, all must hold" },
		{ "freeze", FREEZE, NULL, "stop their vCPUs, so that nothing is lost (default)" },
		{ "kill", KILL, NULL, "end their VMs, as if the power went" },
		{ "reason", 'r', "TEXT", "why, for those who find it" }, { 0 } },
	.fn = panic,
};

const struct cmd cmd_unpanic = {
	.name = "unpanic",
	.args = "",
	.summary = "end the panic",
	.more = "What was frozen goes on; what was killed does not start by itself.\n",
	.fn = unpanic,
};
