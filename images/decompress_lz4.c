#include "decompress_stream.h"

#include <errno.h>
#include <lz4.h>
#include <stdlib.h>

#include <base/cleanup.h>

/*
 * LZ4's legacy frame (lz4_Frame_format.md, "Legacy frame"): the magic
 * number, then blocks, each a little-endian length and the packed bytes of
 * at most 8 MiB. There is no end mark: the data ends with the file. The
 * kernel's build puts four bytes with the unpacked size behind it
 * (scripts/Makefile.lib, size_append), so four last bytes are no block.
 */
#define LEGACY_MAGIC 0x184c2102u
#define LEGACY_BLOCK (8u << 20)
#define TRAILER_LEN  4u

static int read_le32(struct stream *s, uint32_t *ret)
{
	uint8_t b[4];
	int r = stream_read(s, b, sizeof(b));

	if (r < 0)
		return r;
	*ret = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
	return 0;
}

int decompress_lz4_legacy(struct stream *s)
{
	const uint32_t bound = LZ4_COMPRESSBOUND(LEGACY_BLOCK);
	_cleanup_free_ char *packed = malloc(bound);
	_cleanup_free_ char *plain = malloc(LEGACY_BLOCK);
	uint32_t magic;
	int r;

	if (!packed || !plain)
		return kerr_errno(s->e, ENOMEM, "%s", s->d->what);
	r = read_le32(s, &magic);
	if (r < 0)
		return r;
	if (magic != LEGACY_MAGIC)
		return stream_damaged(s, "lz4", "damaged");
	while (s->d->in_length - s->taken > TRAILER_LEN) {
		uint32_t len;
		int n;

		r = read_le32(s, &len);
		if (r < 0)
			return r;
		if (len == LEGACY_MAGIC) /* another frame right behind is allowed */
			continue;
		if (len == 0 || len > bound)
			return stream_damaged(s, "lz4", "damaged");
		if (len > s->d->in_length - s->taken)
			return stream_damaged(s, "lz4", "cut short");
		r = stream_read(s, packed, len);
		if (r < 0)
			return r;
		n = LZ4_decompress_safe(packed, plain, (int)len, (int)LEGACY_BLOCK);
		if (n < 0)
			return stream_damaged(s, "lz4", "damaged");
		r = stream_emit(s, plain, (size_t)n);
		if (r < 0)
			return r;
	}
	s->d->consumed = s->taken;
	return 0;
}
