#include "blk_request.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include <linux/virtio_blk.h>

#include <base/cleanup.h>

#define BLK_SEG_MAX      126u /* + header + status fit VIRTQ_MAX_SEGS */
#define BLK_PHYSICAL_EXP 3u   /* 4096 = 512 << 3 */
#define BLK_DISCARD_SEGS 16u
#define BLK_ZEROES_SEGS  1u
#define BLK_DISCARD_MAX  (1u << 22) /* sectors: 2 GiB */
#define BLK_ZEROES_MAX   (1u << 16) /* sectors: 32 MiB, may have to be written out */
#define FEATURE(bit)     (UINT64_C(1) << (bit))

static_assert(sizeof(struct virtio_blk_outhdr) == 16, "5.2.6: type, reserved, sector");
static_assert(offsetof(struct virtio_blk_config, write_zeroes_may_unmap) < BLK_CONFIG_SIZE &&
		sizeof(struct virtio_blk_config) >= BLK_CONFIG_SIZE,
	"5.2.4: the fields up to write_zeroes_may_unmap");
static_assert(BLK_SEG_MAX + 2 <= VIRTQ_MAX_SEGS, "a full request fits a chain");

uint64_t blk_features(bool read_only)
{
	uint64_t f = FEATURE(VIRTIO_BLK_F_SEG_MAX) | FEATURE(VIRTIO_BLK_F_BLK_SIZE) |
		FEATURE(VIRTIO_BLK_F_TOPOLOGY) | FEATURE(VIRTIO_BLK_F_FLUSH);

	if (read_only)
		return f | FEATURE(VIRTIO_BLK_F_RO);
	return f | FEATURE(VIRTIO_BLK_F_DISCARD) | FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
}

void blk_config_fill(uint8_t config[static BLK_CONFIG_SIZE], const struct blk_disk *d)
{
	struct virtio_blk_config c = {
		.capacity = htole64(d->size / BLK_SECTOR),
		.seg_max = htole32(BLK_SEG_MAX),
		.blk_size = htole32(BLK_SECTOR),
		.physical_block_exp = BLK_PHYSICAL_EXP,
		.min_io_size = htole16(1 << BLK_PHYSICAL_EXP),
	};

	if (!d->read_only) {
		c.max_discard_sectors = htole32(BLK_DISCARD_MAX);
		c.max_discard_seg = htole32(BLK_DISCARD_SEGS);
		c.discard_sector_alignment = htole32(1 << BLK_PHYSICAL_EXP);
		c.max_write_zeroes_sectors = htole32(BLK_ZEROES_MAX);
		c.max_write_zeroes_seg = htole32(BLK_ZEROES_SEGS);
		c.write_zeroes_may_unmap = 1;
	}
	memcpy(config, &c, BLK_CONFIG_SIZE);
}

/* A request taken apart: the data parts without header and status. */
struct request {
	uint32_t type;
	uint64_t sector;
	struct iovec *out, *in;
	unsigned out_count, in_count;
	uint32_t out_bytes, in_bytes;
	uint8_t *status;
	uint64_t filled; /* bytes of `in` that were written, from its start */
};

static void drop_front(struct iovec **iov, unsigned *count, size_t n)
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

/* 5.2.6 with 2.7.4: how header, data and status lie in segments is the driver's choice. */
static int request_parse(struct virtq_chain *c, struct request *q)
{
	struct virtio_blk_outhdr hdr;
	struct iovec *last;

	if (c->out_bytes < sizeof(hdr) || !c->in_bytes)
		return -EPROTO;
	(void)virtq_iov_read(c->iov, c->out_count, 0, &hdr, sizeof(hdr));
	*q = (struct request){
		.type = le32toh(hdr.type),
		.sector = le64toh(hdr.sector),
		.out = c->iov,
		.in = c->iov + c->out_count,
		.out_count = c->out_count,
		.in_count = c->in_count,
		.out_bytes = c->out_bytes - (uint32_t)sizeof(hdr),
		.in_bytes = c->in_bytes - 1,
	};
	drop_front(&q->out, &q->out_count, sizeof(hdr));
	last = &q->in[q->in_count - 1];
	q->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	if (!--last->iov_len)
		q->in_count--;
	return 0;
}

