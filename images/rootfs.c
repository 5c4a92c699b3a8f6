#include "import_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>

#include "child.h"
#include "decompress.h"
#include "erofs.h"
#include "rootfs_tree.h"
#include "store_private.h"

#define TAR_BLOCK      512u
#define TAR_CHKSUM     148u
#define TAR_TIMEOUT_NS (1800 * CLOCK_NS_PER_S)

enum source_kind { SOURCE_OTHER, SOURCE_EROFS, SOURCE_TAR, SOURCE_DIRECTORY };

struct rootfs_source {
	int fd;
	uint64_t size; /* of a file */
	enum source_kind kind;
	const char *what;
};

/* A tar header's checksum (tar(5)): the sum of its bytes, the field itself as blanks. */
static bool tar_header_ok(const uint8_t h[static TAR_BLOCK])
{
	unsigned long sum = 0;
	unsigned long told = 0;
	size_t digits = 0;
	size_t i = TAR_CHKSUM;

	for (size_t k = 0; k < TAR_BLOCK; k++)
		sum += k >= TAR_CHKSUM && k < TAR_CHKSUM + 8 ? ' ' : h[k];
	while (i < TAR_CHKSUM + 8 && h[i] == ' ')
		i++;
	for (; i < TAR_CHKSUM + 8 && h[i] >= '0' && h[i] <= '7'; i++, digits++)
		told = told * 8 + (h[i] - '0');
	return digits > 0 && told == sum;
}

/*
 * An archive ends with two blocks of zeros. GNU tar takes one that is cut
 * between two members for whole; of a packed one the unpacker sees the cut.
 */
static int detect_tar_end(struct rootfs_source *src, struct kerr *e)
{
	static const uint8_t zeros[2 * TAR_BLOCK];
	uint8_t end[2 * TAR_BLOCK];
	int r;

	if (src->size < sizeof(end) + TAR_BLOCK)
		return kerr_set(e, EBADMSG, "%s: a tar file that is cut short", src->what);
	r = io_pread_full(src->fd, end, sizeof(end), src->size - sizeof(end));
	if (r < 0)
		return kerr_errno(e, -r, "%s: read", src->what);
	if (memcmp(end, zeros, sizeof(end)) != 0)
		return kerr_set(e, EBADMSG,
			"%s: a tar file that is cut short: expected two empty blocks at its end",
			src->what);
	src->kind = SOURCE_TAR;
	return 0;
}

static int detect(struct rootfs_source *src, struct kerr *e)
{
	uint8_t head[EROFS_SUPER_OFFSET + 4] = { 0 };
	size_t len = src->size < sizeof(head) ? (size_t)src->size : sizeof(head);
	int r;

	r = io_pread_full(src->fd, head, len, 0);
	if (r < 0)
		return kerr_errno(e, -r, "%s: read", src->what);
	if (memcmp(head + EROFS_SUPER_OFFSET, "\xe2\xe1\xf5\xe0", 4) == 0)
		src->kind = SOURCE_EROFS;
	else if (tar_header_ok(head))
		return detect_tar_end(src, e);
	else if (decompress_detect(head, len) != DECOMPRESS_NONE)
		src->kind = SOURCE_TAR;
	else
		return kerr_set(e, ENOEXEC,
			"%s: not a root filesystem: neither an EROFS image nor a tar file, plain or "
			"packed (it starts with %02x %02x %02x %02x)",
			src->what, head[0], head[1], head[2], head[3]);
	return 0;
}

static int make_from_erofs(
	const struct import_ctx *ctx, const struct rootfs_source *src, int out_fd, struct kerr *e)
{
	struct stat st;
	int r;

	r = import_copy(ctx, src->fd, out_fd, src->size, src->what, e);
	if (r < 0)
		return r;
	/* On our copy, which nobody else can change. */
	if (fstat(out_fd, &st) < 0)
		return kerr_errno(e, errno, "%s", src->what);
	r = erofs_check(out_fd, (uint64_t)st.st_size, e);
	return r < 0 ? kerr_wrap(e, "%s", src->what) : 0;
}

/*
 * GNU tar strips a leading '/', refuses "..", and never writes through a
 * symbolic link that it made; the current directory is ours and private.
 */
