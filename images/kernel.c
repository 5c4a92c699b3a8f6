#include "import_private.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/io.h>

#include "bzimage.h"
#include "decompress.h"
#include "elf_check.h"
#include "sparse.h"

struct kernel_source {
	int fd;
	uint64_t size;
	const char *what;
};

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/*
 * The payload's last four bytes are the size of what it unpacks to: gzip's
 * own trailer, and for the other methods put there by the kernel's build.
 */
static int check_payload_end(const struct kernel_source *src, const struct bzimage *bz,
	const struct decompress *d, enum decompress_method method, struct kerr *e)
{
	uint64_t behind = bz->payload_length - d->consumed;
	uint8_t tail[4];
	int r;

	if (method == DECOMPRESS_GZIP ? behind > 0 : behind > sizeof(tail))
		return kerr_set(e, EBADMSG, "%s: %llu bytes lie behind the end of its payload",
			src->what, (unsigned long long)behind);
	if (bz->payload_length < sizeof(tail))
		return kerr_set(e, EBADMSG, "%s: its payload is cut short", src->what);
	r = io_pread_full(src->fd, tail, sizeof(tail),
		bz->payload_offset + bz->payload_length - sizeof(tail));
	if (r < 0)
		return kerr_errno(e, -r, "%s: read", src->what);
	if (method != DECOMPRESS_GZIP && behind != sizeof(tail))
		return kerr_set(e, EBADMSG, "%s: its payload lacks the size at its end", src->what);
	if (le32(tail) != (uint32_t)d->written)
		return kerr_set(e, EBADMSG,
			"%s: its payload unpacks to %llu bytes, but says %u: damaged or cut short",
			src->what, (unsigned long long)d->written, le32(tail));
	return 0;
}

static int unpack_bzimage(const struct import_ctx *ctx, const struct kernel_source *src,
	const struct bzimage *bz, int out_fd, struct kerr *e)
{
	struct decompress d = {
		.in_fd = src->fd,
		.in_offset = bz->payload_offset,
		.in_length = bz->payload_length,
		.out_fd = out_fd,
		.out_max = IMPORT_KERNEL_MAX,
		.what = src->what,
		.ctx = ctx,
	};
	uint8_t magic[DECOMPRESS_MAGIC_LEN] = { 0 };
	size_t len = bz->payload_length < sizeof(magic) ? bz->payload_length : sizeof(magic);
	enum decompress_method method;
	int r;

	r = io_pread_full(src->fd, magic, len, bz->payload_offset);
	if (r < 0)
		return kerr_errno(e, -r, "%s: read", src->what);
	method = decompress_detect(magic, len);
	r = decompress_run(&d, method, e);
	if (r < 0)
		return r;
	return check_payload_end(src, bz, &d, method, e);
}

static int make_kernel(const struct import_ctx *ctx, int out_fd, void *arg, struct kerr *e)
{
	const struct kernel_source *src = arg;
	uint8_t head[BZIMAGE_HEADER_LEN] = { 0 };
	size_t len = src->size < sizeof(head) ? (size_t)src->size : sizeof(head);
	struct bzimage bz;
	struct stat st;
	uint64_t dug;
	int r;

	r = io_pread_full(src->fd, head, len, 0);
	if (r < 0)
		return kerr_errno(e, -r, "%s: read", src->what);
	if (len >= 4 && memcmp(head, "\177ELF", 4) == 0) {
		r = import_copy(ctx, src->fd, out_fd, src->size, src->what, e);
	} else {
		r = bzimage_parse(head, len, src->size, &bz, e);
		if (r == -ENOEXEC)
			return kerr_set(e, ENOEXEC,
				"%s: not a kernel: neither a bzImage nor an ELF vmlinux (it starts "
				"with %02x %02x %02x %02x)",
				src->what, head[0], head[1], head[2], head[3]);
		if (r < 0)
			return kerr_wrap(e, "%s", src->what);
		r = unpack_bzimage(ctx, src, &bz, out_fd, e);
	}
	if (r < 0)
		return r;
	/* On our copy, which nobody else can change. */
	if (fstat(out_fd, &st) < 0)
		return kerr_errno(e, errno, "%s", src->what);
	r = elf_check_kernel(out_fd, (uint64_t)st.st_size, e);
	if (r < 0)
		return kerr_wrap(e, "%s: not a kernel", src->what);
	r = sparse_dig(out_fd, (uint64_t)st.st_size, &dug, e);
	if (r < 0)
		return kerr_wrap(e, "%s", src->what);
	return 0;
}

int import_kernel(
	const struct import_ctx *ctx, int fd, const char *label, struct digest *ret, struct kerr *e)
{
	struct kernel_source src = { .fd = fd, .what = label ? label : "kernel" };
	int r;

	r = import_file_size(fd, IMPORT_KERNEL_MAX, src.what, &src.size, e);
	if (r < 0)
		return r;
	return import_into_store(ctx, IMAGE_KERNEL, label, make_kernel, &src, ret, e);
}
