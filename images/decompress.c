#include "decompress_stream.h"

#include <errno.h>
#include <lzma.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <base/units.h>

/* Kernels are packed with dictionaries of up to 32 MiB (xz) and windows of 128 MiB (zstd -22). */
#define XZ_MEMORY_MAX   (128ULL << 20)
#define ZSTD_WINDOW_LOG 27

static const struct {
	const char *name;
	uint8_t magic[DECOMPRESS_MAGIC_LEN];
	size_t len;
} methods[] = {
	[DECOMPRESS_GZIP] = { "gzip", { 0x1f, 0x8b }, 2 },
	[DECOMPRESS_XZ] = { "xz", { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6 },
	[DECOMPRESS_ZSTD] = { "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4 },
	[DECOMPRESS_LZ4] = { "lz4", { 0x02, 0x21, 0x4c, 0x18 }, 4 },
	[DECOMPRESS_BZIP2] = { "bzip2", { 'B', 'Z', 'h' }, 3 },
	[DECOMPRESS_LZMA] = { "lzma", { 0x5d, 0, 0 }, 3 },
	[DECOMPRESS_LZO] = { "lzo", { 0x89, 'L', 'Z', 'O' }, 4 },
};

enum decompress_method decompress_detect(const uint8_t *head, size_t len)
{
	for (size_t i = 0; i < array_size(methods); i++) {
		if (methods[i].name && len >= methods[i].len &&
			memcmp(head, methods[i].magic, methods[i].len) == 0)
			return (enum decompress_method)i;
	}
	return DECOMPRESS_NONE;
}

const char *decompress_name(enum decompress_method method)
{
	if ((size_t)method >= array_size(methods) || !methods[method].name)
		return "an unknown method";
	return methods[method].name;
}

int stream_damaged(struct stream *s, const char *method, const char *how)
{
	return kerr_set(s->e, EBADMSG, "%s: the %s data is %s after %llu of %llu bytes", s->d->what,
		method, how, (unsigned long long)s->taken, (unsigned long long)s->d->in_length);
}

static void stream_report(struct stream *s)
{
	const struct import_ctx *ctx = s->d->ctx;

	if (ctx && ctx->progress && s->d->in_length > 0)
		ctx->progress(ctx->user, "unpacking", (double)s->taken / (double)s->d->in_length);
}

ssize_t stream_fill(struct stream *s)
{
	uint64_t left = s->d->in_length - s->taken;
	size_t want = left < STREAM_CHUNK ? (size_t)left : STREAM_CHUNK;
	int r;

	if (want == 0)
		return 0;
	r = stream_read(s, s->in, want);
	return r < 0 ? r : (ssize_t)want;
}

int stream_read(struct stream *s, void *buf, size_t len)
{
	int r;

	if (len > s->d->in_length - s->taken)
		return kerr_set(s->e, EBADMSG, "%s: the packed data is cut short", s->d->what);
	r = io_pread_full(s->d->in_fd, buf, len, s->d->in_offset + s->taken);
	if (r == -ENODATA)
		return kerr_set(s->e, EBADMSG, "%s: the file is cut short", s->d->what);
	if (r < 0)
		return kerr_errno(s->e, -r, "%s: read", s->d->what);
	s->taken += len;
	stream_report(s);
	return 0;
}

int stream_emit(struct stream *s, const void *buf, size_t len)
{
	char limit[32];
	int r;

	if (len > s->d->out_max - s->d->written) {
		units_format_size(s->d->out_max, limit, sizeof(limit));
		return kerr_set(
			s->e, EFBIG, "%s: unpacks to more than the limit of %s", s->d->what, limit);
	}
	r = io_write_full(s->d->out_fd, buf, len);
	if (r < 0)
		return kerr_errno(s->e, -r, "%s: writing what was unpacked", s->d->what);
	s->d->written += len;
	return 0;
}

static void inflate_endp(z_stream *z)
{
	(void)inflateEnd(z);
}

static int run_gzip(struct stream *s)
{
	_cleanup_(inflate_endp) z_stream z = { .next_in = NULL };
	int state = Z_OK;

	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return kerr_errno(s->e, ENOMEM, "%s", s->d->what);
	while (state != Z_STREAM_END) {
		int r;

		if (z.avail_in == 0) {
			ssize_t n = stream_fill(s);

			if (n <= 0)
				return n < 0 ? (int)n : stream_damaged(s, "gzip", "cut short");
			z.next_in = s->in;
			z.avail_in = (uInt)n;
		}
		z.next_out = s->out;
		z.avail_out = STREAM_CHUNK;
		state = inflate(&z, Z_NO_FLUSH);
		if (state != Z_OK && state != Z_STREAM_END && state != Z_BUF_ERROR)
			return stream_damaged(s, "gzip", "damaged");
		r = stream_emit(s, s->out, STREAM_CHUNK - z.avail_out);
		if (r < 0)
			return r;
	}
	s->d->consumed = s->taken - z.avail_in;
	return 0;
}

static void lzma_endp(lzma_stream *z)
{
	lzma_end(z);
}

static int run_xz(struct stream *s)
{
	_cleanup_(lzma_endp) lzma_stream z = LZMA_STREAM_INIT;
	lzma_ret state = LZMA_OK;

	if (lzma_stream_decoder(&z, XZ_MEMORY_MAX, 0) != LZMA_OK)
		return kerr_errno(s->e, ENOMEM, "%s", s->d->what);
	while (state != LZMA_STREAM_END) {
		int r;

		if (z.avail_in == 0 && z.avail_out != 0) {
			ssize_t n = stream_fill(s);

			if (n <= 0)
				return n < 0 ? (int)n : stream_damaged(s, "xz", "cut short");
			z.next_in = s->in;
			z.avail_in = (size_t)n;
		}
		z.next_out = s->out;
		z.avail_out = STREAM_CHUNK;
		state = lzma_code(&z, LZMA_RUN);
		if (state == LZMA_MEMLIMIT_ERROR)
			return kerr_set(s->e, EFBIG,
				"%s: its xz dictionary is larger than %llu MiB", s->d->what,
				XZ_MEMORY_MAX >> 20);
		if (state == LZMA_MEM_ERROR)
			return kerr_errno(s->e, ENOMEM, "%s", s->d->what);
		if (state != LZMA_OK && state != LZMA_STREAM_END && state != LZMA_BUF_ERROR)
			return stream_damaged(s, "xz", "damaged");
		r = stream_emit(s, s->out, STREAM_CHUNK - z.avail_out);
		if (r < 0)
			return r;
	}
	s->d->consumed = s->taken - z.avail_in;
	return 0;
}

static void zstd_freep(ZSTD_DCtx **z)
{
	(void)ZSTD_freeDCtx(*z);
}

static int run_zstd(struct stream *s)
{
	_cleanup_(zstd_freep) ZSTD_DCtx *z = ZSTD_createDCtx();
	ZSTD_inBuffer in = { .src = s->in };
	size_t state = 1;
	bool full = false;

	if (!z || ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG)))
		return kerr_errno(s->e, ENOMEM, "%s", s->d->what);
	while (state != 0) {
		ZSTD_outBuffer out = { .dst = s->out, .size = STREAM_CHUNK };
		int r;

		/* A full output may hide more: only then go on without more input. */
		if (in.pos == in.size && !full) {
			ssize_t n = stream_fill(s);

			if (n <= 0)
				return n < 0 ? (int)n : stream_damaged(s, "zstd", "cut short");
			in.size = (size_t)n;
			in.pos = 0;
		}
		state = ZSTD_decompressStream(z, &out, &in);
		if (ZSTD_isError(state))
			return stream_damaged(s, "zstd", "damaged");
		full = out.pos == out.size;
		r = stream_emit(s, s->out, out.pos);
		if (r < 0)
			return r;
	}
	s->d->consumed = s->taken - (in.size - in.pos);
	return 0;
}

