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

#include "cli.h"
#include "names.h"
#include "secret.h"

static const char help[] =
	"  key gen NAME [--no-password]   make NAME.key (secret) and NAME.pub\n"
	"  key trust FILE.pub             let this host accept what the key signs\n"
	"  key ls [--format table|json]   list the keys this host trusts\n"
	"  key rm ID...                   trust a key no longer\n\n"
	"The files are minisign's: `minisign -S` and `minisign -V` work with them.\n";

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

static int gen(int argc, char **argv)
{
	static const struct option options[] = {
		{ "no-password", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct kerr err = { 0 };
	char password[1024] = "";
	bool ask = true;
	int c;
	int r = 0;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'n')
			ask = false;
		else if (c == 'h')
			return cli_help("key", help);
		else
			return cli_usage("key", "see above");
	}
	if (argc - optind != 1)
		return cli_usage("key", "gen: expected one name");
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
	return r < 0 ? cli_fail("key gen", &err) : 0;
}

static int trust(int argc, char **argv)
{
	_cleanup_close_ int fd = -1;
	struct call call = CALL_INIT;
	struct kerr err = { 0 };
	int r = cli_no_options("key", argc, argv, help);

	if (r >= 0)
		return r;
	if (argc - optind != 1)
		return cli_usage("key", "trust: expected one .pub file");
	fd = cli_open(argv[optind], O_RDONLY, &err);
	r = fd < 0 ? fd
		   : call_kosvmd("key-trust", json_pack("{s:o}", "file", api_text(argv[optind])),
			     &fd, 1, NULL, NULL, &call, &err);
	if (r == 0)
		(void)puts(cli_text(call.ok, "id"));
	call_done(&call);
	return r < 0 ? cli_fail("key trust", &err) : 0;
}

struct ls {
	struct table *t;
	enum cli_format format;
};

static void row(void *user, const json_t *o)
{
	struct ls *l = user;

	if (l->format == FORMAT_JSON)
		cli_print_json(o);
	else
		table_add(l->t, (const char *const[]){ cli_text(o, "id"), cli_text(o, "comment") });
}

static int list(int argc, char **argv)
{
	static const struct option options[] = {
		{ "format", required_argument, NULL, 'F' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct call call = CALL_INIT;
	struct kerr err = { 0 };
	struct ls l = { 0 };
	int c;
	int r;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h')
			return cli_help("key", help);
		if (c != 'F')
			return cli_usage("key", "see above");
		if (cli_format_parse(optarg, &l.format) < 0)
			return cli_usage("key", "--format %s: expected table or json", optarg);
	}
	if (optind < argc)
		return cli_usage("key", "ls: unexpected argument %s", argv[optind]);
	l.t = table_new(2);
	table_add(l.t, (const char *const[]){ "ID", "COMMENT" });
	r = call_kosvmd("key-ls", json_object(), NULL, 0, row, &l, &call, &err);
	if (r == 0 && l.format == FORMAT_TABLE)
		table_print(l.t);
	table_free(l.t);
	call_done(&call);
	return r < 0 ? cli_fail("key ls", &err) : 0;
}

static int rm(int argc, char **argv)
{
	int r = cli_no_options("key", argc, argv, help);

	if (r >= 0)
		return r;
	if (optind >= argc)
		return cli_usage("key", "rm: expected ids of keys");
	return call_each("key rm", "key-rm", "id", argc - optind, argv + optind, NULL, names_print);
}

int cmd_key(int argc, char **argv)
{
	static const struct subcmd subs[] = {
		{ "gen", gen },
		{ "trust", trust },
		{ "ls", list },
		{ "rm", rm },
		{ 0 },
	};

	return cli_dispatch("key", subs, argc, argv, help);
}
