/* The block device: what each request does, and what a malformed one does not. */
#include "blk_fixture.h"

#include <check.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/virtio_mmio.h>

#include <base/cleanup.h>

/* Feature bits (5.2.3). */
enum {
	F_SEG_MAX = 2,
	F_RO = 5,
	F_BLK_SIZE = 6,
	F_FLUSH = 9,
	F_TOPOLOGY = 10,
	F_DISCARD = 13,
	F_WRITE_ZEROES = 14,
};
#define BIT64(n) (UINT64_C(1) << (n))

static uint64_t error_count(void)
{
	struct virtio_blk_stats st;

	virtio_blk_get_stats(fix.blk, &st);
	return st.errors;
}

static uint64_t config(uint32_t offset, uint32_t len)
{
	uint64_t v = 0;

	virtio_mmio_read(fix.dev, VIRTIO_MMIO_CONFIG + offset, &v, len);
	return le64toh(v);
}

START_TEST(identity_and_configuration)
{
	const uint64_t want = BIT64(F_SEG_MAX) | BIT64(F_BLK_SIZE) | BIT64(F_FLUSH) |
		BIT64(F_TOPOLOGY) | BIT64(F_DISCARD) | BIT64(F_WRITE_ZEROES);

	ck_assert_uint_eq(mock_reg_read(fix.dev, VIRTIO_MMIO_DEVICE_ID), 2);
	ck_assert_uint_eq(fix.dev->offered & 0xffffff, want);
	ck_assert_uint_eq(config(0, 8), SECTORS);
	ck_assert_uint_eq(config(0, 4), SECTORS);
	ck_assert_uint_eq(config(12, 4), 126); /* seg_max */
	ck_assert_uint_eq(config(20, 4), 512); /* blk_size */
	ck_assert_uint_eq(config(24, 1), 3);   /* physical_block_exp */
	ck_assert_uint_eq(config(40, 4), 16);  /* max_discard_seg */
	ck_assert_uint_eq(config(36, 4), 1u << 22);
	ck_assert_uint_eq(config(48, 4), 1u << 16); /* max_write_zeroes_sectors */
	ck_assert_uint_eq(config(52, 4), 1);
	ck_assert_uint_eq(config(56, 1), 1); /* may unmap */
	ck_assert_uint_eq(config(57, 8), 0);
	ck_assert_uint_eq(config(60, 8), 0);
	ck_assert_uint_eq(config(0xe00, 8), 0);
	virtio_mmio_write(fix.dev, VIRTIO_MMIO_CONFIG, "\1\1\1\1", 4);
	ck_assert_uint_eq(config(0, 8), SECTORS);
}
END_TEST

START_TEST(reads)
{
	gpa_t data = fix_buffer(4096, 0);
	uint32_t len;

	ck_assert_uint_eq(fix_request(T_IN, 3, data, 4096, true, &len), S_OK);
	ck_assert_uint_eq(len, 4097);
	fix_expect_pattern(mock_ptr(&fix.mem, data, 4096), 3 * 512, 4096);
	ck_assert(mock_driver_wait_irq(fix.dev, WAIT_MS));
}
END_TEST

START_TEST(writes)
{
	gpa_t data = fix_buffer(4096, 0xc3);
	uint32_t len;

	ck_assert_uint_eq(fix_request(T_OUT, 5, data, 4096, false, &len), S_OK);
	ck_assert_uint_eq(len, 1);
	fix_expect_disk(5 * 512, 5 * 512 + 4096, 0xc3);
	ck_assert_int_eq(calls.fdatasync, 0);
}
END_TEST

START_TEST(last_sector_and_one_beyond)
{
	gpa_t data = fix_buffer(1024, 0x11);

	ck_assert_uint_eq(fix_request(T_OUT, SECTORS - 1, data, 512, false, NULL), S_OK);
	ck_assert_uint_eq(fix_request(T_OUT, SECTORS - 1, data, 1024, false, NULL), S_IOERR);
	ck_assert_uint_eq(fix_request(T_IN, SECTORS - 1, data, 1024, true, NULL), S_IOERR);
	ck_assert_uint_eq(fix_request(T_OUT, SECTORS, data, 512, false, NULL), S_IOERR);
	ck_assert_uint_eq(fix_request(T_IN, SECTORS, data, 512, true, NULL), S_IOERR);
	ck_assert_uint_eq(error_count(), 4);
	fix_expect_disk(DISK - 512, DISK, 0x11);
}
END_TEST

