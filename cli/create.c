#include "create.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <manifests/manifest.h>
#include <manifests/minisign.h>
#include <wire/api_proto.h>

#include "environ.h"
#include "files.h"
#include "print.h"
#include "term.h"
#include "verbs.h"

void create_init(struct create *x)
{
	*x = (struct create){ .body = json_object(), .env = json_object() };
	(void)json_object_set_new(x->body, "env", x->env);
}

void create_done(struct create *x)
{
	json_decref(x->body);
}

/* The text of a file into the request, and its name for messages. */
static int add_file(json_t *body, const char *key, const char *name_key, const char *path, int fd,
	size_t max, struct kerr *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	json_t *t;
	int r = io_read_all(fd, max, path, &text, &len, e);

	if (r < 0)
		return r;
	t = json_stringn(text, len);
	if (!t || memchr(text, '\0', len)) {
		json_decref(t);
		return kerr_set(e, EINVAL, "%s: no text in UTF-8", path);
	}
	(void)json_object_set_new(body, key, t);
	(void)json_object_set_new(body, name_key, api_text(path));
	return 0;
}

static int add_files(struct create *x, const char *file, struct kerr *e)
{
	_cleanup_close_ int manifest = cli_open(file, O_RDONLY, e);
	_cleanup_close_ int sig = -1;
	_cleanup_free_ char *beside = NULL;
	const char *sig_file = x->sig_file;
	int r;

	if (manifest < 0)
		return manifest;
	if (!sig_file) {
		if (asprintf(&beside, "%s.minisig", file) < 0)
			return kerr_errno(e, ENOMEM, "signature");
		sig_file = beside;
	}
	sig = cli_open(sig_file, O_RDONLY, e);
	if (sig < 0)
		return kerr_set(e, -sig,
			"%s: not signed: %s cannot be opened: `kosvm manifest sign %s --key FILE` "
			"makes it",
			file, sig_file, file);
	r = add_file(x->body, "manifest", "manifest_file", file, manifest, MANIFEST_MAX_BYTES, e);
	if (r == 0)
		r = add_file(x->body, "signature", "signature_file", sig_file, sig,
			MINISIGN_FILE_MAX, e);
	return r;
}

int create_agent(struct create *x, const char *file, bool start, json_t **ret, struct kerr *e)
{
	uint32_t rows, cols;
	int r = add_files(x, file, e);

	if (r < 0)
		return r;
	if (x->tty) {
		term_size(&rows, &cols);
		(void)json_object_set_new(x->body, "tty", json_true());
		(void)json_object_set_new(x->body, "rows", json_integer(rows));
		(void)json_object_set_new(x->body, "cols", json_integer(cols));
	}
	if (x->interactive)
		(void)json_object_set_new(x->body, "stdin", json_true());
	if (x->remove)
		(void)json_object_set_new(x->body, "remove", json_true());
	if (x->linger_ms)
		(void)json_object_set_new(x->body, "linger_ms", json_integer(x->linger_ms));
	if (start)
		(void)json_object_set_new(x->body, "start", json_true());
	return call_kosvmd(start ? CALL_LONG : CALL_SHORT, "POST", url_new("/v1/agents"),
		json_incref(x->body), ret, e);
}

int create_options(
	const struct cmd *c, int argc, char **argv, struct create *x, const char **ret_file)
{
	struct kerr err = { 0 };
	json_t *t;
	int o;

	while ((o = cli_opt(c, argc, argv)) > 0) {
		int r = 0;

		if (o == 'd')
			x->detach = true;
		else if (o == 'i')
			x->interactive = true;
		else if (o == 't')
			x->tty = true;
		else if (o == 'e')
			r = environ_add(x->env, optarg, &err);
		else if (o == CREATE_RM)
			x->remove = true;
		else if (o == CREATE_SIGNATURE)
			x->sig_file = optarg;
		else if ((t = call_string("--name", optarg, &err)))
			(void)json_object_set_new(x->body, "name", t);
		else
			r = -EINVAL;
		if (r < 0)
			return cli_usage(c, "%s", err.msg);
	}
	if (o != -1)
		return CLI_OPT_EXIT(o);
	if (argc - optind != 1)
		return cli_usage(c, "expected one manifest");
	*ret_file = argv[optind];
	return -1;
}

static int create(const struct cmd *c, int argc, char **argv)
{
	struct create x;
	struct kerr err = { 0 };
	json_t *agent = NULL;
	const char *file = NULL;
	int r;

	create_init(&x);
	r = create_options(c, argc, argv, &x, &file);
	if (r < 0) {
		r = create_agent(&x, file, false, &agent, &err);
		if (r < 0) {
			r = cli_fail(c, &err);
		} else {
			cli_print_safe(cli_text(agent, "name"));
			(void)putchar('\n');
		}
		json_decref(agent);
	}
	create_done(&x);
	return r;
}

const struct cmd cmd_create = {
	.name = "create",
	.args = "[OPTION...] MANIFEST",
	.summary = "verify a signed manifest and record its agent, not started",
	.more = "Prints the agent's name; `kosvm start NAME` starts it.\n",
	.opts = (const struct opt[]){ CREATE_OPTIONS, { 0 } },
	.fn = create,
	.words = WORDS_FILES,
};
