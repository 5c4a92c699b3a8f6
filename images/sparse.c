#include "sparse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/io.h>

#define CHUNK  ((size_t)64 << 10)
#define BUFFER (16 * CHUNK)

static bool is_zero(const uint8_t *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* 1: dug; 0: this file system cannot. */
static int punch(int fd, uint64_t offset, size_t len)
{
	int r;

	do {
		r = fallocate(
			fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len);
	} while (r < 0 && errno == EINTR);
	if (r == 0)
		return 1;
	return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : -errno;
}

int sparse_dig(int fd, uint64_t size, uint64_t *ret_bytes, struct kerr *e)
{
	_cleanup_free_ uint8_t *buf = malloc(BUFFER);
	uint64_t dug = 0;
	int r;

	if (!buf)
		return kerr_errno(e, ENOMEM, "looking for zeroes");
	for (uint64_t at = 0; at < size; at += BUFFER) {
		size_t n = size - at < BUFFER ? (size_t)(size - at) : BUFFER;

		r = io_pread_full(fd, buf, n, at);
		if (r < 0)
			return kerr_errno(e, -r, "looking for zeroes");
		for (size_t i = 0; i + CHUNK <= n; i += CHUNK) {
			if (!is_zero(buf + i, CHUNK))
				continue;
			r = punch(fd, at + i, CHUNK);
			if (r < 0)
				return kerr_errno(e, -r, "making a hole");
			if (r == 0)
				goto out;
			dug += CHUNK;
		}
	}
out:
	*ret_bytes = dug;
	return 0;
}