START_TEST(sector_overflows)
{
	static const uint64_t sectors[] = { UINT64_MAX, UINT64_MAX / 512, UINT64_MAX / 512 + 1,
		UINT64_C(1) << 55, (UINT64_C(1) << 55) + 3, INT64_MAX, INT64_MAX / 512 };
	gpa_t data = fix_buffer(512, 0x11);

	for (size_t i = 0; i < array_size(sectors); i++) {
		ck_assert_uint_eq(fix_request(T_OUT, sectors[i], data, 512, false, NULL), S_IOERR);
		ck_assert_uint_eq(fix_request(T_IN, sectors[i], data, 512, true, NULL), S_IOERR);
	}
	ck_assert_int_eq(calls.transfers, 0);
	fix_expect_disk(0, 0, 0);
}
END_TEST

START_TEST(odd_lengths)
{
	gpa_t data = fix_buffer(1024, 0x11);
	uint32_t len;

	ck_assert_uint_eq(fix_request(T_OUT, 0, data, 511, false, NULL), S_IOERR);
	ck_assert_uint_eq(fix_request(T_OUT, 0, data, 513, false, NULL), S_IOERR);
	ck_assert_uint_eq(fix_request(T_IN, 0, data, 100, true, &len), S_IOERR);
	/* None of the data was filled, so the length must not promise the status behind it. */
	ck_assert_uint_eq(len, 0);
	fix_expect_disk(0, 0, 0);
}
END_TEST

START_TEST(no_data_at_all)
{
	const struct mock_seg segs[] = { { fix_header(T_IN, SECTORS), 16, false },
		{ mock_alloc(&fix.mem, 1, 1), 1, true } };
	uint32_t len;

	ck_assert_uint_eq(fix_submit(segs, 2, &len), S_OK);
	ck_assert_uint_eq(len, 1);
}
END_TEST

/* 2.7.4: framing is free. Header over three segments, data in odd pieces, status within. */
START_TEST(any_framing_of_a_read)
{
	gpa_t h = fix_header(T_IN, 9), data = fix_buffer(2048, 0);
	const struct mock_seg segs[] = { { h, 1, false }, { h + 1, 9, false }, { h + 10, 6, false },
		{ data, 100, true }, { data + 100, 412, true }, { data + 512, 513, true } };
	uint32_t len;

	ck_assert_uint_eq(fix_submit(segs, 6, &len), S_OK);
	ck_assert_uint_eq(len, 1025);
	fix_expect_pattern(mock_ptr(&fix.mem, data, 1024), 9 * 512, 1024);
}
END_TEST

START_TEST(any_framing_of_a_write)
{
	gpa_t whole = fix_buffer(16 + 1024, 0x77);
	const struct mock_seg segs[] = { { whole, 20, false }, { whole + 20, 1020, false },
		{ fix_buffer(8, 0), 8, true } };

	memcpy(mock_ptr(&fix.mem, whole, 16), mock_ptr(&fix.mem, fix_header(T_OUT, 2), 16), 16);
	ck_assert_uint_eq(fix_submit(segs, 3, NULL), S_OK);
	fix_expect_disk(1024, 2048, 0x77);
}
END_TEST

START_TEST(many_segments)
{
	struct mock_seg segs[128];
	gpa_t data = fix_buffer(126 * 512, 0);

	segs[0] = (struct mock_seg){ fix_header(T_IN, 0), 16, false };
	for (unsigned i = 0; i < 126; i++)
		segs[1 + i] = (struct mock_seg){ data + i * 512, 512, true };
	segs[127] = (struct mock_seg){ mock_alloc(&fix.mem, 1, 1), 1, true };
	ck_assert_uint_eq(fix_submit(segs, 128, NULL), S_OK);
	fix_expect_pattern(mock_ptr(&fix.mem, data, 126 * 512), 0, 126 * 512);
}
END_TEST