int decompress_run(struct decompress *d, enum decompress_method method, struct kerr *e)
{
	_cleanup_free_ uint8_t *in = malloc(STREAM_CHUNK);
	_cleanup_free_ uint8_t *out = malloc(STREAM_CHUNK);
	struct stream s = { .d = d, .in = in, .out = out, .e = e };

	d->consumed = 0;
	d->written = 0;
	if (!in || !out)
		return kerr_errno(e, ENOMEM, "%s", d->what);
	switch (method) {
	case DECOMPRESS_GZIP:
		return run_gzip(&s);
	case DECOMPRESS_XZ:
		return run_xz(&s);
	case DECOMPRESS_ZSTD:
		return run_zstd(&s);
	case DECOMPRESS_LZ4:
		return decompress_lz4_legacy(&s);
	case DECOMPRESS_BZIP2:
	case DECOMPRESS_LZMA:
	case DECOMPRESS_LZO:
		return kerr_set(e, ENOTSUP,
			"%s: packed with %s, which is not supported: expected gzip, xz, zstd or lz4",
			d->what, decompress_name(method));
	case DECOMPRESS_NONE:
		break;
	}
	return kerr_set(e, ENOTSUP,
		"%s: packed with an unknown method: expected gzip, xz, zstd or lz4", d->what);
}
