#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/units.h>
#include <wire/api_proto.h>

#include "each.h"
#include "files.h"
#include "print.h"
#include "verbs.h"

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static int send_image(const char *kind, const char *path, const char *label, struct kerr *e)
{
	_cleanup_close_ int fd = cli_open(path, O_RDONLY, e);
	_cleanup_close_ int conn = -1; /* open until kosvmd has taken the file */
	json_t *answer = NULL;
	char token[64];
	int r;

	if (fd < 0)
		return fd;
	r = call_give(fd, token, &conn, e);
	if (r == 0)
		r = call_kosvmd(CALL_LONG, "POST", url_new("/v1/images"),
			json_pack("{s:s, s:o, s:s}", "kind", kind, "label",
				api_text(label ? label : base_name(path)), "source", token),
			&answer, e);
	if (r == 0)
		(void)puts(cli_text(answer, "digest"));
	json_decref(answer);
	return r;
}

static int import(const struct cmd *c, int argc, char **argv)
{
	struct kerr err = { 0 };
	const char *label = NULL;
	const char *kind;
	const char *path;
	int o;

	while ((o = cli_opt(c, argc, argv)) > 0)
		label = optarg;
	if (o != -1)
		return CLI_OPT_EXIT(o);
	if (argc - optind != 2)
		return cli_usage(c, "expected kernel, initramfs or rootfs, and a path");
	kind = argv[optind];
	path = argv[optind + 1];
	if (strcmp(kind, "kernel") != 0 && strcmp(kind, "initramfs") != 0 &&
		strcmp(kind, "rootfs") != 0)
		return cli_usage(c, "%s: expected kernel, initramfs or rootfs", kind);
	if (send_image(kind, path, label, &err) == 0)
		return 0;
	/* What was read was named by its label. */
	if (strncmp(err.msg, base_name(path), strlen(base_name(path))) != 0)
		(void)kerr_wrap(&err, "%s", path);
	return cli_fail(c, &err);
}

static const struct cmd cmd_import = {
	.name = "image import",
	.args = "[--label TEXT] kernel|initramfs|rootfs PATH",
	.summary = "make an image and print its digest, which is what a manifest names",
	.more = "  kernel FILE     a bzImage or vmlinux\n"
		"  initramfs DIR   from lib/modules/VERSION of that kernel\n"
		"  rootfs PATH     a directory, tar file or EROFS image\n",
	.opts = (const struct opt[]){ { "label", OPT_LONG, "TEXT",
					      "what `image ls` calls it (default: the name)" },
		{ 0 } },
	.fn = import,
	.words = WORDS_FILES,
};

struct ls {
	struct table *t;
	enum cli_format format;
	bool quiet;
};

static void row(const struct ls *l, const json_t *o)
{
	char size[16];

	if (l->format == FORMAT_JSON) {
		cli_print_json(o);
		return;
	}
	if (l->quiet) {
		(void)puts(cli_text(o, "digest"));
		return;
	}
	units_format_size(cli_u64(o, "size"), size, sizeof(size));
	table_add(l->t,
		(const char *const[]){
			cli_text(o, "kind"), cli_text(o, "label"), size, cli_text(o, "digest") });
}

static int list(const struct cmd *c, int argc, char **argv)
{
	struct kerr err = { 0 };
	struct ls l = { 0 };
	json_t *answer = NULL;
	const json_t *image;
	size_t i;
	int o;

	while ((o = cli_opt(c, argc, argv)) > 0) {
		if (o == 'q')
			l.quiet = true;
		else if (cli_format_parse(optarg, &l.format) < 0)
			return cli_usage(c, "--format %s: expected table or json", optarg);
	}
	if (o != -1)
		return CLI_OPT_EXIT(o);
	if (optind < argc)
		return cli_usage(c, "unexpected argument %s", argv[optind]);
	if (call_kosvmd(CALL_SHORT, "GET", url_new("/v1/images"), NULL, &answer, &err) < 0)
		return cli_fail(c, &err);
	l.t = table_new(4);
	table_add(l.t, (const char *const[]){ "KIND", "LABEL", "SIZE", "DIGEST" });
	json_array_foreach(json_object_get(answer, "images"), i, image) row(&l, image);
	if (l.format == FORMAT_TABLE && !l.quiet)
		table_print(l.t);
	table_free(l.t);
	json_decref(answer);
	return 0;
}

static const struct cmd cmd_ls = {
	.name = "image ls",
	.args = "[-q] [--format table|json]",
	.summary = "list images",
	.opts = (const struct opt[]){ { "quiet", 'q', NULL, "digests only" },
		{ "format", OPT_LONG, "F", "table (default) or json (one object a line)" }, { 0 } },
	.fn = list,
};

static int rm(const struct cmd *c, int argc, char **argv)
{
	const struct each how = {
		.kind = CALL_SHORT,
		.method = "DELETE",
		.collection = "/v1/images",
	};
	int r = cli_no_options(c, argc, argv);

	if (r >= 0)
		return r;
	if (optind >= argc)
		return cli_usage(c, "expected digests");
	return each_name(c, &how, argc - optind, argv + optind);
}

static const struct cmd cmd_image_rm = {
	.name = "image rm",
	.args = "DIGEST...",
	.summary = "remove images that no agent uses",
	.fn = rm,
	.words = WORDS_IMAGES,
};

static const struct cmd *const subs[] = { &cmd_import, &cmd_ls, &cmd_image_rm, NULL };

const struct cmd cmd_image = {
	.name = "image",
	.args = "import|ls|rm ...",
	.summary = "kernels, initramfs and root filesystems",
	.subs = subs,
};
