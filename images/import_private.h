#pragma once

#include <images/import.h>

#define IMPORT_KERNEL_MAX (512ULL << 20) /* unpacked */
#define IMPORT_ROOTFS_MAX (1ULL << 40)

/* Calls ctx->progress if there is one. */
void import_report(const struct import_ctx *ctx, const char *what, double fraction);

/* -EINVAL unless fd is a plain file of 1..max bytes; its size. `what` names it. */
int import_file_size(int fd, uint64_t max, const char *what, uint64_t *ret, struct kerr *e);

/*
 * Copies size bytes from the start of in_fd to the start of out_fd, sharing the blocks where
 * the file system can (ioctl_ficlone(2)). Checks belong on the copy: the
 * original may be changed by others at any time.
 */
int import_copy(const struct import_ctx *ctx, int in_fd, int out_fd, uint64_t size,
	const char *what, struct kerr *e);

/* Fills the temporary file behind out_fd. */
typedef int (*import_make_fn)(const struct import_ctx *ctx, int out_fd, void *arg, struct kerr *e);

/*
 * A temporary file, `make`, and store_commit; on failure nothing stays.
 */
int import_into_store(const struct import_ctx *ctx, enum image_kind kind, const char *label,
	import_make_fn make, void *arg, struct digest *ret, struct kerr *e);
