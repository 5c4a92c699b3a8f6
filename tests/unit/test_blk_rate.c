/* The block device under a limit, by a clock of the test's own: requests wait, and none is lost. */
#include "blk_fixture.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <base/clock.h>
#include <devices/throttle.h>

#define MS    CLOCK_NS_PER_MS
#define STILL 40 /* ms in which nothing happens */

static _Atomic uint64_t now;
static _Atomic unsigned looks;

static uint64_t test_clock(void)
{
	looks++;
	return now;
}

static void limit(uint64_t bytes, uint64_t ops, uint64_t burst)
{
	const struct rate_limit l = { .bytes = bytes, .ops = ops, .burst = burst };

	throttle_set(fix.throttle, &l);
	virtio_blk_nudge(fix.blk);
}

static void set_up(void)
{
	now = 1000;
	fix.throttle = throttle_new(test_clock);
	ck_assert_ptr_nonnull(fix.throttle);
	fix_setup();
	limit(102400, 0, 8192);
}

static void tear_down(void)
{
	fix_teardown();
	throttle_free(fix.throttle);
	fix.throttle = NULL;
}

static void pass(uint64_t ms)
{
	now += ms * MS;
	virtio_blk_nudge(fix.blk);
}

/* Publishes n requests of `len` bytes. */
static void submit(uint32_t type, unsigned n, uint32_t len)
{
	for (unsigned i = 0; i < n; i++) {
		const struct mock_seg segs[] = { { fix_header(type, 0), 16, false },
			{ fix_buffer(len, 0x5a), len, type == T_IN },
			{ fix_buffer(1, S_NONE), 1, true } };

		mock_ring_add(&fix.ring, segs, 3);
	}
	mock_driver_kick(fix.dev, 0);
}

static void expect(unsigned n)
{
	while (n--)
		ck_assert(mock_driver_wait_used(&fix.ring, WAIT_MS, NULL, NULL));
}

/* So many are answered, and no more. */
static void expect_only(unsigned n)
{
	expect(n);
	ck_assert(!mock_driver_wait_used(&fix.ring, STILL, NULL, NULL));
}

static uint64_t moved(void)
{
	struct virtio_blk_stats s;

	virtio_blk_get_stats(fix.blk, &s);
	return s.read_bytes + s.written_bytes;
}

START_TEST(bytes_wait)
{
	const uint64_t start = now;

	limit(40960, 0, 8192);
	submit(T_IN, 10, 4096);
	expect_only(2);
	pass(99);
	expect_only(0);
	pass(1);
	expect_only(1);
	pass(250);
	expect_only(2); /* 2.5 requests' worth; the half is not lost */
	pass(50);
	expect_only(1);
	while (moved() < 40960) {
		pass(30);
		(void)mock_driver_wait_used(&fix.ring, STILL, NULL, NULL);
		ck_assert_uint_le(moved(), 8192 + (now - start) * 40960 / CLOCK_NS_PER_S);
	}
	ck_assert_uint_eq(now - start, 820 * MS); /* 800 and what 30 makes of it */
}
END_TEST

START_TEST(without_a_limit_nothing_waits)
{
	limit(0, 0, 0);
	submit(T_OUT, 20, 4096);
	expect(20);
	ck_assert_uint_eq(moved(), 20 * 4096);
}
END_TEST

START_TEST(larger_than_the_burst)
{
	submit(T_OUT, 1, 128 << 10); /* 120 KiB more than the burst */
	submit(T_IN, 1, 512);
	expect_only(0);
	pass(1199);
	expect_only(0);
	pass(1);
	expect_only(1);
	ck_assert_uint_eq(moved(), 128 << 10);
	pass(5);
	expect(1);
}
END_TEST

/* Flush, discard, get-id: an operation each, whatever they carry. */
START_TEST(operations_wait)
{
	const struct range r = { 0, 8, 0 };

	limit(0, 10, 0);
	submit(T_IN, 9, 512);
	expect(9);
	ck_assert_uint_eq(fix_ranges(T_DISCARD, &r, 1), S_OK); /* the tenth */
	submit(T_FLUSH, 1, 0);
	submit(T_GET_ID, 1, 20);
	submit(T_SCSI, 1, 20);
	expect_only(0);
	pass(100);
	expect_only(1);
	ck_assert_int_eq(calls.fdatasync, 1);
	pass(100);
	expect_only(1);
	pass(100);
	expect(1);
}
END_TEST

/* A few bytes ask for zeroes, and where there are no holes they are written: that counts. */
START_TEST(zeroes_that_are_written)
{
	const struct range r = { 0, 128, 0 };

	faults.fallocate_errno = EOPNOTSUPP;
	ck_assert_uint_eq(fix_ranges(T_ZERO, &r, 1), S_OK);
	submit(T_IN, 1, 512);
	expect_only(0);
	pass(565); /* 64 KiB, a range and a sector, less the burst */
	expect_only(0);
	pass(1);
	expect(1);
}
END_TEST

