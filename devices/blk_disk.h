#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * The bytes behind a block device: one file descriptor whose first `size`
 * bytes are the disk. The callers have checked every range against size; no
 * call here makes the file grow.
 *
 * Calls come from the device's worker. `quiesce` may be raised from any
 * thread: while it is not 0, a transfer under way ends with -ECANCELED.
 */
struct blk_disk {
	int fd;
	uint64_t size;
	bool read_only;
	bool no_punch; /* the file system refused: not asked again */
	bool no_zero_range;
	uint64_t zeroes; /* bytes of them that had to be written out; the worker's to count */
	_Atomic unsigned quiesce; /* how many want it: a reset, a hold, the end */
};

/* 0 when fd is a file or block device of at least size bytes; -EINVAL or -errno otherwise. */
int blk_disk_check(int fd, uint64_t size);

/* Whole transfers; iov is used up. *done counts the bytes moved, also on failure. */
int blk_disk_read(
	struct blk_disk *d, uint64_t at, struct iovec *iov, unsigned count, uint64_t *done);
int blk_disk_write(
	struct blk_disk *d, uint64_t at, struct iovec *iov, unsigned count, uint64_t *done);
int blk_disk_flush(struct blk_disk *d);

/* A hint: where holes cannot be made nothing happens. */
int blk_disk_discard(struct blk_disk *d, uint64_t at, uint64_t len);

/* The range reads as zeroes afterwards; with may_unmap its space may be given back. */
int blk_disk_zero(struct blk_disk *d, uint64_t at, uint64_t len, bool may_unmap);
