#include "rootfs_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>

#include "child.h"
#include "import_private.h"
#include "store_private.h"

#define PACK_TIMEOUT_NS (1800 * CLOCK_NS_PER_S)

/* Same bytes in, same bytes out: one time stamp and one UUID for every image. */
#define EROFS_UUID "6b6f7376-6d00-4000-8000-000000000000"

static const struct {
	const char *parent; /* NULL: the root */
	const char *name;
	mode_t mode;
} rootfs_dirs[] = {
	{ NULL, "dev", 0755 },
	{ NULL, "proc", 0555 },
	{ NULL, "run", 0755 },
	{ NULL, "state", 0755 },
	{ NULL, "sys", 0555 },
	{ NULL, "tmp", 01777 },
	{ NULL, "var", 0755 },
	{ "var", "tmp", 01777 },
};

int rootfs_tree_complete(void)
{
	for (size_t i = 0; i < array_size(rootfs_dirs); i++) {
		const char *parent = rootfs_dirs[i].parent ? rootfs_dirs[i].parent : ".";
		int fd = open(parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int r = 0;

		if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
			continue; /* the image's maker wants var to be something else */
		if (fd < 0)
			return -errno;
		if (mkdirat(fd, rootfs_dirs[i].name, 0755) == 0)
			r = fchmodat(fd, rootfs_dirs[i].name, rootfs_dirs[i].mode, 0);
		else if (errno != EEXIST)
			r = -1;
		if (r < 0)
			r = -errno;
		(void)close(fd);
		if (r < 0)
			return r;
	}
	if (geteuid() == 0 && chown(".", 0, 0) < 0)
		return -errno;
	return chmod(".", 0755) < 0 ? -errno : 0;
}

static int complete_prepare(void *user)
{
	(void)user;
	return rootfs_tree_complete();
}

/*
 * In the child, in the source directory. unshare(2) takes the current
 * directory along into the new namespace, so no path of the source is
 * needed. The tmpfs hides this namespace's /tmp only.
 */
static int overlay_prepare(void *user)
{
	(void)user;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700,size=16m") < 0)
		return -errno;
	if (mkdir("/tmp/upper", 0755) < 0 || mkdir("/tmp/work", 0700) < 0 ||
		mkdir("/tmp/tree", 0700) < 0)
		return -errno;
	if (mount("overlay", "/tmp/tree", "overlay", MS_NOSUID | MS_NODEV,
		    "lowerdir=.,upperdir=/tmp/upper,workdir=/tmp/work") < 0)
		return -errno;
	if (chdir("/tmp/tree") < 0)
		return -errno;
	return rootfs_tree_complete();
}

static int run_mkfs(int tree_fd, int out_fd, int (*prepare)(void *), struct kerr *e)
{
	char out[CHILD_FD_PATH_LEN];
	/* Without root there are no other owners to keep: everything is root's. */
	const char *argv[] = { "mkfs.erofs", "-d0", "--quiet", "-T0", "-U", EROFS_UUID, out, ".",
		geteuid() == 0 ? NULL : "--all-root", NULL };
	struct child_spec spec = {
		.argv = argv,
		.package = "erofs-utils",
		.cwd_fd = tree_fd,
		.keep_fds = &out_fd,
		.keep_count = 1,
		.timeout_ns = PACK_TIMEOUT_NS,
		.prepare = prepare,
	};

	child_fd_path(out_fd, out);
	/* A try that failed half-way may have left something. */
	if (ftruncate(out_fd, 0) < 0)
		return kerr_errno(e, errno, "root filesystem");
	return child_run(&spec, e);
}

int rootfs_tree_pack_own(int tree_fd, int out_fd, struct kerr *e)
{
	return run_mkfs(tree_fd, out_fd, complete_prepare, e);
}

static int run_copy(int dir_fd, int tree_fd, struct kerr *e)
{
	char dir[CHILD_FD_PATH_LEN];
	char to[CHILD_FD_PATH_LEN + 1];
	const char *argv[] = { "cp", "-a", "-x", "--reflink=auto", "--", ".", to, NULL };
	struct child_spec spec = {
		.argv = argv,
		.package = "coreutils",
		.cwd_fd = dir_fd,
		.keep_fds = &tree_fd,
		.keep_count = 1,
		.timeout_ns = PACK_TIMEOUT_NS,
	};
	int r;

	child_fd_path(tree_fd, dir);
	(void)snprintf(to, sizeof(to), "%s/", dir);
	r = child_run(&spec, e);
	if (r == -EIO && geteuid() != 0)
		return kerr_wrap(
			e, "copying the directory without being root (a tar file needs less)");
	return r < 0 ? kerr_wrap(e, "copying the directory") : 0;
}

static int pack_copy(const struct import_ctx *ctx, int dir_fd, int out_fd, struct kerr *e)
{
	_cleanup_close_ int tree_fd = -1;
	struct kerr clean = { 0 };
	char name[64];
	int r;

	r = store_tmp_dir(ctx->store_dirfd, name, &tree_fd, e);
	if (r < 0)
		return r;
	import_report(ctx, "copying the directory", -1);
	r = run_copy(dir_fd, tree_fd, e);
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

int rootfs_tree_pack(const struct import_ctx *ctx, int dir_fd, int out_fd, struct kerr *e)
{
	if (geteuid() == 0) {
		int r;

		import_report(ctx, "making the root filesystem", -1);
		r = run_mkfs(dir_fd, out_fd, overlay_prepare, e);
		if (r != -EOPNOTSUPP)
			return r;
		log_debug("no overlay over the directory here: copying it");
	} else {
		import_report(ctx, "not root: every file of the image will belong to root", -1);
	}
	return pack_copy(ctx, dir_fd, out_fd, e);
}
