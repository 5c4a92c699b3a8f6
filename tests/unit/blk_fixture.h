#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <devices/virtio_blk.h>

#include "mock_ring.h"

/*
 * A block device over a memory file on a mock ring, driven well, for the
 * tests: its disk holds a pattern, and the system calls it makes fail or
 * dawdle on demand. One at a time.
 */

/* <linux/virtio_blk.h> clashes with ours: the numbers of 5.2.3 and 5.2.6 again. */
enum { T_IN = 0, T_OUT = 1, T_SCSI = 2, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_ZERO = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2, S_NONE = 0xee };
#define ALL     (~UINT64_C(0))
#define SECTORS 2048u
#define DISK    (SECTORS * 512u)
#define WAIT_MS 20000

extern struct blk_fixture {
	struct mock_mem mem;
	struct mock_ring ring;
	struct virtio_blk *blk;
	struct virtio_dev *dev;
	struct throttle *throttle; /* of the next setup; the test's */
	int file;                  /* ours: a duplicate of what the device has */
} fix;

/*
 * The system calls the device makes, with faults on demand: fallocate,
 * fdatasync, preadv and pwritev of this program are the fixture's.
 */
extern struct blk_faults {
	_Atomic int fallocate_errno, io_errno;
	_Atomic int eintr;     /* so many transfers are interrupted */
	_Atomic int short_len; /* the most a transfer moves; 0: all */
	_Atomic int slow_ms;   /* what a transfer or an fallocate takes */
} faults;
extern struct blk_calls {
	_Atomic int fallocate_mode; /* of the last call */
	_Atomic int fallocate, fdatasync, transfers;
} calls;

void fix_clear_faults(void);

/* Check's fixtures: the device is up with every feature. */
void fix_setup(void);
void fix_setup_read_only(void);
void fix_teardown(void);

/* Reset and up again with these features. */
void fix_bring_up(uint64_t features);

/* Guest memory with a request's header; with len bytes of one value, aligned as a sector. */
gpa_t fix_header(uint32_t type, uint64_t sector);
gpa_t fix_buffer(size_t len, int fill);

/* Publishes, kicks and waits; the status byte, S_NONE when the device wrote none. */
uint8_t fix_submit(const struct mock_seg *segs, unsigned count, uint32_t *ret_len);
uint8_t fix_request(
	uint32_t type, uint64_t sector, gpa_t data, uint32_t len, bool in, uint32_t *ret_len);

/* One segment of discard and write-zeroes (5.2.6). */
struct range {
	uint64_t sector;
	uint32_t sectors, flags;
};

uint8_t fix_ranges(uint32_t type, const struct range *r, unsigned count);

/* What the disk holds at first. */
uint8_t fix_pattern(uint64_t at);
void fix_expect_pattern(const uint8_t *p, uint64_t at, size_t len);
/* The whole disk: the pattern but for [from, to), which is all `value`. */
void fix_expect_disk(uint64_t from, uint64_t to, uint8_t value);
