#include "blk_fixture.h"

#include <check.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <base/cleanup.h>

struct blk_fixture fix;
struct blk_faults faults;
struct blk_calls calls;

static void be_slow(void)
{
	const struct timespec pause = { .tv_nsec = faults.slow_ms * 1000000L };

	if (faults.slow_ms)
		(void)nanosleep(&pause, NULL);
}

int fallocate(int fd, int mode, off_t off, off_t len)
{
	calls.fallocate_mode = mode;
	calls.fallocate++;
	if (faults.fallocate_errno) {
		errno = faults.fallocate_errno;
		return -1;
	}
	be_slow();
	return (int)syscall(SYS_fallocate, fd, mode, off, len);
}

int fdatasync(int fd)
{
	calls.fdatasync++;
	if (faults.io_errno) {
		errno = faults.io_errno;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

static ssize_t transfer(long nr, int fd, const struct iovec *iov, int count, off_t at)
{
	struct iovec one;

	calls.transfers++;
	if (faults.eintr > 0) {
		faults.eintr--;
		errno = EINTR;
		return -1;
	}
	if (faults.io_errno) {
		errno = faults.io_errno;
		return -1;
	}
	be_slow();
	if (faults.short_len) {
		one = iov[0];
		if (one.iov_len > (size_t)faults.short_len)
			one.iov_len = (size_t)faults.short_len;
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

void fix_clear_faults(void)
{
	faults.fallocate_errno = faults.io_errno = faults.eintr = 0;
	faults.short_len = faults.slow_ms = 0;
	calls.fallocate_mode = calls.fallocate = calls.fdatasync = calls.transfers = 0;
}

uint8_t fix_pattern(uint64_t at)
{
	return (uint8_t)(1 + at % 251 + at / 4096);
}

static void open_disk(bool read_only)
{
	struct virtio_blk_config cfg = {
		.size = DISK, .read_only = read_only, .throttle = fix.throttle
	};
	static uint8_t content[DISK];

	for (unsigned i = 0; i < DISK; i++)
		content[i] = fix_pattern(i);
	fix.file = memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_eq(pwrite(fix.file, content, DISK, 0), DISK);
	memcpy(cfg.serial, "kosvm-test-disk-0001", 20);
	cfg.fd = fcntl(fix.file, F_DUPFD_CLOEXEC, 0);
	ck_assert_int_eq(virtio_blk_new(&fix.blk, &fix.mem.gmem, &cfg, NULL), 0);
	fix.dev = virtio_blk_dev(fix.blk);
}

void fix_bring_up(uint64_t features)
{
	mock_driver_reset(fix.dev); /* before the ring goes: it may be looking */
	mock_ring_clear(&fix.ring);
	ck_assert(mock_driver_negotiate(fix.dev, features));
	ck_assert(mock_driver_queue(fix.dev, 0, &fix.ring));
	ck_assert(mock_driver_ok(fix.dev));
}

static void setup_mem(void)
{
	fix_clear_faults();
	mock_mem_init(&fix.mem, 8 << 20);
	mock_ring_init(&fix.ring, &fix.mem, 256);
}

void fix_setup(void)
{
	setup_mem();
	open_disk(false);
	fix_bring_up(ALL);
}

void fix_setup_read_only(void)
{
	setup_mem();
	open_disk(true);
	fix_bring_up(ALL);
}

void fix_teardown(void)
{
	struct stat st;

	fix_clear_faults();
	virtio_blk_free(fix.blk);
	fix.blk = NULL;
	/* Whatever a test did: the file never grows or shrinks. */
	ck_assert_int_eq(fstat(fix.file, &st), 0);
	ck_assert_int_eq(st.st_size, DISK);
	close_fd(&fix.file);
	mock_mem_done(&fix.mem);
}

gpa_t fix_header(uint32_t type, uint64_t sector)
{
	const struct {
		uint32_t type, reserved;
		uint64_t sector;
	} h = { htole32(type), 0, htole64(sector) };

	return mock_put(&fix.mem, &h, sizeof(h));
}

/* Publishes, kicks and waits; the status byte, S_NONE when the device wrote none. */
uint8_t fix_submit(const struct mock_seg *segs, unsigned count, uint32_t *ret_len)
{
	const struct mock_seg *last = &segs[count - 1];
	uint8_t *status = mock_ptr(&fix.mem, last->addr, last->len);
	uint16_t head;
	uint32_t id;

	status += last->len - 1;
	*status = S_NONE;
	head = mock_ring_add(&fix.ring, segs, count);
	mock_driver_kick(fix.dev, 0);
	ck_assert(mock_driver_wait_used(&fix.ring, WAIT_MS, &id, ret_len));
	ck_assert_uint_eq(id, head);
	return *status;
}

uint8_t fix_request(
	uint32_t type, uint64_t sector, gpa_t data, uint32_t len, bool in, uint32_t *ret_len)
{
	const struct mock_seg segs[] = { { fix_header(type, sector), 16, false }, { data, len, in },
		{ mock_alloc(&fix.mem, 1, 1), 1, true } };

	return fix_submit(segs, 3, ret_len);
}

gpa_t fix_buffer(size_t len, int fill)
{
	gpa_t at = mock_alloc(&fix.mem, len, 512);

	memset(mock_ptr(&fix.mem, at, len), fill, len);
	return at;
}

uint8_t fix_ranges(uint32_t type, const struct range *r, unsigned count)
{
	return fix_request(type, 0, mock_put(&fix.mem, r, count * sizeof(*r)),
		(uint32_t)(count * sizeof(*r)), false, NULL);
}

void fix_expect_pattern(const uint8_t *p, uint64_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		ck_assert_uint_eq(p[i], fix_pattern(at + i));
}

/* The whole disk: the pattern but for [from, to), which is all `value`. */
void fix_expect_disk(uint64_t from, uint64_t to, uint8_t value)
{
	static uint8_t content[DISK];

	ck_assert_int_eq(pread(fix.file, content, DISK, 0), DISK);
	for (uint64_t i = 0; i < DISK; i++)
		if (content[i] != (i >= from && i < to ? value : fix_pattern(i)))
			ck_abort_msg("byte %llu is %u", (unsigned long long)i, content[i]);
}
