#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <manifests/minisign.h>
#include <wire/api_proto.h>

#include "each.h"
#include "files.h"
#include "print.h"
#include "secret.h"
#include "verbs.h"

/* A new file only: an existing key is never overwritten. */
static int write_new(const char *path, const char *text, mode_t mode, struct kerr *e)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	int r;

	if (fd < 0 && errno == EEXIST)
		return kerr_set(e, EEXIST, "%s exists already: choose another name", path);
	if (fd < 0)
		return kerr_errno(e, errno, "%s", path);
	r = io_write_full(fd, text, strlen(text));
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlink(path);
		return kerr_errno(e, -r, "%s: write", path);
	}
	return 0;
}

static int write_pair(const char *name, const char *sec, const char *pub, struct kerr *e)
{
	char sec_path[4096];
	char pub_path[4096];
	int r;

	if ((size_t)snprintf(sec_path, sizeof(sec_path), "%s.key", name) >= sizeof(sec_path) ||
		(size_t)snprintf(pub_path, sizeof(pub_path), "%s.pub", name) >= sizeof(pub_path))
		return kerr_set(e, ENAMETOOLONG, "the name is too long");
	r = write_new(sec_path, sec, 0600, e);
	if (r < 0)
		return r;
	r = write_new(pub_path, pub, 0644, e);
	if (r < 0) {
		(void)unlink(sec_path);
		return r;
	}
	(void)printf("%s\n%s\n", sec_path, pub_path);
	return 0;
}

static int make_pair(const char *name, const char *password, struct kerr *e)
{
	struct minisign_sec sec;
	struct minisign_pub pub;
	char *sec_text = NULL;
	_cleanup_free_ char *pub_text = NULL;
	int r = minisign_init(e);

	if (r == 0)
		r = minisign_keygen(&sec, &pub, e);
	if (r < 0)
		return r;
	r = minisign_sec_encode(&sec, password, &sec_text, e);
	minisign_sec_wipe(&sec);
	if (r == 0)
		r = minisign_pub_encode(&pub, &pub_text, e);
	if (r == 0)
		r = write_pair(name, sec_text, pub_text, e);
	if (sec_text)
		sodium_memzero(sec_text, strlen(sec_text));
	free(sec_text);
	return r;
}

static int gen(const struct cmd *c, int argc, char **argv)
{
	struct kerr err = { 0 };
	char password[1024] = "";
	bool ask = true;
	int o;
	int r = 0;

	while ((o = cli_opt(c, argc, argv)) > 0)
		ask = false;
	if (o != -1)
		return CLI_OPT_EXIT(o);
	if (argc - optind != 1)
		return cli_usage(c, "expected one name");
	if (ask) {
		r = secret_ask(
			"Password for the secret key: ", true, password, sizeof(password), &err);
		if (r == 0 && !*password)
			r = kerr_set(&err, EINVAL,
				"an empty password: say --no-password if that is meant");
	}
	if (r == 0)
		r = make_pair(argv[optind], password, &err);
	sodium_memzero(password, sizeof(password));
	return r < 0 ? cli_fail(c, &err) : 0;
}

static const struct cmd cmd_gen = {
	.name = "key gen",
	.args = "[--no-password] NAME",
	.summary = "make NAME.key (secret) and NAME.pub",
	.opts = (const struct opt[]){ { "no-password", OPT_LONG, NULL,
					      "store the secret key unencrypted" },
		{ 0 } },
	.fn = gen,
};

static int send_key(const char *file, struct kerr *e)
{
	_cleanup_close_ int fd = cli_open(file, O_RDONLY, e);
	_cleanup_free_ char *text = NULL;
	json_t *answer = NULL;
	json_t *key;
	size_t len = 0;
	int r = fd < 0 ? fd : io_read_all(fd, MINISIGN_FILE_MAX, file, &text, &len, e);

	if (r < 0)
		return r;
	key = json_stringn(text, len);
	if (!key || memchr(text, '\0', len)) {
		json_decref(key);
		return kerr_set(e, EINVAL, "%s: no public key: it is no text in UTF-8", file);
	}
	r = call_kosvmd(CALL_SHORT, "POST", url_new("/v1/keys"),
		json_pack("{s:o, s:o}", "key", key, "file", api_text(file)), &answer, e);
	if (r == 0)
		(void)puts(cli_text(answer, "id"));
	json_decref(answer);
	return r;
}

static int trust(const struct cmd *c, int argc, char **argv)
{
	struct kerr err = { 0 };
	int r = cli_no_options(c, argc, argv);

	if (r >= 0)
		return r;
	if (argc - optind != 1)
		return cli_usage(c, "expected one .pub file");
	return send_key(argv[optind], &err) < 0 ? cli_fail(c, &err) : 0;
}

static const struct cmd cmd_trust = {
	.name = "key trust",
	.args = "FILE.pub",
	.summary = "let this host accept what the key signs",
	.fn = trust,
	.words = WORDS_FILES,
};

static int list(const struct cmd *c, int argc, char **argv)
{
	enum cli_format format = FORMAT_TABLE;
	struct kerr err = { 0 };
	json_t *answer = NULL;
	struct table *t;
	const json_t *k;
	size_t i;
	int o;

	while ((o = cli_opt(c, argc, argv)) > 0) {
		if (cli_format_parse(optarg, &format) < 0)
			return cli_usage(c, "--format %s: expected table or json", optarg);
	}
	if (o != -1)
		return CLI_OPT_EXIT(o);
	if (optind < argc)
		return cli_usage(c, "unexpected argument %s", argv[optind]);
	if (call_kosvmd(CALL_SHORT, "GET", url_new("/v1/keys"), NULL, &answer, &err) < 0)
		return cli_fail(c, &err);
	t = table_new(2);
	table_add(t, (const char *const[]){ "ID", "COMMENT" });
	json_array_foreach(json_object_get(answer, "keys"), i, k)
	{
		if (format == FORMAT_JSON)
			cli_print_json(k);
		else
			table_add(t,
				(const char *const[]){ cli_text(k, "id"), cli_text(k, "comment") });
	}
	if (format == FORMAT_TABLE)
		table_print(t);
	table_free(t);
	json_decref(answer);
	return 0;
}

static const struct cmd cmd_ls = {
	.name = "key ls",
	.args = "[--format table|json]",
	.summary = "list the keys this host trusts",
	.opts = (const struct opt[]){ { "format", OPT_LONG, "F",
					      "table (default) or json (one object a line)" },
		{ 0 } },
	.fn = list,
};

static int rm(const struct cmd *c, int argc, char **argv)
{
	const struct each how = {
		.kind = CALL_SHORT, .method = "DELETE", .collection = "/v1/keys"
	};
	int r = cli_no_options(c, argc, argv);

	if (r >= 0)
		return r;
	if (optind >= argc)
		return cli_usage(c, "expected ids of keys");
	return each_name(c, &how, argc - optind, argv + optind);
}

static const struct cmd cmd_key_rm = {
	.name = "key rm",
	.args = "ID...",
	.summary = "trust keys no longer",
	.fn = rm,
	.words = WORDS_KEYS,
};

static const struct cmd *const subs[] = { &cmd_gen, &cmd_trust, &cmd_ls, &cmd_key_rm, NULL };

const struct cmd cmd_key = {
	.name = "key",
	.args = "gen|trust|ls|rm ...",
	.summary = "signing keys",
	.more = "The files are minisign's: `minisign -S` and `minisign -V` work with them.\n",
	.subs = subs,
};