START_TEST(changed_while_they_wait)
{
	limit(1, 0, 1);
	submit(T_IN, 3, 4096);
	expect_only(0);
	limit(4096, 0, 4096);
	expect_only(0);
	pass(2000); /* a request, and what fits the burst after it */
	expect_only(2);
	limit(0, 0, 0);
	expect(1);
	limit(1, 1, 1);
	submit(T_IN, 1, 4096);
	expect_only(0);
	limit(0, 0, 0);
	expect(1);
}
END_TEST

static void wait_for_a_year(void)
{
	limit(1, 0, 1);
	submit(T_IN, 3, 16 << 20 >> 4);
	expect_only(0);
}

/* The clock stands, the debt is a year's: nobody looks all the time. */
START_TEST(no_busy_loop)
{
	const struct timespec rest = { .tv_nsec = 300 * 1000 * 1000 };
	unsigned before;

	wait_for_a_year();
	before = looks;
	(void)nanosleep(&rest, NULL);
	ck_assert_uint_le(looks - before, 3);
}
END_TEST

START_TEST(reset_while_they_wait)
{
	uint64_t start;

	wait_for_a_year();
	start = clock_mono_ns();
	mock_driver_reset(fix.dev);
	ck_assert_uint_lt(clock_mono_ns() - start, 1500 * MS);
	fix_bring_up(ALL);
	/* What was not done costs nothing: one byte at once, and 511 more are due in as many s. */
	submit(T_IN, 1, 512);
	expect_only(0);
	pass(512 * 1000);
	expect(1);
}
END_TEST

START_TEST(freed_while_they_wait)
{
	uint64_t start;

	wait_for_a_year();
	start = clock_mono_ns();
	virtio_blk_free(fix.blk);
	ck_assert_uint_lt(clock_mono_ns() - start, 1500 * MS);
	fix.blk = NULL;
}
END_TEST

START_TEST(held_while_they_wait)
{
	uint64_t start;

	wait_for_a_year();
	start = clock_mono_ns();
	virtio_blk_hold(fix.blk, true);
	ck_assert_uint_lt(clock_mono_ns() - start, 1500 * MS);
	limit(0, 0, 0);
	expect_only(0); /* tokens or not */
	virtio_blk_hold(fix.blk, false);
	expect_only(3);
	ck_assert_uint_eq(moved(), 3 << 20);
}
END_TEST

/* One that was under way when it was held has paid, and does not pay again. */
START_TEST(held_in_the_middle)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };

	limit(1, 0, 8192);
	faults.short_len = 512;
	faults.slow_ms = 20;
	submit(T_IN, 1, 8192);
	(void)nanosleep(&pause, NULL);
	virtio_blk_hold(fix.blk, true);
	fix_clear_faults();
	virtio_blk_hold(fix.blk, false);
	expect_only(1);
	submit(T_IN, 1, 512);
	expect_only(0);
	limit(0, 0, 0);
	expect(1);
}
END_TEST

/* Resets, holds and new limits that meet the worker at any point. */
START_TEST(at_any_moment)
{
	gpa_t data = fix_buffer(4096, 0), h = fix_header(T_IN, 0), status = fix_buffer(1, 0);
	const struct mock_seg segs[] = { { h, 16, false }, { data, 4096, true },
		{ status, 1, true } };

	for (unsigned i = 0; i < 300; i++) {
		const struct timespec pause = { .tv_nsec = i % 20 * 5000 };

		limit(1 << 20, 0, 8192 + i);
		for (unsigned k = 0; k < 8; k++)
			mock_ring_add(&fix.ring, segs, 3);
		mock_driver_kick(fix.dev, 0);
		(void)nanosleep(&pause, NULL);
		pass(3);
		virtio_blk_hold(fix.blk, true);
		virtio_blk_hold(fix.blk, false);
		if (i % 3 == 0) {
			mock_driver_reset(fix.dev);
			fix_bring_up(ALL);
			continue;
		}
		limit(0, 0, 0);
		expect(8);
		ck_assert(!mock_ring_used(&fix.ring, NULL, NULL));
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { bytes_wait, without_a_limit_nothing_waits,
		larger_than_the_burst, operations_wait, zeroes_that_are_written,
		changed_while_they_wait, no_busy_loop, reset_while_they_wait, freed_while_they_wait,
		held_while_they_wait, held_in_the_middle, at_any_moment };
	Suite *s = suite_create("blk_rate");
	TCase *t = tcase_create("blk_rate");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, set_up, tear_down);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(t, tests[i]);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
