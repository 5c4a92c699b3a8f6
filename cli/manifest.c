#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <manifests/manifest.h>
#include <manifests/minisign.h>

#include "files.h"
#include "print.h"
#include "secret.h"
#include "verbs.h"

struct text {
	char *data;
	size_t len;
};

static void text_done(struct text *t)
{
	free(t->data);
}
#define _cleanup_text_ _cleanup_(text_done)

static int text_read(const char *path, size_t max, struct text *ret, struct kerr *e)
{
	_cleanup_close_ int fd = cli_open(path, O_RDONLY, e);

	return fd < 0 ? fd : io_read_all(fd, max, path, &ret->data, &ret->len, e);
}

static int parse_text(const char *path, const struct text *t, struct kerr *e)
{
	struct manifest m = { 0 };
	int r = manifest_parse(path, t->data, t->len, &m, e);

	manifest_done(&m);
	return r;
}

/* One file and, when c takes one, an option with a value. Returns -1 to go on, else the exit code.
 */
static int parse_args(
	const struct cmd *c, int argc, char **argv, const char **ret_file, const char **ret_value)
{
	int o;

	while ((o = cli_opt(c, argc, argv)) > 0) {
		if (ret_value)
			*ret_value = optarg;
	}
	if (o != -1)
		return CLI_OPT_EXIT(o);
	if (argc - optind != 1)
		return cli_usage(c, "expected one manifest");
	if (ret_value && !*ret_value)
		return cli_usage(c, "expected --%s FILE", c->opts->name);
	*ret_file = argv[optind];
	return -1;
}

static int check(const struct cmd *c, int argc, char **argv)
{
	_cleanup_text_ struct text t = { 0 };
	struct kerr err = { 0 };
	const char *file = NULL;
	int r = parse_args(c, argc, argv, &file, NULL);

	if (r >= 0)
		return r;
	r = text_read(file, MANIFEST_MAX_BYTES, &t, &err);
	if (r == 0)
		r = parse_text(file, &t, &err);
	return r < 0 ? cli_fail(c, &err) : 0;
}

static const struct cmd cmd_check = {
	.name = "manifest check",
	.args = "FILE",
	.summary = "say whether a manifest is well-formed",
	.fn = check,
	.words = WORDS_FILES,
};

static int sign_text(const char *file, const struct text *t, const char *key_file, struct kerr *e)
{
	_cleanup_free_ char *sig = NULL;
	_cleanup_close_ int dirfd = -1;
	const char *slash = strrchr(file, '/');
	struct minisign_sec sec;
	char comment[512];
	char name[300];
	char dir[4096];
	int r;

	(void)snprintf(comment, sizeof(comment), "timestamp:%lld\tfile:%.255s\tprehashed",
		(long long)time(NULL), slash ? slash + 1 : file);
	r = secret_key_load(key_file, &sec, e);
	if (r < 0)
		return r;
	r = minisign_sign(&sec, t->data, t->len, comment, &sig, e);
	minisign_sec_wipe(&sec);
	if (r < 0)
		return r;
	if ((size_t)snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - file + 1) : 1,
		    slash ? file : ".") >= sizeof(dir) ||
		(size_t)snprintf(name, sizeof(name), "%s.minisig", slash ? slash + 1 : file) >=
			sizeof(name))
		return kerr_set(e, ENAMETOOLONG, "%s: the path is too long", file);
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return kerr_errno(e, errno, "%s", dir);
	r = io_write_file_at(dirfd, name, sig, strlen(sig), 0644, e);
	if (r == 0)
		(void)printf("%s.minisig\n", file);
	return r;
}

static int sign(const struct cmd *c, int argc, char **argv)
{
	_cleanup_text_ struct text t = { 0 };
	struct kerr err = { 0 };
	const char *file = NULL;
	const char *key = NULL;
	int r = parse_args(c, argc, argv, &file, &key);

	if (r >= 0)
		return r;
	r = minisign_init(&err);
	if (r == 0)
		r = text_read(file, MANIFEST_MAX_BYTES, &t, &err);
	if (r == 0)
		r = parse_text(file, &t, &err);
	if (r == 0)
		r = sign_text(file, &t, key, &err);
	return r < 0 ? cli_fail(c, &err) : 0;
}

static const struct cmd cmd_sign = {
	.name = "manifest sign",
	.args = "FILE --key KEY",
	.summary = "check a manifest and write FILE.minisig",
	.opts = (const struct opt[]){ { "key", OPT_LONG, "KEY", "the secret key" }, { 0 } },
	.fn = sign,
	.words = WORDS_FILES,
};

static int verify(const struct cmd *c, int argc, char **argv)
{
	_cleanup_text_ struct text t = { 0 };
	_cleanup_text_ struct text pub_text = { 0 };
	_cleanup_text_ struct text sig = { 0 };
	struct minisign_pub pub;
	char comment[MINISIGN_COMMENT_MAX];
	char sig_file[4096];
	struct kerr err = { 0 };
	const char *file = NULL;
	const char *pub_file = NULL;
	int r = parse_args(c, argc, argv, &file, &pub_file);

	if (r >= 0)
		return r;
	r = minisign_init(&err);
	if ((size_t)snprintf(sig_file, sizeof(sig_file), "%s.minisig", file) >= sizeof(sig_file))
		r = kerr_set(&err, ENAMETOOLONG, "the manifest's path is too long");
	if (r == 0)
		r = text_read(file, MANIFEST_MAX_BYTES, &t, &err);
	if (r == 0)
		r = text_read(sig_file, MINISIGN_FILE_MAX, &sig, &err);
	if (r == 0)
		r = text_read(pub_file, MINISIGN_FILE_MAX, &pub_text, &err);
	if (r == 0)
		r = minisign_pub_decode(pub_file, pub_text.data, pub_text.len, &pub, &err);
	if (r == 0)
		r = minisign_verify(
			sig_file, sig.data, sig.len, t.data, t.len, &pub, 1, NULL, comment, &err);
	if (r == 0)
		r = parse_text(file, &t, &err);
	if (r < 0)
		return cli_fail(c, &err);
	cli_print_safe(comment);
	(void)putchar('\n');
	return 0;
}

static const struct cmd cmd_verify = {
	.name = "manifest verify",
	.args = "FILE --pub PUB",
	.summary = "check FILE.minisig and the manifest",
	.opts = (const struct opt[]){ { "pub", OPT_LONG, "PUB", "the public key" }, { 0 } },
	.fn = verify,
	.words = WORDS_FILES,
};

static const struct cmd *const subs[] = { &cmd_check, &cmd_sign, &cmd_verify, NULL };

const struct cmd cmd_manifest = {
	.name = "manifest",
	.args = "check|sign|verify ...",
	.summary = "sign and check manifests",
	.more = "See kosvm-manifest(5).\n",
	.subs = subs,
};