START_TEST(indirect_requests_many_at_once)
{
	gpa_t data = fix_buffer(64 * 512, 0), status = fix_buffer(64, S_NONE);

	for (unsigned i = 0; i < 64; i++) {
		const struct mock_seg segs[] = { { fix_header(T_IN, i * 7), 16, false },
			{ data + i * 512, 512, true }, { status + i, 1, true } };

		mock_ring_add_indirect(&fix.ring, segs, 3);
		if (mock_ring_should_kick(&fix.ring, true))
			mock_driver_kick(fix.dev, 0);
	}
	for (unsigned i = 0; i < 64; i++) {
		uint32_t id;

		ck_assert(mock_driver_wait_used(&fix.ring, WAIT_MS, &id, NULL));
		ck_assert_uint_eq(id, i); /* one worker: in order */
		fix_expect_pattern(mock_ptr(&fix.mem, data + i * 512, 512), i * 7 * 512, 512);
		ck_assert_uint_eq(*(uint8_t *)mock_ptr(&fix.mem, status + i, 1), S_OK);
	}
}
END_TEST

START_TEST(short_transfers_and_eintr)
{
	gpa_t data = fix_buffer(8192, 0);

	faults.short_len = 300;
	faults.eintr = 5;
	ck_assert_uint_eq(fix_request(T_IN, 1, data, 8192, true, NULL), S_OK);
	fix_expect_pattern(mock_ptr(&fix.mem, data, 8192), 512, 8192);
	memset(mock_ptr(&fix.mem, data, 8192), 0x42, 8192);
	faults.eintr = 5;
	ck_assert_uint_eq(fix_request(T_OUT, 1, data, 8192, false, NULL), S_OK);
	fix_expect_disk(512, 512 + 8192, 0x42);
}
END_TEST

START_TEST(io_errors_reach_the_guest_and_the_count)
{
	static const int errors[] = { EIO, ENOSPC, EDQUOT, EFBIG };
	gpa_t data = fix_buffer(512, 0x42);

	for (size_t i = 0; i < array_size(errors); i++) {
		faults.io_errno = errors[i];
		ck_assert_uint_eq(fix_request(T_IN, 1, data, 512, true, NULL), S_IOERR);
		ck_assert_uint_eq(fix_request(T_OUT, 1, data, 512, false, NULL), S_IOERR);
		ck_assert_uint_eq(fix_request(T_FLUSH, 0, data, 0, false, NULL), S_IOERR);
		ck_assert_uint_eq(error_count(), 3 * (i + 1));
	}
	faults.io_errno = 0;
	ck_assert_uint_eq(fix_request(T_OUT, 1, data, 512, false, NULL), S_OK);
	fix_expect_disk(512, 1024, 0x42);
}
END_TEST

START_TEST(file_that_became_shorter)
{
	gpa_t data = fix_buffer(1024, 0x42);
	uint32_t len;

	ck_assert_int_eq(ftruncate(fix.file, 512), 0);
	ck_assert_uint_eq(fix_request(T_IN, 0, data, 1024, true, &len), S_IOERR);
	ck_assert_uint_eq(len, 512); /* what was really filled */
	ck_assert_int_eq(ftruncate(fix.file, DISK), 0);
}
END_TEST

START_TEST(flushes)
{
	const struct mock_seg segs[] = { { fix_header(T_FLUSH, 77), 16, false },
		{ mock_alloc(&fix.mem, 1, 1), 1, true } };
	struct virtio_blk_stats st;

	ck_assert_uint_eq(fix_submit(segs, 2, NULL), S_OK);
	ck_assert_int_eq(calls.fdatasync, 1);
	virtio_blk_get_stats(fix.blk, &st);
	ck_assert_uint_eq(st.flushes, 1);
}
END_TEST

