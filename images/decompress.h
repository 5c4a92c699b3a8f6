#pragma once

#include <stddef.h>
#include <stdint.h>

#include <images/import.h>

/*
 * Unpacking a piece of a hostile file, as a stream: bounded memory (xz: 128 MiB,
 * zstd: its window of 128 MiB, lz4: two blocks of 8 MiB), bounded output.
 */
enum decompress_method {
	DECOMPRESS_NONE = 0, /* no magic number that is known */
	DECOMPRESS_GZIP,
	DECOMPRESS_XZ,
	DECOMPRESS_ZSTD,
	DECOMPRESS_LZ4, /* the legacy frame, which the kernel's build makes */
	DECOMPRESS_BZIP2,
	DECOMPRESS_LZMA,
	DECOMPRESS_LZO,
};

#define DECOMPRESS_MAGIC_LEN 6u

/* By the first bytes; fewer than DECOMPRESS_MAGIC_LEN are fine. */
enum decompress_method decompress_detect(const uint8_t *head, size_t len);
const char *decompress_name(enum decompress_method method);

struct decompress {
	int in_fd; /* read by pread(2) only */
	uint64_t in_offset, in_length;
	int out_fd; /* written at its own offset */
	uint64_t out_max;
	const char *what;             /* names the input in messages */
	const struct import_ctx *ctx; /* for progress; may be NULL */

	uint64_t consumed, written; /* results */
};

/*
 * Unpacks one stream; what lies behind its end is left alone (`consumed`
 * tells). -ENOTSUP for a method that is known by name only, -EBADMSG for
 * damaged or cut data, -EFBIG for more than out_max, -ENOSPC and the like
 * from writing.
 */
int decompress_run(struct decompress *d, enum decompress_method method, struct kerr *e);