/* Byte range of sectors, if it lies on the disk. */
static bool on_disk(const struct blk_disk *d, uint64_t sector, uint64_t len, uint64_t *ret_at)
{
	uint64_t at, end;

	if (__builtin_mul_overflow(sector, BLK_SECTOR, &at) ||
		__builtin_add_overflow(at, len, &end) || end > d->size)
		return false;
	*ret_at = at;
	return true;
}

/* Without FLUSH the driver takes a finished write for stable (5.2.6.2). */
static int settle(struct blk_context *b)
{
	if (b->features & FEATURE(VIRTIO_BLK_F_FLUSH))
		return 0;
	return blk_disk_flush(&b->disk);
}

/* Each handler: a status (5.2.6), or -errno, which is IOERR unless -ECANCELED. */

static int run_in(struct blk_context *b, struct request *q)
{
	uint64_t at;
	int r;

	if (q->in_bytes % BLK_SECTOR || !on_disk(&b->disk, q->sector, q->in_bytes, &at))
		return VIRTIO_BLK_S_IOERR;
	r = blk_disk_read(&b->disk, at, q->in, q->in_count, &q->filled);
	if (r == -ECANCELED)
		return r; /* it is counted when it is done afresh */
	atomic_fetch_add(&b->counters.read_bytes, q->filled);
	atomic_fetch_add(&b->counters.read_ops, 1);
	return r;
}

static int run_out(struct blk_context *b, struct request *q)
{
	uint64_t at, done;
	int r;

	if (q->out_bytes % BLK_SECTOR || !on_disk(&b->disk, q->sector, q->out_bytes, &at))
		return VIRTIO_BLK_S_IOERR;
	r = blk_disk_write(&b->disk, at, q->out, q->out_count, &done);
	if (r == -ECANCELED)
		return r;
	atomic_fetch_add(&b->counters.written_bytes, done);
	atomic_fetch_add(&b->counters.write_ops, 1);
	return r < 0 ? r : settle(b);
}

static int run_flush(struct blk_context *b, struct request *q)
{
	(void)q;
	atomic_fetch_add(&b->counters.flushes, 1);
	return blk_disk_flush(&b->disk);
}

static int run_get_id(struct blk_context *b, struct request *q)
{
	if (q->in_bytes < BLK_ID_BYTES)
		return VIRTIO_BLK_S_IOERR;
	q->filled = virtq_iov_write(q->in, q->in_count, 0, b->id, BLK_ID_BYTES);
	return VIRTIO_BLK_S_OK;
}

/* What one discard or write-zeroes request may hold (5.2.4, 5.2.6.2). */
struct range_limits {
	unsigned feature;
	unsigned max_segs;
	uint32_t max_sectors;
	uint32_t flags; /* allowed ones */
};

/* Copies the array of ranges once and judges the copy: a status, and the count with OK. */
static int read_ranges(struct blk_context *b, const struct request *q,
	const struct range_limits *lim, struct virtio_blk_discard_write_zeroes *ranges,
	unsigned *ret_count)
{
	unsigned count = q->out_bytes / (unsigned)sizeof(*ranges);

	if (!(b->features & FEATURE(lim->feature)))
		return VIRTIO_BLK_S_UNSUPP;
	if (!count || q->out_bytes % sizeof(*ranges) || count > lim->max_segs)
		return VIRTIO_BLK_S_IOERR;
	(void)virtq_iov_read(q->out, q->out_count, 0, ranges, q->out_bytes);
	for (unsigned i = 0; i < count; i++) {
		uint64_t len = (uint64_t)le32toh(ranges[i].num_sectors) * BLK_SECTOR, at;

		if (le32toh(ranges[i].flags) & ~lim->flags)
			return VIRTIO_BLK_S_UNSUPP;
		if (le32toh(ranges[i].num_sectors) > lim->max_sectors ||
			!on_disk(&b->disk, le64toh(ranges[i].sector), len, &at))
			return VIRTIO_BLK_S_IOERR;
	}
	*ret_count = count;
	return VIRTIO_BLK_S_OK;
}

