#include <check.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <devices/virtio_blk.h>

#include "mock_ring.h"

/* <linux/virtio_blk.h> clashes with ours: the numbers of 5.2.3 and 5.2.6 again. */
enum { T_IN = 0, T_OUT = 1, T_SCSI = 2, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_ZERO = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2, S_NONE = 0xee };
enum { F_SEG_MAX = 2, F_RO = 5, F_BLK_SIZE = 6, F_FLUSH = 9, F_TOPOLOGY = 10, F_DISCARD = 13 };
#define F_WRITE_ZEROES 14
#define ALL            (~UINT64_C(0))
#define BIT64(n)       (UINT64_C(1) << (n))
#define SECTORS        2048u
#define DISK           (SECTORS * 512u)
#define WAIT_MS        20000

static struct mock_mem mem;
static struct mock_ring ring;
static struct virtio_blk *blk;
static struct virtio_dev *dev;
static int file; /* ours: a duplicate of what the device has */

/*
 * The system calls the device makes, with faults on demand: these replace
 * the C library's in this program.
 */
static _Atomic int fake_fallocate_errno, fake_io_errno, fake_eintr, fake_short, fake_slow;
static _Atomic int last_fallocate_mode, fallocate_calls, fdatasync_calls, transfer_calls;

int fallocate(int fd, int mode, off_t off, off_t len)
{
	last_fallocate_mode = mode;
	fallocate_calls++;
	if (fake_fallocate_errno) {
		errno = fake_fallocate_errno;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, off, len);
}

