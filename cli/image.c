#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/units.h>
#include <wire/api_proto.h>

#include "cli.h"
#include "names.h"

static const char help[] =
	"  image import kernel FILE       a bzImage or vmlinux\n"
	"  image import initramfs DIR     from lib/modules/VERSION of that kernel\n"
	"  image import rootfs PATH       a directory, tar file or EROFS image\n"
	"      --label TEXT               what `image ls` calls it (default: the name)\n"
	"  image ls [-q] [--format table|json]\n"
	"  image rm DIGEST...\n\n"
	"import prints the digest, which is what a manifest names.\n";

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static int import(int argc, char **argv)
{
	static const struct option options[] = {
		{ "label", required_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	_cleanup_close_ int fd = -1;
	struct call call = CALL_INIT;
	struct kerr err = { 0 };
	const char *label = NULL;
	const char *kind;
	const char *path;
	int c;
	int r;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'l')
			label = optarg;
		else if (c == 'h')
			return cli_help("image", help);
		else
			return cli_usage("image", "see above");
	}
	if (argc - optind != 2)
		return cli_usage(
			"image", "import: expected kernel, initramfs or rootfs, and a path");
	kind = argv[optind];
	path = argv[optind + 1];
	if (strcmp(kind, "kernel") != 0 && strcmp(kind, "initramfs") != 0 &&
		strcmp(kind, "rootfs") != 0)
		return cli_usage("image", "import %s: expected kernel, initramfs or rootfs", kind);
	fd = cli_open(path, O_RDONLY, &err);
	if (fd < 0)
		return cli_fail("image import", &err);
	r = call_kosvmd("image-import",
		json_pack("{s:s, s:o}", "kind", kind, "label",
			api_text(label ? label : base_name(path))),
		&fd, 1, NULL, NULL, &call, &err);
	if (r == 0)
		(void)puts(cli_text(call.ok, "digest"));
	call_done(&call);
	if (r < 0) {
		/* What was read was named by its label. */
		if (strncmp(err.msg, base_name(path), strlen(base_name(path))) != 0)
			(void)kerr_wrap(&err, "%s", path);
		return cli_fail("image import", &err);
	}
	return 0;
}

struct ls {
	struct table *t;
	enum cli_format format;
	bool quiet;
};

static void row(void *user, const json_t *o)
{
	struct ls *l = user;
	char size[16];

	if (l->format == FORMAT_JSON) {
		cli_print_json(o);
		return;
	}
	if (l->quiet) {
		(void)puts(cli_text(o, "digest"));
		return;
	}
	units_format_size(
		(uint64_t)json_integer_value(json_object_get(o, "size")), size, sizeof(size));
	table_add(l->t,
		(const char *const[]){
			cli_text(o, "kind"), cli_text(o, "label"), size, cli_text(o, "digest") });
}

static int list(int argc, char **argv)
{
	static const struct option options[] = {
		{ "quiet", no_argument, NULL, 'q' },
		{ "format", required_argument, NULL, 'F' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct call call = CALL_INIT;
	struct kerr err = { 0 };
	struct ls l = { 0 };
	int c;
	int r;

	while ((c = getopt_long(argc, argv, "qh", options, NULL)) != -1) {
		if (c == 'q')
			l.quiet = true;
		else if (c == 'h')
			return cli_help("image", help);
		else if (c != 'F')
			return cli_usage("image", "see above");
		else if (cli_format_parse(optarg, &l.format) < 0)
			return cli_usage("image", "--format %s: expected table or json", optarg);
	}
	if (optind < argc)
		return cli_usage("image", "ls: unexpected argument %s", argv[optind]);
	l.t = table_new(4);
	table_add(l.t, (const char *const[]){ "KIND", "LABEL", "SIZE", "DIGEST" });
	r = call_kosvmd("image-ls", json_object(), NULL, 0, row, &l, &call, &err);
	if (r == 0 && l.format == FORMAT_TABLE && !l.quiet)
		table_print(l.t);
	table_free(l.t);
	call_done(&call);
	return r < 0 ? cli_fail("image ls", &err) : 0;
}

static int rm(int argc, char **argv)
{
	int r = cli_no_options("image", argc, argv, help);

	if (r >= 0)
		return r;
	if (optind >= argc)
		return cli_usage("image", "rm: expected digests");
	return call_each(
		"image rm", "image-rm", "digest", argc - optind, argv + optind, NULL, names_print);
}

int cmd_image(int argc, char **argv)
{
	static const struct subcmd subs[] = {
		{ "import", import },
		{ "ls", list },
		{ "rm", rm },
		{ 0 },
	};

	return cli_dispatch("image", subs, argc, argv, help);
}