/* 5.2.6.2: a driver without FLUSH takes a finished write for stable. */
START_TEST(write_through_without_flush)
{
	const struct range r = { 0, 8, 0 };

	fix_bring_up(ALL & ~BIT64(F_FLUSH));
	ck_assert_uint_eq(fix_request(T_OUT, 0, fix_buffer(512, 1), 512, false, NULL), S_OK);
	ck_assert_int_eq(calls.fdatasync, 1);
	ck_assert_uint_eq(fix_ranges(T_ZERO, &r, 1), S_OK);
	ck_assert_int_eq(calls.fdatasync, 2);
	faults.io_errno = 0;
}
END_TEST

START_TEST(get_id)
{
	gpa_t data = fix_buffer(32, 0xaa);
	uint32_t len;

	ck_assert_uint_eq(fix_request(T_GET_ID, 0, data, 20, true, &len), S_OK);
	ck_assert_uint_eq(len, 21);
	ck_assert_mem_eq(mock_ptr(&fix.mem, data, 21), "kosvm-test-disk-0001\xaa", 21);
	ck_assert_uint_eq(fix_request(T_GET_ID, 0, data, 32, true, &len), S_OK);
	ck_assert_uint_eq(len, 20);
	ck_assert_uint_eq(fix_request(T_GET_ID, 0, data, 19, true, NULL), S_IOERR);
}
END_TEST

START_TEST(unknown_types)
{
	static const uint32_t types[] = { T_SCSI, 3, 5, 9, 10, 12, 14, 26, 0x80000000, 0xffffffff };
	gpa_t data = fix_buffer(512, 0x11);

	for (size_t i = 0; i < array_size(types); i++)
		ck_assert_uint_eq(fix_request(types[i], 0, data, 512, false, NULL), S_UNSUPP);
	ck_assert_uint_eq(error_count(), 0);
	fix_expect_disk(0, 0, 0);
}
END_TEST