static int run_discard(struct blk_context *b, struct request *q)
{
	static const struct range_limits limits = {
		.feature = VIRTIO_BLK_F_DISCARD,
		.max_segs = BLK_DISCARD_SEGS,
		.max_sectors = BLK_DISCARD_MAX,
	};
	struct virtio_blk_discard_write_zeroes ranges[BLK_DISCARD_SEGS];
	unsigned count;
	int r = read_ranges(b, q, &limits, ranges, &count);

	for (unsigned i = 0; r == VIRTIO_BLK_S_OK && i < count; i++)
		r = blk_disk_discard(&b->disk, le64toh(ranges[i].sector) * BLK_SECTOR,
			(uint64_t)le32toh(ranges[i].num_sectors) * BLK_SECTOR);
	return r;
}

static int run_write_zeroes(struct blk_context *b, struct request *q)
{
	static const struct range_limits limits = {
		.feature = VIRTIO_BLK_F_WRITE_ZEROES,
		.max_segs = BLK_ZEROES_SEGS,
		.max_sectors = BLK_ZEROES_MAX,
		.flags = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
	};
	struct virtio_blk_discard_write_zeroes ranges[BLK_ZEROES_SEGS];
	unsigned count;
	int r = read_ranges(b, q, &limits, ranges, &count);

	for (unsigned i = 0; r == VIRTIO_BLK_S_OK && i < count; i++)
		r = blk_disk_zero(&b->disk, le64toh(ranges[i].sector) * BLK_SECTOR,
			(uint64_t)le32toh(ranges[i].num_sectors) * BLK_SECTOR,
			le32toh(ranges[i].flags) & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	return r == VIRTIO_BLK_S_OK ? settle(b) : r;
}

static const struct request_type {
	uint32_t type;
	bool changes;
	int (*run)(struct blk_context *b, struct request *q);
} request_types[] = {
	{ .type = VIRTIO_BLK_T_IN, .run = run_in },
	{ .type = VIRTIO_BLK_T_OUT, .run = run_out, .changes = true },
	{ .type = VIRTIO_BLK_T_FLUSH, .run = run_flush },
	{ .type = VIRTIO_BLK_T_GET_ID, .run = run_get_id },
	{ .type = VIRTIO_BLK_T_DISCARD, .run = run_discard, .changes = true },
	{ .type = VIRTIO_BLK_T_WRITE_ZEROES, .run = run_write_zeroes, .changes = true },
};

static int dispatch(struct blk_context *b, struct request *q)
{
	for (unsigned i = 0; i < array_size(request_types); i++) {
		const struct request_type *t = &request_types[i];

		if (t->type != q->type)
			continue;
		if (t->changes && b->disk.read_only)
			return VIRTIO_BLK_S_IOERR;
		return t->run(b, q);
	}
	return VIRTIO_BLK_S_UNSUPP;
}

int blk_request_run(struct blk_context *b, struct virtq_chain *c, uint32_t *ret_written)
{
	struct request q;
	int r = request_parse(c, &q);

	if (r < 0)
		return r;
	r = dispatch(b, &q);
	if (r == -ECANCELED)
		return r;
	if (r < 0)
		r = VIRTIO_BLK_S_IOERR;
	if (r == VIRTIO_BLK_S_IOERR)
		atomic_fetch_add(&b->counters.errors, 1);
	*q.status = (uint8_t)r;
	/* 2.7.8.2: a length up to which everything was written: the status counts behind whole
	 * data. */
	*ret_written = (uint32_t)q.filled + (q.filled == q.in_bytes);
	return 0;
}