int fdatasync(int fd)
{
	fdatasync_calls++;
	if (fake_io_errno) {
		errno = fake_io_errno;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

static ssize_t transfer(long nr, int fd, const struct iovec *iov, int count, off_t at)
{
	struct iovec one;

	transfer_calls++;
	if (fake_eintr > 0) {
		fake_eintr--;
		errno = EINTR;
		return -1;
	}
	if (fake_io_errno) {
		errno = fake_io_errno;
		return -1;
	}
	if (fake_slow) {
		const struct timespec pause = { .tv_nsec = fake_slow * 1000000L };

		(void)nanosleep(&pause, NULL);
	}
	if (fake_short) {
		one = iov[0];
		if (one.iov_len > (size_t)fake_short)
			one.iov_len = (size_t)fake_short;
		iov = &one;
		count = 1;
	}
	return syscall(nr, fd, iov, count, at, 0);
}

ssize_t preadv(int fd, const struct iovec *iov, int count, off_t at)
{
	return transfer(SYS_preadv, fd, iov, count, at);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	return transfer(SYS_pwritev, fd, iov, count, at);
}

static void clear_faults(void)
{
	fake_fallocate_errno = fake_io_errno = fake_eintr = fake_short = fake_slow = 0;
	last_fallocate_mode = fallocate_calls = fdatasync_calls = transfer_calls = 0;
}

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(1 + at % 251 + at / 4096);
}

static void open_disk(bool read_only)
{
	struct virtio_blk_config cfg = { .size = DISK, .read_only = read_only };
	static uint8_t content[DISK];

	for (unsigned i = 0; i < DISK; i++)
		content[i] = pattern(i);
	file = memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_eq(pwrite(file, content, DISK, 0), DISK);
	memcpy(cfg.serial, "kosvm-test-disk-0001", 20);
	cfg.fd = fcntl(file, F_DUPFD_CLOEXEC, 0);
	ck_assert_int_eq(virtio_blk_new(&blk, &mem.gmem, &cfg, NULL), 0);
	dev = virtio_blk_dev(blk);
}

static void bring_up(uint64_t features)
{
	mock_driver_reset(dev); /* before the ring goes: it may be looking */
	mock_ring_clear(&ring);
	ck_assert(mock_driver_negotiate(dev, features));
	ck_assert(mock_driver_queue(dev, 0, &ring));
	ck_assert(mock_driver_ok(dev));
}

static void setup_mem(void)
{
	clear_faults();
	mock_mem_init(&mem, 8 << 20);
	mock_ring_init(&ring, &mem, 256);
}

static void setup(void)
{
	setup_mem();
	open_disk(false);
	bring_up(ALL);
}

static void setup_read_only(void)
{
	setup_mem();
	open_disk(true);
	bring_up(ALL);
}

static void teardown(void)
{
	struct stat st;

	clear_faults();
	virtio_blk_free(blk);
	blk = NULL;
	/* Whatever a test did: the file never grows or shrinks. */
	ck_assert_int_eq(fstat(file, &st), 0);
	ck_assert_int_eq(st.st_size, DISK);
	close_fd(&file);
	mock_mem_done(&mem);
}

static gpa_t header(uint32_t type, uint64_t sector)
{
	const struct {
		uint32_t type, reserved;
		uint64_t sector;
	} h = { htole32(type), 0, htole64(sector) };

	return mock_put(&mem, &h, sizeof(h));
}

/* Publishes, kicks and waits; the status byte, S_NONE when the device wrote none. */
static uint8_t submit(const struct mock_seg *segs, unsigned count, uint32_t *ret_len)
{
	const struct mock_seg *last = &segs[count - 1];
	uint8_t *status = mock_ptr(&mem, last->addr, last->len);
	uint16_t head;
	uint32_t id;

	status += last->len - 1;
	*status = S_NONE;
	head = mock_ring_add(&ring, segs, count);
	mock_driver_kick(dev, 0);
	ck_assert(mock_driver_wait_used(&ring, WAIT_MS, &id, ret_len));
	ck_assert_uint_eq(id, head);
	return *status;
}

static uint8_t request(
	uint32_t type, uint64_t sector, gpa_t data, uint32_t len, bool in, uint32_t *ret_len)
{
	const struct mock_seg segs[] = { { header(type, sector), 16, false }, { data, len, in },
		{ mock_alloc(&mem, 1, 1), 1, true } };

	return submit(segs, 3, ret_len);
}

static gpa_t buffer(size_t len, int fill)
{
	gpa_t at = mock_alloc(&mem, len, 512);

	memset(mock_ptr(&mem, at, len), fill, len);
	return at;
}

struct range {
	uint64_t sector;
	uint32_t sectors, flags;
};

static uint8_t range_request(uint32_t type, const struct range *r, unsigned count)
{
	return request(type, 0, mock_put(&mem, r, count * sizeof(*r)),
		(uint32_t)(count * sizeof(*r)), false, NULL);
}

static void expect_pattern(const uint8_t *p, uint64_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		ck_assert_uint_eq(p[i], pattern(at + i));
}

/* The whole disk: the pattern but for [from, to), which is all `value`. */
static void expect_disk(uint64_t from, uint64_t to, uint8_t value)
{
	static uint8_t content[DISK];

	ck_assert_int_eq(pread(file, content, DISK, 0), DISK);
	for (uint64_t i = 0; i < DISK; i++)
		if (content[i] != (i >= from && i < to ? value : pattern(i)))
			ck_abort_msg("byte %llu is %u", (unsigned long long)i, content[i]);
}

static uint64_t error_count(void)
{
	struct virtio_blk_stats st;

	virtio_blk_get_stats(blk, &st);
	return st.errors;
}

static uint64_t config(uint32_t offset, uint32_t len)
{
	uint64_t v = 0;

	virtio_mmio_read(dev, VIRTIO_MMIO_CONFIG + offset, &v, len);
	return le64toh(v);
}

START_TEST(identity_and_configuration)
{
	const uint64_t want = BIT64(F_SEG_MAX) | BIT64(F_BLK_SIZE) | BIT64(F_FLUSH) |
		BIT64(F_TOPOLOGY) | BIT64(F_DISCARD) | BIT64(F_WRITE_ZEROES);

	ck_assert_uint_eq(mock_reg_read(dev, VIRTIO_MMIO_DEVICE_ID), 2);
	ck_assert_uint_eq(dev->offered & 0xffffff, want);
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
	virtio_mmio_write(dev, VIRTIO_MMIO_CONFIG, "\1\1\1\1", 4);
	ck_assert_uint_eq(config(0, 8), SECTORS);
}
END_TEST

START_TEST(reads)
{
	gpa_t data = buffer(4096, 0);
	uint32_t len;

	ck_assert_uint_eq(request(T_IN, 3, data, 4096, true, &len), S_OK);
	ck_assert_uint_eq(len, 4097);
	expect_pattern(mock_ptr(&mem, data, 4096), 3 * 512, 4096);
	ck_assert(mock_driver_wait_irq(dev, WAIT_MS));
}
END_TEST

START_TEST(writes)
{
	gpa_t data = buffer(4096, 0xc3);
	uint32_t len;

	ck_assert_uint_eq(request(T_OUT, 5, data, 4096, false, &len), S_OK);
	ck_assert_uint_eq(len, 1);
	expect_disk(5 * 512, 5 * 512 + 4096, 0xc3);
	ck_assert_int_eq(fdatasync_calls, 0);
}
END_TEST

START_TEST(last_sector_and_one_beyond)
{
	gpa_t data = buffer(1024, 0x11);

	ck_assert_uint_eq(request(T_OUT, SECTORS - 1, data, 512, false, NULL), S_OK);
	ck_assert_uint_eq(request(T_OUT, SECTORS - 1, data, 1024, false, NULL), S_IOERR);
	ck_assert_uint_eq(request(T_IN, SECTORS - 1, data, 1024, true, NULL), S_IOERR);
	ck_assert_uint_eq(request(T_OUT, SECTORS, data, 512, false, NULL), S_IOERR);
	ck_assert_uint_eq(request(T_IN, SECTORS, data, 512, true, NULL), S_IOERR);
	ck_assert_uint_eq(error_count(), 4);
	expect_disk(DISK - 512, DISK, 0x11);
}
END_TEST

START_TEST(sector_overflows)
{
	static const uint64_t sectors[] = { UINT64_MAX, UINT64_MAX / 512, UINT64_MAX / 512 + 1,
		UINT64_C(1) << 55, (UINT64_C(1) << 55) + 3, INT64_MAX, INT64_MAX / 512 };
	gpa_t data = buffer(512, 0x11);

	for (size_t i = 0; i < array_size(sectors); i++) {
		ck_assert_uint_eq(request(T_OUT, sectors[i], data, 512, false, NULL), S_IOERR);
		ck_assert_uint_eq(request(T_IN, sectors[i], data, 512, true, NULL), S_IOERR);
	}
	ck_assert_int_eq(transfer_calls, 0);
	expect_disk(0, 0, 0);
}
END_TEST

START_TEST(odd_lengths)
{
	gpa_t data = buffer(1024, 0x11);
	uint32_t len;

	ck_assert_uint_eq(request(T_OUT, 0, data, 511, false, NULL), S_IOERR);
	ck_assert_uint_eq(request(T_OUT, 0, data, 513, false, NULL), S_IOERR);
	ck_assert_uint_eq(request(T_IN, 0, data, 100, true, &len), S_IOERR);
	/* None of the data was filled, so the length must not promise the status behind it. */
	ck_assert_uint_eq(len, 0);
	expect_disk(0, 0, 0);
}
END_TEST

START_TEST(no_data_at_all)
{
	const struct mock_seg segs[] = { { header(T_IN, SECTORS), 16, false },
		{ mock_alloc(&mem, 1, 1), 1, true } };
	uint32_t len;

	ck_assert_uint_eq(submit(segs, 2, &len), S_OK);
	ck_assert_uint_eq(len, 1);
}
END_TEST

/* 2.7.4: framing is free. Header over three segments, data in odd pieces, status within. */
START_TEST(any_framing_of_a_read)
{
	gpa_t h = header(T_IN, 9), data = buffer(2048, 0);
	const struct mock_seg segs[] = { { h, 1, false }, { h + 1, 9, false }, { h + 10, 6, false },
		{ data, 100, true }, { data + 100, 412, true }, { data + 512, 513, true } };
	uint32_t len;

	ck_assert_uint_eq(submit(segs, 6, &len), S_OK);
	ck_assert_uint_eq(len, 1025);
	expect_pattern(mock_ptr(&mem, data, 1024), 9 * 512, 1024);
}
END_TEST

START_TEST(any_framing_of_a_write)
{
	gpa_t whole = buffer(16 + 1024, 0x77);
	const struct mock_seg segs[] = { { whole, 20, false }, { whole + 20, 1020, false },
		{ buffer(8, 0), 8, true } };

	memcpy(mock_ptr(&mem, whole, 16), mock_ptr(&mem, header(T_OUT, 2), 16), 16);
	ck_assert_uint_eq(submit(segs, 3, NULL), S_OK);
	expect_disk(1024, 2048, 0x77);
}
END_TEST

START_TEST(many_segments)
{
	struct mock_seg segs[128];
	gpa_t data = buffer(126 * 512, 0);

	segs[0] = (struct mock_seg){ header(T_IN, 0), 16, false };
	for (unsigned i = 0; i < 126; i++)
		segs[1 + i] = (struct mock_seg){ data + i * 512, 512, true };
	segs[127] = (struct mock_seg){ mock_alloc(&mem, 1, 1), 1, true };
	ck_assert_uint_eq(submit(segs, 128, NULL), S_OK);
	expect_pattern(mock_ptr(&mem, data, 126 * 512), 0, 126 * 512);
}
END_TEST

START_TEST(indirect_requests_many_at_once)
{
	gpa_t data = buffer(64 * 512, 0), status = buffer(64, S_NONE);

	for (unsigned i = 0; i < 64; i++) {
		const struct mock_seg segs[] = { { header(T_IN, i * 7), 16, false },
			{ data + i * 512, 512, true }, { status + i, 1, true } };

		mock_ring_add_indirect(&ring, segs, 3);
		if (mock_ring_should_kick(&ring, true))
			mock_driver_kick(dev, 0);
	}
	for (unsigned i = 0; i < 64; i++) {
		uint32_t id;

		ck_assert(mock_driver_wait_used(&ring, WAIT_MS, &id, NULL));
		ck_assert_uint_eq(id, i); /* one worker: in order */
		expect_pattern(mock_ptr(&mem, data + i * 512, 512), i * 7 * 512, 512);
		ck_assert_uint_eq(*(uint8_t *)mock_ptr(&mem, status + i, 1), S_OK);
	}
}
END_TEST

START_TEST(short_transfers_and_eintr)
{
	gpa_t data = buffer(8192, 0);

	fake_short = 300;
	fake_eintr = 5;
	ck_assert_uint_eq(request(T_IN, 1, data, 8192, true, NULL), S_OK);
	expect_pattern(mock_ptr(&mem, data, 8192), 512, 8192);
	memset(mock_ptr(&mem, data, 8192), 0x42, 8192);
	fake_eintr = 5;
	ck_assert_uint_eq(request(T_OUT, 1, data, 8192, false, NULL), S_OK);
	expect_disk(512, 512 + 8192, 0x42);
}
END_TEST

START_TEST(io_errors_reach_the_guest_and_the_count)
{
	static const int errors[] = { EIO, ENOSPC, EDQUOT, EFBIG };
	gpa_t data = buffer(512, 0x42);

	for (size_t i = 0; i < array_size(errors); i++) {
		fake_io_errno = errors[i];
		ck_assert_uint_eq(request(T_IN, 1, data, 512, true, NULL), S_IOERR);
		ck_assert_uint_eq(request(T_OUT, 1, data, 512, false, NULL), S_IOERR);
		ck_assert_uint_eq(request(T_FLUSH, 0, data, 0, false, NULL), S_IOERR);
		ck_assert_uint_eq(error_count(), 3 * (i + 1));
	}
	fake_io_errno = 0;
	ck_assert_uint_eq(request(T_OUT, 1, data, 512, false, NULL), S_OK);
	expect_disk(512, 1024, 0x42);
}
END_TEST

START_TEST(file_that_became_shorter)
{
	gpa_t data = buffer(1024, 0x42);
	uint32_t len;

	ck_assert_int_eq(ftruncate(file, 512), 0);
	ck_assert_uint_eq(request(T_IN, 0, data, 1024, true, &len), S_IOERR);
	ck_assert_uint_eq(len, 512); /* what was really filled */
	ck_assert_int_eq(ftruncate(file, DISK), 0);
}
END_TEST

START_TEST(flushes)
{
	const struct mock_seg segs[] = { { header(T_FLUSH, 77), 16, false },
		{ mock_alloc(&mem, 1, 1), 1, true } };
	struct virtio_blk_stats st;

	ck_assert_uint_eq(submit(segs, 2, NULL), S_OK);
	ck_assert_int_eq(fdatasync_calls, 1);
	virtio_blk_get_stats(blk, &st);
	ck_assert_uint_eq(st.flushes, 1);
}
END_TEST

/* 5.2.6.2: a driver without FLUSH takes a finished write for stable. */
START_TEST(write_through_without_flush)
{
	const struct range r = { 0, 8, 0 };

	bring_up(ALL & ~BIT64(F_FLUSH));
	ck_assert_uint_eq(request(T_OUT, 0, buffer(512, 1), 512, false, NULL), S_OK);
	ck_assert_int_eq(fdatasync_calls, 1);
	ck_assert_uint_eq(range_request(T_ZERO, &r, 1), S_OK);
	ck_assert_int_eq(fdatasync_calls, 2);
	fake_io_errno = 0;
}
END_TEST

START_TEST(get_id)
{
	gpa_t data = buffer(32, 0xaa);
	uint32_t len;

	ck_assert_uint_eq(request(T_GET_ID, 0, data, 20, true, &len), S_OK);
	ck_assert_uint_eq(len, 21);
	ck_assert_mem_eq(mock_ptr(&mem, data, 21), "kosvm-test-disk-0001\xaa", 21);
	ck_assert_uint_eq(request(T_GET_ID, 0, data, 32, true, &len), S_OK);
	ck_assert_uint_eq(len, 20);
	ck_assert_uint_eq(request(T_GET_ID, 0, data, 19, true, NULL), S_IOERR);
}
END_TEST

START_TEST(unknown_types)
{
	static const uint32_t types[] = { T_SCSI, 3, 5, 9, 10, 12, 14, 26, 0x80000000, 0xffffffff };
	gpa_t data = buffer(512, 0x11);

	for (size_t i = 0; i < array_size(types); i++)
		ck_assert_uint_eq(request(types[i], 0, data, 512, false, NULL), S_UNSUPP);
	ck_assert_uint_eq(error_count(), 0);
	expect_disk(0, 0, 0);
}
END_TEST

START_TEST(discards)
{
	const struct range r[] = { { 8, 8, 0 }, { 16, 0, 0 }, { 16, 8, 0 } };

	ck_assert_uint_eq(range_request(T_DISCARD, r, 3), S_OK);
	expect_disk(4096, 4096 + 8192, 0);
	ck_assert_int_eq(fallocate_calls, 2);
	ck_assert_int_eq(last_fallocate_mode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}
END_TEST

START_TEST(discard_where_holes_cannot_be_made)
{
	const struct range r = { 8, 8, 0 };

	fake_fallocate_errno = EOPNOTSUPP;
	ck_assert_uint_eq(range_request(T_DISCARD, &r, 1), S_OK);
	ck_assert_uint_eq(range_request(T_DISCARD, &r, 1), S_OK);
	ck_assert_int_eq(fallocate_calls, 1); /* asked once */
	expect_disk(0, 0, 0);
}
END_TEST

START_TEST(discard_errors)
{
	const struct range r = { 8, 8, 0 };

	fake_fallocate_errno = EIO;
	ck_assert_uint_eq(range_request(T_DISCARD, &r, 1), S_IOERR);
	ck_assert_uint_eq(range_request(T_ZERO, &r, 1), S_IOERR);
	ck_assert_uint_eq(error_count(), 2);
	expect_disk(0, 0, 0);
}
END_TEST

START_TEST(write_zeroes_with_unmap)
{
	const struct range r = { 8, 100, 1 };

	ck_assert_uint_eq(range_request(T_ZERO, &r, 1), S_OK);
	ck_assert_int_eq(last_fallocate_mode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	expect_disk(4096, 4096 + 51200, 0);
}
END_TEST

START_TEST(write_zeroes_keeps_the_space)
{
	const struct range r = { 8, 1001, 0 };
	struct stat before, after;

	ck_assert_int_eq(fstat(file, &before), 0);
	ck_assert_uint_eq(range_request(T_ZERO, &r, 1), S_OK);
	ck_assert_int_eq(last_fallocate_mode, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
	ck_assert_int_eq(fstat(file, &after), 0);
	ck_assert_int_eq(before.st_blocks, after.st_blocks);
	expect_disk(4096, 4096 + 1001 * 512, 0);
}
END_TEST

START_TEST(write_zeroes_by_hand)
{
	const struct range r = { 3, 777, 1 };

	fake_fallocate_errno = EOPNOTSUPP;
	fake_short = 1000;
	fake_eintr = 2;
	ck_assert_uint_eq(range_request(T_ZERO, &r, 1), S_OK);
	ck_assert_int_eq(fallocate_calls, 2); /* hole, then zero range */
	expect_disk(3 * 512, 780 * 512, 0);
	fake_io_errno = ENOSPC;
	ck_assert_uint_eq(range_request(T_ZERO, &r, 1), S_IOERR);
	ck_assert_int_eq(fallocate_calls, 2);
}
END_TEST

START_TEST(ranges_off_the_disk)
{
	static const struct range bad[] = { { SECTORS, 1, 0 }, { SECTORS - 1, 2, 0 },
		{ UINT64_MAX, 1, 0 }, { UINT64_MAX / 512 + 1, 1, 0 }, { UINT64_MAX / 512, 1, 0 },
		{ 0, SECTORS + 1, 0 }, { 0, 0xffffffff, 0 }, { SECTORS + 1, 0, 0 } };

	for (size_t i = 0; i < array_size(bad); i++) {
		const struct range two[] = { { 0, 1, 0 }, bad[i] };

		ck_assert_uint_eq(range_request(T_DISCARD, &bad[i], 1), S_IOERR);
		ck_assert_uint_eq(range_request(T_ZERO, &bad[i], 1), S_IOERR);
		/* All are judged before the first is carried out. */
		ck_assert_uint_eq(range_request(T_DISCARD, two, 2), S_IOERR);
	}
	ck_assert_int_eq(fallocate_calls, 0);
	expect_disk(0, 0, 0);
}
END_TEST

START_TEST(range_arrays_of_wrong_size)
{
	struct range many[17] = { { 0, 1, 0 } };
	gpa_t data = mock_put(&mem, many, sizeof(many));

	ck_assert_uint_eq(range_request(T_DISCARD, many, 17), S_IOERR);
	ck_assert_uint_eq(range_request(T_DISCARD, many, 16), S_OK);
	ck_assert_uint_eq(range_request(T_ZERO, many, 2), S_IOERR);
	ck_assert_uint_eq(request(T_DISCARD, 0, data, 0, false, NULL), S_IOERR);
	ck_assert_uint_eq(request(T_DISCARD, 0, data, 15, false, NULL), S_IOERR);
	ck_assert_uint_eq(request(T_DISCARD, 0, data, 17, false, NULL), S_IOERR);
	ck_assert_uint_eq(request(T_ZERO, 0, data, 8, false, NULL), S_IOERR);
}
END_TEST

START_TEST(unknown_range_flags)
{
	const struct range unmap = { 0, 1, 1 }, odd = { 0, 1, 2 }, high = { 0, 1, 0x80000001 };

	ck_assert_uint_eq(range_request(T_DISCARD, &unmap, 1), S_UNSUPP);
	ck_assert_uint_eq(range_request(T_DISCARD, &odd, 1), S_UNSUPP);
	ck_assert_uint_eq(range_request(T_ZERO, &odd, 1), S_UNSUPP);
	ck_assert_uint_eq(range_request(T_ZERO, &high, 1), S_UNSUPP);
	expect_disk(0, 0, 0);
}
END_TEST

START_TEST(limits_of_sectors)
{
	/* Larger than the limits, though the disk's end would stop them as well: a huge disk. */
	struct virtio_blk_config cfg = { .size = UINT64_C(1) << 40 };
	struct virtio_blk *small = blk;
	const struct range discard = { 0, (1u << 22) + 1, 0 }, zero = { 0, (1u << 16) + 1, 0 };
	const struct range ok = { 0, 1u << 22, 0 };

	mock_driver_reset(dev); /* the ring is the other's now */
	cfg.fd = memfd_create("huge", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(cfg.fd, (off_t)cfg.size), 0);
	ck_assert_int_eq(virtio_blk_new(&blk, &mem.gmem, &cfg, NULL), 0);
	dev = virtio_blk_dev(blk);
	bring_up(ALL);
	ck_assert_uint_eq(range_request(T_DISCARD, &discard, 1), S_IOERR);
	ck_assert_uint_eq(range_request(T_ZERO, &zero, 1), S_IOERR);
	ck_assert_uint_eq(range_request(T_DISCARD, &ok, 1), S_OK);
	virtio_blk_free(blk);
	blk = small;
}
END_TEST

START_TEST(features_not_accepted_are_not_served)
{
	const struct range r = { 0, 8, 0 };

	bring_up(ALL & ~(BIT64(F_DISCARD) | BIT64(F_WRITE_ZEROES)));
	ck_assert_uint_eq(range_request(T_DISCARD, &r, 1), S_UNSUPP);
	ck_assert_uint_eq(range_request(T_ZERO, &r, 1), S_UNSUPP);
	expect_disk(0, 0, 0);
}
END_TEST

START_TEST(read_only_disk)
{
	const struct range r = { 0, 8, 0 };
	gpa_t data = buffer(512, 0x11);

	ck_assert_uint_eq(dev->offered & 0xffffff,
		BIT64(F_SEG_MAX) | BIT64(F_BLK_SIZE) | BIT64(F_FLUSH) | BIT64(F_TOPOLOGY) |
			BIT64(F_RO));
	ck_assert_uint_eq(config(36, 8), 0);
	ck_assert_uint_eq(request(T_OUT, 0, data, 512, false, NULL), S_IOERR);
	ck_assert_uint_eq(range_request(T_DISCARD, &r, 1), S_IOERR);
	ck_assert_uint_eq(range_request(T_ZERO, &r, 1), S_IOERR);
	ck_assert_uint_eq(request(T_IN, 0, data, 512, true, NULL), S_OK);
	ck_assert_uint_eq(request(T_FLUSH, 0, data, 0, false, NULL), S_OK);
	expect_disk(0, 0, 0);
}
END_TEST

START_TEST(counters)
{
	struct virtio_blk_stats st;
	gpa_t data = buffer(4096, 1);

	ck_assert_uint_eq(request(T_IN, 0, data, 4096, true, NULL), S_OK);
	ck_assert_uint_eq(request(T_IN, 0, data, 512, true, NULL), S_OK);
	ck_assert_uint_eq(request(T_OUT, 0, data, 1024, false, NULL), S_OK);
	virtio_blk_get_stats(blk, &st);
	ck_assert_uint_eq(st.read_ops, 2);
	ck_assert_uint_eq(st.read_bytes, 4608);
	ck_assert_uint_eq(st.write_ops, 1);
	ck_assert_uint_eq(st.written_bytes, 1024);
	ck_assert_uint_eq(st.errors, 0);
}
END_TEST

static bool needs_reset(void)
{
	return mock_reg_read(dev, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static void expect_fault(const struct mock_seg *segs, unsigned count)
{
	const struct mock_seg good[] = { { header(T_IN, 0), 16, false },
		{ buffer(512, 0), 512, true }, { buffer(1, 0), 1, true } };

	mock_ring_add(&ring, segs, count);
	mock_driver_kick(dev, 0);
	ck_assert(mock_driver_wait_irq(dev, WAIT_MS)); /* the configuration interrupt */
	ck_assert(needs_reset());
	/* And nothing is served until the reset. */
	mock_ring_add(&ring, good, 3);
	mock_driver_kick(dev, 0);
	ck_assert(!mock_driver_wait_used(&ring, 50, NULL, NULL));
	bring_up(ALL);
	ck_assert_uint_eq(request(T_IN, 0, buffer(512, 0), 512, true, NULL), S_OK);
	ck_assert(mock_driver_wait_irq(dev, WAIT_MS));
}

START_TEST(requests_without_header_or_status)
{
	gpa_t h = header(T_OUT, 0), data = buffer(512, 1);
	const struct mock_seg no_status[] = { { h, 16, false }, { data, 512, false } };
	const struct mock_seg no_header[] = { { data, 512, true } };
	const struct mock_seg short_header[] = { { h, 15, false }, { data, 1, true } };

	expect_fault(no_status, 2);
	expect_fault(no_header, 1);
	expect_fault(short_header, 2);
	expect_disk(0, 0, 0);
}
END_TEST

START_TEST(malformed_ring)
{
	const struct mock_seg segs[] = { { 0, 16, false }, { 0, 1, true } };

	expect_fault(segs, 2);
}
END_TEST

START_TEST(requests_before_driver_ok_wait_for_it)
{
	gpa_t status = buffer(1, S_NONE);
	const struct mock_seg segs[] = { { header(T_IN, 0), 16, false },
		{ buffer(512, 0), 512, true }, { status, 1, true } };

	mock_driver_reset(dev);
	mock_ring_clear(&ring);
	ck_assert(mock_driver_negotiate(dev, ALL));
	ck_assert(mock_driver_queue(dev, 0, &ring));
	mock_ring_add(&ring, segs, 3);
	mock_driver_kick(dev, 0);
	ck_assert(!mock_driver_wait_used(&ring, 50, NULL, NULL));
	ck_assert(mock_driver_ok(dev));
	ck_assert(mock_driver_wait_used(&ring, WAIT_MS, NULL, NULL));
}
END_TEST

/* A read that takes 2.5 seconds if nobody stops it. */
static void start_slow_read(void)
{
	const struct mock_seg segs[] = { { header(T_IN, 0), 16, false },
		{ buffer(128 * 512, 0), 128 * 512, true }, { buffer(1, S_NONE), 1, true } };
	const struct timespec pause = { .tv_nsec = 50000000 };

	fake_short = 512;
	fake_slow = 20;
	mock_ring_add(&ring, segs, 3);
	mock_driver_kick(dev, 0);
	(void)nanosleep(&pause, NULL);
}

START_TEST(reset_in_the_middle_of_a_request)
{
	uint64_t start;

	start_slow_read();
	start = clock_mono_ns();
	mock_driver_reset(dev);
	ck_assert_uint_lt(clock_mono_ns() - start, 1500 * CLOCK_NS_PER_MS);
	clear_faults();
	ck_assert(!mock_ring_used(&ring, NULL, NULL));
	bring_up(ALL);
	ck_assert_uint_eq(request(T_IN, 0, buffer(512, 0), 512, true, NULL), S_OK);
}
END_TEST

START_TEST(free_in_the_middle_of_a_request)
{
	uint64_t start;

	start_slow_read();
	start = clock_mono_ns();
	virtio_blk_free(blk);
	blk = NULL;
	ck_assert_uint_lt(clock_mono_ns() - start, 1500 * CLOCK_NS_PER_MS);
}
END_TEST

/* Resets that meet the worker at any point: nothing hangs, nothing is served twice or late. */
START_TEST(resets_at_any_moment)
{
	gpa_t data = buffer(65536, 0), h = header(T_IN, 0), status = buffer(1, 0);
	const struct mock_seg segs[] = { { h, 16, false }, { data, 65536, true },
		{ status, 1, true } };

	for (unsigned i = 0; i < 500; i++) {
		const struct timespec pause = { .tv_nsec = i % 20 * 5000 };
		uint16_t served;

		for (unsigned k = 0; k < 16; k++)
			mock_ring_add(&ring, segs, 3);
		mock_driver_kick(dev, 0);
		(void)nanosleep(&pause, NULL);
		mock_driver_reset(dev);
		served = __atomic_load_n(&ring.used->idx, __ATOMIC_ACQUIRE);
		(void)nanosleep(&pause, NULL);
		ck_assert_uint_eq(__atomic_load_n(&ring.used->idx, __ATOMIC_ACQUIRE), served);
		ck_assert_uint_le(served, 16);
		bring_up(ALL);
	}
}
END_TEST

START_TEST(new_checks_its_file)
{
	struct virtio_blk_config cfg = { .fd = file, .size = DISK + 512 };
	struct virtio_blk *none = NULL;
	struct kerr e = { 0 };
	int p[2];

	ck_assert_int_eq(virtio_blk_new(&none, &mem.gmem, &cfg, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "at least"));
	cfg.size = 511;
	ck_assert_int_eq(virtio_blk_new(&none, &mem.gmem, &cfg, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "multiple of 512"));
	cfg.size = UINT64_MAX - 511;
	ck_assert_int_eq(virtio_blk_new(&none, &mem.gmem, &cfg, &e), -EINVAL);
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	cfg = (struct virtio_blk_config){ .fd = p[0], .size = 512 };
	ck_assert_int_eq(virtio_blk_new(&none, &mem.gmem, &cfg, &e), -EINVAL);
	cfg.fd = 9999;
	ck_assert_int_eq(virtio_blk_new(&none, &mem.gmem, &cfg, &e), -EBADF);
	ck_assert_ptr_null(none);
	ck_assert_int_ge(fcntl(p[0], F_GETFD), 0); /* not taken over */
	(void)close(p[0]);
	(void)close(p[1]);
	virtio_blk_free(NULL);
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
		features_not_accepted_are_not_served, counters, requests_without_header_or_status,
		malformed_ring, requests_before_driver_ok_wait_for_it,
		reset_in_the_middle_of_a_request, free_in_the_middle_of_a_request,
		resets_at_any_moment, new_checks_its_file };
	Suite *s = suite_create("virtio_blk");
	TCase *t = tcase_create("virtio_blk"), *ro = tcase_create("read-only");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	for (size_t i = 0; i < array_size(tests); i++)
		tcase_add_test(t, tests[i]);
	tcase_add_checked_fixture(ro, setup_read_only, teardown);
	tcase_add_test(ro, read_only_disk);
	suite_add_tcase(s, t);
	suite_add_tcase(s, ro);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