START_TEST(discards)
{
	const struct range r[] = { { 8, 8, 0 }, { 16, 0, 0 }, { 16, 8, 0 } };

	ck_assert_uint_eq(fix_ranges(T_DISCARD, r, 3), S_OK);
	fix_expect_disk(4096, 4096 + 8192, 0);
	ck_assert_int_eq(calls.fallocate, 2);
	ck_assert_int_eq(calls.fallocate_mode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}
END_TEST

START_TEST(discard_where_holes_cannot_be_made)
{
	const struct range r = { 8, 8, 0 };

	faults.fallocate_errno = EOPNOTSUPP;
	ck_assert_uint_eq(fix_ranges(T_DISCARD, &r, 1), S_OK);
	ck_assert_uint_eq(fix_ranges(T_DISCARD, &r, 1), S_OK);
	ck_assert_int_eq(calls.fallocate, 1); /* asked once */
	fix_expect_disk(0, 0, 0);
}
END_TEST

START_TEST(discard_errors)
{
	const struct range r = { 8, 8, 0 };

	faults.fallocate_errno = EIO;
	ck_assert_uint_eq(fix_ranges(T_DISCARD, &r, 1), S_IOERR);
	ck_assert_uint_eq(fix_ranges(T_ZERO, &r, 1), S_IOERR);
	ck_assert_uint_eq(error_count(), 2);
	fix_expect_disk(0, 0, 0);
}
END_TEST

START_TEST(write_zeroes_with_unmap)
{
	const struct range r = { 8, 100, 1 };

	ck_assert_uint_eq(fix_ranges(T_ZERO, &r, 1), S_OK);
	ck_assert_int_eq(calls.fallocate_mode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	fix_expect_disk(4096, 4096 + 51200, 0);
}
END_TEST

START_TEST(write_zeroes_keeps_the_space)
{
	const struct range r = { 8, 1001, 0 };
	struct stat before, after;

	ck_assert_int_eq(fstat(fix.file, &before), 0);
	ck_assert_uint_eq(fix_ranges(T_ZERO, &r, 1), S_OK);
	ck_assert_int_eq(calls.fallocate_mode, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
	ck_assert_int_eq(fstat(fix.file, &after), 0);
	ck_assert_int_eq(before.st_blocks, after.st_blocks);
	fix_expect_disk(4096, 4096 + 1001 * 512, 0);
}
END_TEST

START_TEST(write_zeroes_by_hand)
{
	const struct range r = { 3, 777, 1 };

	faults.fallocate_errno = EOPNOTSUPP;
	faults.short_len = 1000;
	faults.eintr = 2;
	ck_assert_uint_eq(fix_ranges(T_ZERO, &r, 1), S_OK);
	ck_assert_int_eq(calls.fallocate, 2); /* hole, then zero range */
	fix_expect_disk(3 * 512, 780 * 512, 0);
	faults.io_errno = ENOSPC;
	ck_assert_uint_eq(fix_ranges(T_ZERO, &r, 1), S_IOERR);
	ck_assert_int_eq(calls.fallocate, 2);
}
END_TEST

START_TEST(ranges_off_the_disk)
{
	static const struct range bad[] = { { SECTORS, 1, 0 }, { SECTORS - 1, 2, 0 },
		{ UINT64_MAX, 1, 0 }, { UINT64_MAX / 512 + 1, 1, 0 }, { UINT64_MAX / 512, 1, 0 },
		{ 0, SECTORS + 1, 0 }, { 0, 0xffffffff, 0 }, { SECTORS + 1, 0, 0 } };

	for (size_t i = 0; i < array_size(bad); i++) {
		const struct range two[] = { { 0, 1, 0 }, bad[i] };

		ck_assert_uint_eq(fix_ranges(T_DISCARD, &bad[i], 1), S_IOERR);
		ck_assert_uint_eq(fix_ranges(T_ZERO, &bad[i], 1), S_IOERR);
		/* All are judged before the first is carried out. */
		ck_assert_uint_eq(fix_ranges(T_DISCARD, two, 2), S_IOERR);
	}
	ck_assert_int_eq(calls.fallocate, 0);
	fix_expect_disk(0, 0, 0);
}
END_TEST

START_TEST(range_arrays_of_wrong_size)
{
	struct range many[17] = { { 0, 1, 0 } };
	gpa_t data = mock_put(&fix.mem, many, sizeof(many));

	ck_assert_uint_eq(fix_ranges(T_DISCARD, many, 17), S_IOERR);
	ck_assert_uint_eq(fix_ranges(T_DISCARD, many, 16), S_OK);
	ck_assert_uint_eq(fix_ranges(T_ZERO, many, 2), S_IOERR);
	ck_assert_uint_eq(fix_request(T_DISCARD, 0, data, 0, false, NULL), S_IOERR);
	ck_assert_uint_eq(fix_request(T_DISCARD, 0, data, 15, false, NULL), S_IOERR);
	ck_assert_uint_eq(fix_request(T_DISCARD, 0, data, 17, false, NULL), S_IOERR);
	ck_assert_uint_eq(fix_request(T_ZERO, 0, data, 8, false, NULL), S_IOERR);
}
END_TEST

START_TEST(unknown_range_flags)
{
	const struct range unmap = { 0, 1, 1 }, odd = { 0, 1, 2 }, high = { 0, 1, 0x80000001 };

	ck_assert_uint_eq(fix_ranges(T_DISCARD, &unmap, 1), S_UNSUPP);
	ck_assert_uint_eq(fix_ranges(T_DISCARD, &odd, 1), S_UNSUPP);
	ck_assert_uint_eq(fix_ranges(T_ZERO, &odd, 1), S_UNSUPP);
	ck_assert_uint_eq(fix_ranges(T_ZERO, &high, 1), S_UNSUPP);
	fix_expect_disk(0, 0, 0);
}
END_TEST

START_TEST(limits_of_sectors)
{
	/* Larger than the limits, though the disk's end would stop them as well: a huge disk. */
	struct virtio_blk_config cfg = { .size = UINT64_C(1) << 40 };
	struct virtio_blk *small = fix.blk;
	const struct range discard = { 0, (1u << 22) + 1, 0 }, zero = { 0, (1u << 16) + 1, 0 };
	const struct range ok = { 0, 1u << 22, 0 };

	mock_driver_reset(fix.dev); /* the ring is the other's now */
	cfg.fd = memfd_create("huge", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(cfg.fd, (off_t)cfg.size), 0);
	ck_assert_int_eq(virtio_blk_new(&fix.blk, &fix.mem.gmem, &cfg, NULL), 0);
	fix.dev = virtio_blk_dev(fix.blk);
	fix_bring_up(ALL);
	ck_assert_uint_eq(fix_ranges(T_DISCARD, &discard, 1), S_IOERR);
	ck_assert_uint_eq(fix_ranges(T_ZERO, &zero, 1), S_IOERR);
	ck_assert_uint_eq(fix_ranges(T_DISCARD, &ok, 1), S_OK);
	virtio_blk_free(fix.blk);
	fix.blk = small;
}
END_TEST

START_TEST(features_not_accepted_are_not_served)
{
	const struct range r = { 0, 8, 0 };

	fix_bring_up(ALL & ~(BIT64(F_DISCARD) | BIT64(F_WRITE_ZEROES)));
	ck_assert_uint_eq(fix_ranges(T_DISCARD, &r, 1), S_UNSUPP);
	ck_assert_uint_eq(fix_ranges(T_ZERO, &r, 1), S_UNSUPP);
	fix_expect_disk(0, 0, 0);
}
END_TEST

START_TEST(read_only_disk)
{
	const struct range r = { 0, 8, 0 };
	gpa_t data = fix_buffer(512, 0x11);

	ck_assert_uint_eq(fix.dev->offered & 0xffffff,
		BIT64(F_SEG_MAX) | BIT64(F_BLK_SIZE) | BIT64(F_FLUSH) | BIT64(F_TOPOLOGY) |
			BIT64(F_RO));
	ck_assert_uint_eq(config(36, 8), 0);
	ck_assert_uint_eq(fix_request(T_OUT, 0, data, 512, false, NULL), S_IOERR);
	ck_assert_uint_eq(fix_ranges(T_DISCARD, &r, 1), S_IOERR);
	ck_assert_uint_eq(fix_ranges(T_ZERO, &r, 1), S_IOERR);
	ck_assert_uint_eq(fix_request(T_IN, 0, data, 512, true, NULL), S_OK);
	ck_assert_uint_eq(fix_request(T_FLUSH, 0, data, 0, false, NULL), S_OK);
	fix_expect_disk(0, 0, 0);
}
END_TEST

START_TEST(counters)
{
	struct virtio_blk_stats st;
	gpa_t data = fix_buffer(4096, 1);

	ck_assert_uint_eq(fix_request(T_IN, 0, data, 4096, true, NULL), S_OK);
	ck_assert_uint_eq(fix_request(T_IN, 0, data, 512, true, NULL), S_OK);
	ck_assert_uint_eq(fix_request(T_OUT, 0, data, 1024, false, NULL), S_OK);
	virtio_blk_get_stats(fix.blk, &st);
	ck_assert_uint_eq(st.read_ops, 2);
	ck_assert_uint_eq(st.read_bytes, 4608);
	ck_assert_uint_eq(st.write_ops, 1);
	ck_assert_uint_eq(st.written_bytes, 1024);
	ck_assert_uint_eq(st.errors, 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { identity_and_configuration, reads, writes,
		last_sector_and_one_beyond, sector_overflows, odd_lengths, no_data_at_all,
		any_framing_of_a_read, any_framing_of_a_write, many_segments,
		indirect_requests_many_at_once, short_transfers_and_eintr,
		io_errors_reach_the_guest_and_the_count, file_that_became_shorter, flushes,
		write_through_without_flush, get_id, unknown_types, discards,
		discard_where_holes_cannot_be_made, discard_errors, write_zeroes_with_unmap,
		write_zeroes_keeps_the_space, write_zeroes_by_hand, ranges_off_the_disk,
		range_arrays_of_wrong_size, unknown_range_flags, limits_of_sectors,
		features_not_accepted_are_not_served, counters };
	Suite *s = suite_create("virtio_blk");
	TCase *t = tcase_create("virtio_blk");
	TCase *ro = tcase_create("read-only");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, fix_setup, fix_teardown);
	for (size_t i = 0; i < array_size(tests); i++)
		tcase_add_test(t, tests[i]);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(ro, fix_setup_read_only, fix_teardown);
	tcase_add_test(ro, read_only_disk);
	suite_add_tcase(s, ro);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