static int untar(const struct rootfs_source *src, int tree_fd, struct kerr *e)
{
	bool root = geteuid() == 0;
	char in[CHILD_FD_PATH_LEN];
	const char *as_root[] = { "tar", "--extract", "--file", in, "--numeric-owner",
		"--same-owner", "--same-permissions", "--xattrs",
		"--xattrs-include=security.capability", "--no-acls", "--no-selinux",
		"--warning=no-timestamp", NULL };
	/* Only root makes device nodes; the guest has its own /dev. */
	const char *as_user[] = { "tar", "--extract", "--file", in, "--no-same-owner",
		"--same-permissions", "--no-acls", "--no-selinux", "--warning=no-timestamp",
		"--anchored", "--exclude=dev/*", "--exclude=./dev/*", NULL };
	struct child_spec spec = {
		.argv = root ? as_root : as_user,
		.package = "tar",
		.cwd_fd = tree_fd,
		.keep_fds = &src->fd,
		.keep_count = 1,
		.timeout_ns = TAR_TIMEOUT_NS,
	};
	int r;

	child_fd_path(src->fd, in);
	r = child_run(&spec, e);
	/* So GNU tar calls the first write that does not fit; the error itself it never sees. */
	if (r == -EIO && e && strstr(e->msg, ": Wrote only "))
		r = kerr_set(e, ENOSPC, "tar: No space left on device");
	return r < 0 ? kerr_wrap(e, "%s: unpacking", src->what) : 0;
}

static int make_from_tar(
	const struct import_ctx *ctx, const struct rootfs_source *src, int out_fd, struct kerr *e)
{
	_cleanup_close_ int tree_fd = -1;
	struct kerr clean = { 0 };
	char name[64];
	int r;

	r = store_tmp_dir(ctx->store_dirfd, name, &tree_fd, e);
	if (r < 0)
		return r;
	if (geteuid() != 0)
		import_report(ctx, "not root: every file of the image will belong to root", -1);
	import_report(ctx, "unpacking", -1);
	r = untar(src, tree_fd, e);
	if (r == 0) {
		import_report(ctx, "making the root filesystem", -1);
		r = rootfs_tree_pack_own(tree_fd, out_fd, e);
	}
	close_fd(&tree_fd);
	if (store_tmp_dir_remove(ctx->store_dirfd, name, &clean) < 0 && r == 0) {
		r = -clean.code;
		if (e)
			*e = clean;
	}
	return r;
}

static int make_rootfs(const struct import_ctx *ctx, int out_fd, void *arg, struct kerr *e)
{
	const struct rootfs_source *src = arg;
	struct stat st;
	int r;

	if (src->kind == SOURCE_EROFS)
		return make_from_erofs(ctx, src, out_fd, e);
	if (src->kind == SOURCE_TAR)
		r = make_from_tar(ctx, src, out_fd, e);
	else
		r = rootfs_tree_pack(ctx, src->fd, out_fd, e);
	if (r < 0)
		return r;
	if (fstat(out_fd, &st) < 0)
		return kerr_errno(e, errno, "%s", src->what);
	r = erofs_check(out_fd, (uint64_t)st.st_size, e);
	return r < 0 ? kerr_wrap(e, "%s: mkfs.erofs made", src->what) : 0;
}

int import_rootfs(
	const struct import_ctx *ctx, int fd, const char *label, struct digest *ret, struct kerr *e)
{
	struct rootfs_source src = { .fd = fd, .what = label ? label : "root filesystem" };
	struct stat st;
	int r = 0;

	if (fstat(fd, &st) < 0)
		return kerr_errno(e, errno, "%s", src.what);
	if (S_ISDIR(st.st_mode)) {
		src.kind = SOURCE_DIRECTORY;
	} else if (S_ISREG(st.st_mode)) {
		r = import_file_size(fd, IMPORT_ROOTFS_MAX, src.what, &src.size, e);
		if (r == 0)
			r = detect(&src, e);
	} else {
		r = kerr_set(e, EINVAL, "%s: expected a directory, a tar file or an EROFS image",
			src.what);
	}
	if (r < 0)
		return r;
	return import_into_store(ctx, IMAGE_ROOTFS, label, make_rootfs, &src, ret, e);
}
