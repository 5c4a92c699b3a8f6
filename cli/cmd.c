#include "cmd.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "safe.h"

#define OPTS_MAX 24u

static int usage_code(const struct cmd *c)
{
	return c->bad_usage ? c->bad_usage : CLI_USAGE;
}

int cli_fail(const struct cmd *c, const struct kerr *e)
{
	(void)fprintf(stderr, "kosvm %s: ", c->name);
	safe_print(stderr, e->msg);
	(void)fputc('\n', stderr);
	return CLI_FAILED;
}

static void print_usage(const struct cmd *c, FILE *f)
{
	(void)fprintf(f, "usage: kosvm %s%s%s\n", c->name, *c->args ? " " : "", c->args);
}

int cli_usage(const struct cmd *c, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, "kosvm %s: ", c->name);
	safe_print(stderr, text);
	(void)fputc('\n', stderr);
	print_usage(c, stderr);
	return usage_code(c);
}

static void print_option(const struct opt *o)
{
	char left[40];

	(void)snprintf(left, sizeof(left), "%c%c%s --%s%s%s", o->key < OPT_LONG ? '-' : ' ',
		o->key < OPT_LONG ? o->key : ' ', o->key < OPT_LONG ? "," : " ", o->name,
		o->arg ? " " : "", o->arg ? o->arg : "");
	(void)printf("  %-24s %s\n", left, o->text);
}

int cli_help(const struct cmd *c)
{
	print_usage(c, stdout);
	(void)printf("\n%c%s.\n", c->summary[0] - ('a' - 'A'), c->summary + 1);
	if (c->subs) {
		(void)putchar('\n');
		for (const struct cmd *const *s = c->subs; *s; s++)
			(void)printf(
				"  kosvm %s %s\n      %s\n", (*s)->name, (*s)->args, (*s)->summary);
	}
	if (c->more)
		(void)printf("\n%s", c->more);
	if (c->opts && c->opts->name)
		(void)putchar('\n');
	for (const struct opt *o = c->opts; o && o->name; o++)
		print_option(o);
	return 0;
}

int cli_opt(const struct cmd *c, int argc, char **argv)
{
	struct option longs[OPTS_MAX] = { 0 };
	char shorts[3 * OPTS_MAX] = "h";
	size_t pos = 1;
	size_t n = 0;
	int r;

	if (c->rest) {
		shorts[0] = '+';
		shorts[pos++] = 'h';
	}
	for (const struct opt *o = c->opts; o && o->name && n + 2 < OPTS_MAX; o++) {
		longs[n++] = (struct option){ o->name, o->arg ? required_argument : no_argument,
			NULL, o->key };
		if (o->key >= OPT_LONG)
			continue;
		shorts[pos++] = (char)o->key;
		if (o->arg)
			shorts[pos++] = ':';
	}
	longs[n] = (struct option){ "help", no_argument, NULL, 'h' };
	r = getopt_long(argc, argv, shorts, longs, NULL);
	if (r == 'h')
		return -2 - cli_help(c);
	if (r != '?')
		return r;
	print_usage(c, stderr);
	return -2 - usage_code(c);
}

int cli_no_options(const struct cmd *c, int argc, char **argv)
{
	int r = cli_opt(c, argc, argv);

	return r == -1 ? -1 : CLI_OPT_EXIT(r);
}

const struct cmd *cli_find(const char *verb)
{
	for (const struct cmd *const *c = cli_cmds; *c; c++) {
		if (strcmp((*c)->name, verb) == 0)
			return *c;
	}
	return NULL;
}

int cli_run(const struct cmd *c, int argc, char **argv)
{
	size_t len = strlen(c->name);

	if (!c->subs)
		return c->fn(c, argc, argv);
	if (argc < 2)
		return cli_usage(c, "what shall be done?");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return cli_help(c);
	for (const struct cmd *const *s = c->subs; *s; s++) {
		if (strcmp((*s)->name + len + 1, argv[1]) == 0)
			return (*s)->fn(*s, argc - 1, argv + 1);
	}
	return cli_usage(c, "unknown word %s", argv[1]);
}
