#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <manifests/manifest.h>
#include <wire/api_proto.h>

#include "call.h"
#include "files.h"
#include "print.h"
#include "verbs.h"

/* "manifest echo-mint.ini:9" */
static void origin(const json_t *o, char *buf, size_t len)
{
	const char *where = cli_text(o, "where");

	(void)snprintf(buf, len, "%s", *where ? where : cli_text(o, "from"));
}

static void print_limits(const json_t *limits)
{
	struct table *t = table_new(5);
	const json_t *o;
	size_t i;

	table_add(t, (const char *const[]){ "LIMIT", "VALUE", "FROM", "CEILING", "HELD BY" });
	json_array_foreach(limits, i, o)
	{
		char from[400];
		char most[400] = "-";

		origin(o, from, sizeof(from));
		if (*cli_text(o, "most"))
			(void)snprintf(most, sizeof(most), "%s (%s)", cli_text(o, "most"),
				cli_text(o, "most_where"));
		table_add(t,
			(const char *const[]){ cli_text(o, "name"), cli_text(o, "value"), from,
				most, cli_text(o, "by") });
	}
	table_print(t);
	table_free(t);
}

/* What should hold here and does not. */
static void print_missing(const json_t *list, const char *what, const char *name)
{
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		if (json_is_true(json_object_get(o, "active")))
			continue;
		(void)printf("without %s %s: ", what, cli_text(o, name));
		cli_print_safe(cli_text(o, "why"));
		(void)putchar('\n');
	}
}

static int ask(const char *file, json_t **ret, struct kerr *e)
{
	_cleanup_close_ int fd = cli_open(file, O_RDONLY, e);
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	json_t *manifest;
	int r = fd < 0 ? fd : io_read_all(fd, MANIFEST_MAX_BYTES, file, &text, &len, e);

	if (r < 0)
		return r;
	manifest = json_stringn(text, len);
	if (!manifest)
		return kerr_set(e, EINVAL, "%s: it is not UTF-8 text", file);
	return call_kosvmd(CALL_SHORT, "POST", url_new("/v1/policy"),
		json_pack("{s:o, s:o}", "manifest", manifest, "file", api_text(file)), ret, e);
}

static int explain(const struct cmd *c, int argc, char **argv)
{
	enum cli_format format = FORMAT_TABLE;
	struct kerr err = { 0 };
	json_t *answer = NULL;
	const char *refused;
	int o;
	int r;

	while ((o = cli_opt(c, argc, argv)) > 0) {
		if (cli_format_parse(optarg, &format) < 0)
			return cli_usage(c, "--format %s: expected table or json", optarg);
	}
	if (o != -1)
		return CLI_OPT_EXIT(o);
	if (argc - optind != 1)
		return cli_usage(c, "expected one manifest");
	r = ask(argv[optind], &answer, &err);
	if (r < 0)
		return cli_fail(c, &err);
	if (format == FORMAT_JSON) {
		cli_print_json(answer);
	} else {
		print_limits(json_object_get(answer, "limits"));
		print_missing(json_object_get(answer, "isolation"), "isolation", "name");
		print_missing(json_object_get(answer, "quotas"), "quotas", "by");
	}
	refused = cli_text(answer, "refused");
	if (*refused) {
		(void)kerr_set(&err, EPERM, "%s", refused);
		r = cli_fail(c, &err);
	}
	json_decref(answer);
	return r;
}

static const struct cmd cmd_explain = {
	.name = "policy explain",
	.args = "[--format table|json] MANIFEST",
	.summary = "print each limit that would hold for an agent, and who says so",
	.more = "The manifest need not be signed. FROM is a line of the manifest or of sandbox.ini, or\n"
		"the default; CEILING the most that sandbox.ini allows. The exit code is 1 when this\n"
		"host would refuse the manifest.\n",
	.opts = (const struct opt[]){ { "format", OPT_LONG, "F",
					      "table (default) or json (one object)" },
		{ 0 } },
	.fn = explain,
	.words = WORDS_FILES,
};

static const struct cmd *const subs[] = { &cmd_explain, NULL };

const struct cmd cmd_policy = {
	.name = "policy",
	.args = "explain ...",
	.summary = "what an agent may have on this host",
	.more = "See kosvm-sandbox(5).\n",
	.subs = subs,
};
