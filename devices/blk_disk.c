#include "blk_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include <base/cleanup.h>

#define ZERO_PAGE 4096u
#define ZERO_IOVS 64u /* 256 KiB a call */

int blk_disk_check(int fd, uint64_t size)
{
	uint64_t have;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode))
		have = (uint64_t)st.st_size;
	else if (!S_ISBLK(st.st_mode))
		return -EINVAL;
	else if (ioctl(fd, BLKGETSIZE64, &have) < 0)
		return -errno;
	return size <= have && size <= INT64_MAX ? 0 : -EINVAL;
}

/* Drops n bytes in front: what a short transfer has done. */
static void advance(struct iovec **iov, unsigned *count, size_t n)
{
	while (*count && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (*count) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
}

typedef ssize_t transfer_fn(int fd, const struct iovec *iov, int count, off_t at);

static int transfer(struct blk_disk *d, transfer_fn *fn, uint64_t at, struct iovec *iov,
	unsigned count, uint64_t *done)
{
	*done = 0;
	while (count) {
		ssize_t n;

		if (atomic_load(&d->quiesce))
			return -ECANCELED;
		n = fn(d->fd, iov, (int)count, (off_t)(at + *done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		/* The file became shorter than the disk. */
		if (!n)
			return -EIO;
		*done += (uint64_t)n;
		advance(&iov, &count, (size_t)n);
	}
	return 0;
}

int blk_disk_read(
	struct blk_disk *d, uint64_t at, struct iovec *iov, unsigned count, uint64_t *done)
{
	return transfer(d, preadv, at, iov, count, done);
}

int blk_disk_write(
	struct blk_disk *d, uint64_t at, struct iovec *iov, unsigned count, uint64_t *done)
{
	return transfer(d, pwritev, at, iov, count, done);
}

int blk_disk_flush(struct blk_disk *d)
{
	return fdatasync(d->fd) < 0 ? -errno : 0;
}

/* fallocate(2); -EOPNOTSUPP also from kernels and filters that do not know it. */
static int change_space(struct blk_disk *d, int mode, uint64_t at, uint64_t len, bool *refused)
{
	int r;

	if (*refused)
		return -EOPNOTSUPP;
	if (atomic_load(&d->quiesce))
		return -ECANCELED;
	do {
		r = fallocate(d->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)len);
	} while (r < 0 && errno == EINTR && !atomic_load(&d->quiesce));
	if (!r)
		return 0;
	if (errno == EOPNOTSUPP || errno == ENOSYS) {
		*refused = true;
		return -EOPNOTSUPP;
	}
	return errno == EINTR ? -ECANCELED : -errno;
}

static int write_zeroes(struct blk_disk *d, uint64_t at, uint64_t len)
{
	static uint8_t zeroes[ZERO_PAGE]; /* never written */
	struct iovec iov[ZERO_IOVS];

	while (len) {
		unsigned count = 0;
		uint64_t done, part = 0;
		int r;

		while (count < ZERO_IOVS && part < len) {
			uint64_t n = len - part < ZERO_PAGE ? len - part : ZERO_PAGE;

			iov[count++] = (struct iovec){ .iov_base = zeroes, .iov_len = (size_t)n };
			part += n;
		}
		r = blk_disk_write(d, at, iov, count, &done);
		if (r < 0)
			return r;
		d->zeroes += part;
		at += part;
		len -= part;
	}
	return 0;
}

int blk_disk_discard(struct blk_disk *d, uint64_t at, uint64_t len)
{
	int r;

	if (!len)
		return 0;
	r = change_space(d, FALLOC_FL_PUNCH_HOLE, at, len, &d->no_punch);
	return r == -EOPNOTSUPP ? 0 : r;
}

int blk_disk_zero(struct blk_disk *d, uint64_t at, uint64_t len, bool may_unmap)
{
	int r = -EOPNOTSUPP;

	if (!len)
		return 0;
	if (may_unmap)
		r = change_space(d, FALLOC_FL_PUNCH_HOLE, at, len, &d->no_punch);
	if (r == -EOPNOTSUPP)
		r = change_space(d, FALLOC_FL_ZERO_RANGE, at, len, &d->no_zero_range);
	if (r == -EOPNOTSUPP)
		r = write_zeroes(d, at, len);
	return r;
}
