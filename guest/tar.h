#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <base/kerr.h>

/*
 * Tar streams, as COPY frames carry them: ustar with pax headers for what
 * does not fit (pax(1), POSIX.1-2008; tar(5)). Files, directories, links.
 */
#define TAR_BLOCK    512u
#define TAR_NAME_MAX 4096u  /* with its NUL */
#define TAR_PAX_MAX  32768u /* bytes of one pax header */
#define TAR_SIZE_MAX (1ULL << 40)
#define TAR_TIME_MAX (1LL << 40) /* seconds, also before 1970 */

enum tar_type { TAR_FILE = '0', TAR_HARDLINK = '1', TAR_SYMLINK = '2', TAR_DIR = '5' };

struct tar_entry {
	enum tar_type type;
	char name[TAR_NAME_MAX]; /* as it is in the stream: not trusted */
	char link[TAR_NAME_MAX]; /* of links */
	uint32_t mode;           /* 07777 */
	uint32_t uid, gid;
	uint64_t size; /* of files */
	int64_t mtime; /* seconds */
};

/* Bytes of an entry's headers at most. */
#define TAR_HEADERS_MAX (5 * TAR_BLOCK + 2 * TAR_NAME_MAX)

/*
 * The headers of an entry: their length, in whole blocks, into a buffer of
 * TAR_HEADERS_MAX. The data follows, padded with zeros to a block; two
 * blocks of zeros end the stream.
 */
size_t tar_encode(const struct tar_entry *t, uint8_t *buf);

/* Zeros that follow `size` bytes of data. */
static inline size_t tar_padding(uint64_t size)
{
	return (size_t)(-size & (TAR_BLOCK - 1));
}

struct tar_reader {
	/* Bytes of the stream: as read(2), never interrupted. */
	ssize_t (*read)(void *user, void *buf, size_t len);
	void *user;
	uint64_t left; /* data of this entry that was not read yet */
	size_t pad;
};

/*
 * The next entry: 1, 0 at the end of the stream, -EPROTO malformed or cut
 * short, -EOPNOTSUPP an entry of another kind (a device), or what `read`
 * gave. What was not read of the one before is passed over.
 */
int tar_next(struct tar_reader *r, struct tar_entry *ret, struct kerr *e);

/* Data of the entry: bytes, 0 when there is no more, -errno. */
ssize_t tar_data(struct tar_reader *r, void *buf, size_t len);
