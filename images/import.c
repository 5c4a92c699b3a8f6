#include "import_private.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <base/units.h>

#define COPY_CHUNK (1u << 20)

void import_report(const struct import_ctx *ctx, const char *what, double fraction)
{
	if (ctx && ctx->progress)
		ctx->progress(ctx->user, what, fraction);
}

int import_file_size(int fd, uint64_t max, const char *what, uint64_t *ret, struct kerr *e)
{
	char limit[32];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return kerr_errno(e, errno, "%s", what);
	if (!S_ISREG(st.st_mode))
		return kerr_set(e, EINVAL, "%s: expected a plain file", what);
	if (st.st_size == 0)
		return kerr_set(e, ENOEXEC, "%s: the file is empty", what);
	if ((uint64_t)st.st_size > max) {
		units_format_size(max, limit, sizeof(limit));
		return kerr_set(e, EFBIG, "%s: larger than the limit of %s", what, limit);
	}
	*ret = (uint64_t)st.st_size;
	return 0;
}

int import_copy(const struct import_ctx *ctx, int in_fd, int out_fd, uint64_t size,
	const char *what, struct kerr *e)
{
	_cleanup_free_ char *buf = NULL;
	struct stat st;
	int r;

	if (ioctl(out_fd, FICLONE, in_fd) == 0) {
		if (fstat(out_fd, &st) == 0 && (uint64_t)st.st_size == size)
			return 0;
		return kerr_set(e, EAGAIN, "%s: the file changed while it was read", what);
	}
	buf = malloc(COPY_CHUNK);
	if (!buf)
		return kerr_errno(e, ENOMEM, "%s", what);
	for (uint64_t done = 0; done < size;) {
		size_t n = size - done < COPY_CHUNK ? (size_t)(size - done) : COPY_CHUNK;

		r = io_pread_full(in_fd, buf, n, done);
		if (r == -ENODATA)
			return kerr_set(e, EAGAIN, "%s: the file changed while it was read", what);
		if (r < 0)
			return kerr_errno(e, -r, "%s: read", what);
		r = io_pwrite_full(out_fd, buf, n, done);
		if (r < 0)
			return kerr_errno(e, -r, "%s: writing to the store", what);
		done += n;
		import_report(ctx, "copying", (double)done / (double)size);
	}
	return 0;
}

int import_into_store(const struct import_ctx *ctx, enum image_kind kind, const char *label,
	import_make_fn make, void *arg, struct digest *ret, struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	char name[64];
	int r;

	r = store_tmp(ctx->store_dirfd, name, &fd, e);
	if (r < 0)
		return r;
	r = make(ctx, fd, arg, e);
	if (r == 0) {
		import_report(ctx, "writing to the store", -1);
		r = store_commit(ctx->store_dirfd, name, fd, kind, label, ret, e);
	}
	if (r < 0)
		store_abort(ctx->store_dirfd, name);
	return r;
}
