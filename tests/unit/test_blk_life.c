/* The block device's life: creation, faults of the driver, resets and its end at any moment. */
#include "blk_fixture.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include <base/cleanup.h>
#include <base/clock.h>

static bool needs_reset(void)
{
	return mock_reg_read(fix.dev, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static void expect_fault(const struct mock_seg *segs, unsigned count)
{
	const struct mock_seg good[] = { { fix_header(T_IN, 0), 16, false },
		{ fix_buffer(512, 0), 512, true }, { fix_buffer(1, 0), 1, true } };

	mock_ring_add(&fix.ring, segs, count);
	mock_driver_kick(fix.dev, 0);
	ck_assert(mock_driver_wait_irq(fix.dev, WAIT_MS)); /* the configuration interrupt */
	ck_assert(needs_reset());
	/* And nothing is served until the reset. */
	mock_ring_add(&fix.ring, good, 3);
	mock_driver_kick(fix.dev, 0);
	ck_assert(!mock_driver_wait_used(&fix.ring, 50, NULL, NULL));
	fix_bring_up(ALL);
	ck_assert_uint_eq(fix_request(T_IN, 0, fix_buffer(512, 0), 512, true, NULL), S_OK);
	ck_assert(mock_driver_wait_irq(fix.dev, WAIT_MS));
}

START_TEST(requests_without_header_or_status)
{
	gpa_t h = fix_header(T_OUT, 0), data = fix_buffer(512, 1);
	const struct mock_seg no_status[] = { { h, 16, false }, { data, 512, false } };
	const struct mock_seg no_header[] = { { data, 512, true } };
	const struct mock_seg short_header[] = { { h, 15, false }, { data, 1, true } };

	expect_fault(no_status, 2);
	expect_fault(no_header, 1);
	expect_fault(short_header, 2);
	fix_expect_disk(0, 0, 0);
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
	gpa_t status = fix_buffer(1, S_NONE);
	const struct mock_seg segs[] = { { fix_header(T_IN, 0), 16, false },
		{ fix_buffer(512, 0), 512, true }, { status, 1, true } };

	mock_driver_reset(fix.dev);
	mock_ring_clear(&fix.ring);
	ck_assert(mock_driver_negotiate(fix.dev, ALL));
	ck_assert(mock_driver_queue(fix.dev, 0, &fix.ring));
	mock_ring_add(&fix.ring, segs, 3);
	mock_driver_kick(fix.dev, 0);
	ck_assert(!mock_driver_wait_used(&fix.ring, 50, NULL, NULL));
	ck_assert(mock_driver_ok(fix.dev));
	ck_assert(mock_driver_wait_used(&fix.ring, WAIT_MS, NULL, NULL));
}
END_TEST

static gpa_t slow_data;

/* A read that takes 2.5 seconds if nobody stops it. */
static void start_slow_read(void)
{
	slow_data = fix_buffer(128 * 512, 0);
	const struct mock_seg segs[] = { { fix_header(T_IN, 0), 16, false },
		{ slow_data, 128 * 512, true }, { fix_buffer(1, S_NONE), 1, true } };
	const struct timespec pause = { .tv_nsec = 50000000 };

	faults.short_len = 512;
	faults.slow_ms = 20;
	mock_ring_add(&fix.ring, segs, 3);
	mock_driver_kick(fix.dev, 0);
	(void)nanosleep(&pause, NULL);
}

START_TEST(reset_in_the_middle_of_a_request)
{
	uint64_t start;

	start_slow_read();
	start = clock_mono_ns();
	mock_driver_reset(fix.dev);
	ck_assert_uint_lt(clock_mono_ns() - start, 1500 * CLOCK_NS_PER_MS);
	fix_clear_faults();
	ck_assert(!mock_ring_used(&fix.ring, NULL, NULL));
	fix_bring_up(ALL);
	ck_assert_uint_eq(fix_request(T_IN, 0, fix_buffer(512, 0), 512, true, NULL), S_OK);
}
END_TEST

/* Each range is a system call of its own: a reset waits for one of them, not for sixteen. */
START_TEST(reset_in_the_middle_of_a_discard)
{
	struct range r[16];
	const struct timespec pause = { .tv_nsec = 50000000 };
	uint64_t start;

	for (unsigned i = 0; i < 16; i++)
		r[i] = (struct range){ i * 8, 8, 0 };
	const struct mock_seg segs[] = { { fix_header(T_DISCARD, 0), 16, false },
		{ mock_put(&fix.mem, r, sizeof(r)), sizeof(r), false },
		{ fix_buffer(1, S_NONE), 1, true } };

	faults.slow_ms = 200;
	mock_ring_add(&fix.ring, segs, 3);
	mock_driver_kick(fix.dev, 0);
	(void)nanosleep(&pause, NULL);
	start = clock_mono_ns();
	mock_driver_reset(fix.dev);
	ck_assert_uint_lt(clock_mono_ns() - start, 1500 * CLOCK_NS_PER_MS);
	ck_assert_int_ge(calls.fallocate, 1);
	ck_assert_int_lt(calls.fallocate, 16);
	ck_assert(!mock_ring_used(&fix.ring, NULL, NULL));
}
END_TEST

START_TEST(free_in_the_middle_of_a_request)
{
	uint64_t start;

	start_slow_read();
	start = clock_mono_ns();
	virtio_blk_free(fix.blk);
	fix.blk = NULL;
	ck_assert_uint_lt(clock_mono_ns() - start, 1500 * CLOCK_NS_PER_MS);
}
END_TEST

/* Resets that meet the worker at any point: nothing hangs, nothing is served twice or late. */
START_TEST(resets_at_any_moment)
{
	gpa_t data = fix_buffer(65536, 0), h = fix_header(T_IN, 0), status = fix_buffer(1, 0);
	const struct mock_seg segs[] = { { h, 16, false }, { data, 65536, true },
		{ status, 1, true } };

	for (unsigned i = 0; i < 500; i++) {
		const struct timespec pause = { .tv_nsec = i % 20 * 5000 };
		uint16_t served;

		for (unsigned k = 0; k < 16; k++)
			mock_ring_add(&fix.ring, segs, 3);
		mock_driver_kick(fix.dev, 0);
		(void)nanosleep(&pause, NULL);
		mock_driver_reset(fix.dev);
		served = __atomic_load_n(&fix.ring.used->idx, __ATOMIC_ACQUIRE);
		(void)nanosleep(&pause, NULL);
		ck_assert_uint_eq(__atomic_load_n(&fix.ring.used->idx, __ATOMIC_ACQUIRE), served);
		ck_assert_uint_le(served, 16);
		fix_bring_up(ALL);
	}
}
END_TEST

/* Guest memory, rings and all, stays as it is for a while. */
static void expect_stillness(void)
{
	const struct timespec pause = { .tv_nsec = 2000000 };
	uint64_t len = fix.mem.gmem.regions[0].len;
	uint8_t *now = fix.mem.gmem.regions[0].host;
	uint8_t *then = malloc(len);

	ck_assert_ptr_nonnull(then);
	memcpy(then, now, len);
	(void)nanosleep(&pause, NULL);
	ck_assert_int_eq(memcmp(then, now, len), 0);
	free(then);
}

/* Waits for one system call, changes nothing from then on, and loses nothing. */
START_TEST(held_in_the_middle_of_a_request)
{
	struct virtio_blk_stats before;
	struct virtio_blk_stats after;
	uint64_t start;

	start_slow_read();
	start = clock_mono_ns();
	virtio_blk_hold(fix.blk, true);
	virtio_blk_hold(fix.blk, true); /* once is enough */
	ck_assert_uint_lt(clock_mono_ns() - start, 1500 * CLOCK_NS_PER_MS);
	fix_clear_faults();
	expect_stillness();
	ck_assert(!mock_ring_used(&fix.ring, NULL, NULL));
	virtio_blk_get_stats(fix.blk, &before);
	mock_driver_kick(fix.dev, 0);
	expect_stillness();
	virtio_blk_get_stats(fix.blk, &after);
	ck_assert_mem_eq(&before, &after, sizeof(before));
	virtio_blk_hold(fix.blk, false);
	ck_assert(mock_driver_wait_used(&fix.ring, WAIT_MS, NULL, NULL));
	fix_expect_pattern(mock_ptr(&fix.mem, slow_data, 128 * 512), 0, 128 * 512);
	ck_assert_uint_eq(fix_request(T_IN, 0, fix_buffer(512, 0), 512, true, NULL), S_OK);
}
END_TEST

START_TEST(reset_and_free_while_held)
{
	start_slow_read();
	virtio_blk_hold(fix.blk, true);
	fix_clear_faults();
	mock_driver_reset(fix.dev);
	fix_bring_up(ALL);
	virtio_blk_hold(fix.blk, false);
	ck_assert_uint_eq(fix_request(T_IN, 0, fix_buffer(512, 0), 512, true, NULL), S_OK);
	virtio_blk_hold(fix.blk, true);
	virtio_blk_free(fix.blk);
	fix.blk = NULL;
}
END_TEST

/* Holds that meet the worker at any point: each request is done, and all of them once. */
START_TEST(holds_at_any_moment)
{
	gpa_t data = fix_buffer(65536, 0), h = fix_header(T_IN, 0), status = fix_buffer(1, 0);
	const struct mock_seg segs[] = { { h, 16, false }, { data, 65536, true },
		{ status, 1, true } };
	struct virtio_blk_stats s;

	for (unsigned i = 0; i < 500; i++) {
		const struct timespec pause = { .tv_nsec = i % 20 * 5000 };

		for (unsigned k = 0; k < 16; k++)
			mock_ring_add(&fix.ring, segs, 3);
		mock_driver_kick(fix.dev, 0);
		(void)nanosleep(&pause, NULL);
		virtio_blk_hold(fix.blk, true);
		if (i % 4 == 0)
			expect_stillness();
		virtio_blk_hold(fix.blk, false);
		for (unsigned k = 0; k < 16; k++)
			ck_assert(mock_driver_wait_used(&fix.ring, WAIT_MS, NULL, NULL));
		ck_assert(!mock_ring_used(&fix.ring, NULL, NULL));
	}
	virtio_blk_get_stats(fix.blk, &s);
	ck_assert_uint_eq(s.read_ops, 500 * 16);
	ck_assert_uint_eq(s.read_bytes, 500 * 16 * 65536ULL);
	ck_assert_uint_eq(s.errors, 0);
}
END_TEST

START_TEST(new_checks_its_file)
{
	struct virtio_blk_config cfg = { .fd = fix.file, .size = DISK + 512 };
	struct virtio_blk *none = NULL;
	struct kerr e = { 0 };
	int p[2];

	ck_assert_int_eq(virtio_blk_new(&none, &fix.mem.gmem, &cfg, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "at least"));
	cfg.size = 511;
	ck_assert_int_eq(virtio_blk_new(&none, &fix.mem.gmem, &cfg, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "multiple of 512"));
	cfg.size = UINT64_MAX - 511;
	ck_assert_int_eq(virtio_blk_new(&none, &fix.mem.gmem, &cfg, &e), -EINVAL);
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	cfg = (struct virtio_blk_config){ .fd = p[0], .size = 512 };
	ck_assert_int_eq(virtio_blk_new(&none, &fix.mem.gmem, &cfg, &e), -EINVAL);
	cfg.fd = 9999;
	ck_assert_int_eq(virtio_blk_new(&none, &fix.mem.gmem, &cfg, &e), -EBADF);
	ck_assert_ptr_null(none);
	ck_assert_int_ge(fcntl(p[0], F_GETFD), 0); /* not taken over */
	(void)close(p[0]);
	(void)close(p[1]);
	virtio_blk_free(NULL);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { requests_without_header_or_status, malformed_ring,
		requests_before_driver_ok_wait_for_it, reset_in_the_middle_of_a_request,
		reset_in_the_middle_of_a_discard, free_in_the_middle_of_a_request,
		resets_at_any_moment, held_in_the_middle_of_a_request, reset_and_free_while_held,
		holds_at_any_moment, new_checks_its_file };
	Suite *s = suite_create("blk_life");
	TCase *t = tcase_create("blk_life");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, fix_setup, fix_teardown);
	for (size_t i = 0; i < array_size(tests); i++)
		tcase_add_test(t, tests[i]);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
