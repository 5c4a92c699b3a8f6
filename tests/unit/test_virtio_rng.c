#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include <base/cleanup.h>
#include <devices/virtio_rng.h>

#include "mock_ring.h"

static struct mock_mem mem;
static struct mock_ring ring;
static struct loop *loop;
static struct virtio_rng *rng;
static struct virtio_dev *dev;

static void setup(void)
{
	mock_mem_init(&mem, 1 << 20);
	mock_ring_init(&ring, &mem, 16);
	ck_assert_int_eq(loop_new(&loop, NULL), 0);
	ck_assert_int_eq(virtio_rng_new(&rng, &mem.gmem, loop, NULL), 0);
	dev = virtio_rng_dev(rng);
}

static void teardown(void)
{
	virtio_rng_free(rng);
	loop_free(loop);
	mock_mem_done(&mem);
}

static void bring_up(void)
{
	ck_assert(mock_driver_negotiate(dev, ~UINT64_C(0)));
	ck_assert(mock_driver_queue(dev, 0, &ring));
	ck_assert(mock_driver_ok(dev));
}

static void kick_and_serve(void)
{
	mock_driver_kick(dev, 0);
	ck_assert_int_eq(loop_step(loop, 0, NULL), 0);
}

static bool needs_reset(void)
{
	return mock_reg_read(dev, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

START_TEST(identity)
{
	ck_assert_uint_eq(mock_reg_read(dev, VIRTIO_MMIO_DEVICE_ID), 4);
	ck_assert_uint_eq(mock_reg_read(dev, VIRTIO_MMIO_CONFIG), 0);
	virtio_rng_free(NULL);
}
END_TEST

START_TEST(fills_every_segment_and_nothing_else)
{
	gpa_t at = mock_alloc(&mem, 4096, 4096);
	const uint8_t *b = mock_ptr(&mem, at, 4096);
	const struct mock_seg segs[] = { { at, 64, true }, { at + 128, 64, true } };
	const uint8_t zero[64] = { 0 };
	uint32_t id, len;
	uint16_t head;

	bring_up();
	head = mock_ring_add(&ring, segs, 2);
	kick_and_serve();
	ck_assert(mock_ring_used(&ring, &id, &len));
	ck_assert_uint_eq(id, head);
	ck_assert_uint_eq(len, 128);
	ck_assert(mock_driver_wait_irq(dev, 0));
	ck_assert_int_ne(memcmp(b, zero, 64), 0);
	ck_assert_int_ne(memcmp(b + 128, zero, 64), 0);
	ck_assert_mem_eq(b + 64, zero, 64);
	ck_assert_mem_eq(b + 192, zero, 64);
	/* The last bytes too: all zero by chance once in 2^64. */
	ck_assert_int_ne(memcmp(b + 128 + 56, zero, 8), 0);
}
END_TEST

START_TEST(four_kib_at_most)
{
	gpa_t at = mock_alloc(&mem, 3 * 4096, 4096);
	const uint8_t *b = mock_ptr(&mem, at, 3 * 4096);
	const struct mock_seg segs[] = { { at, 4000, true }, { at + 4000, 8000, true } };
	uint32_t len;

	bring_up();
	mock_ring_add(&ring, segs, 2);
	kick_and_serve();
	ck_assert(mock_ring_used(&ring, NULL, &len));
	ck_assert_uint_eq(len, 4096);
	for (unsigned i = 4096; i < 3 * 4096; i++)
		ck_assert_uint_eq(b[i], 0);
}
END_TEST

START_TEST(readable_buffer_is_a_fault)
{
	gpa_t at = mock_alloc(&mem, 4096, 4096);
	const struct mock_seg segs[] = { { at, 16, false }, { at, 16, true } };

	bring_up();
	mock_ring_add(&ring, segs, 2);
	kick_and_serve();
	ck_assert(needs_reset());
	ck_assert(!mock_ring_used(&ring, NULL, NULL));
	/* And nothing is served until the reset. */
	mock_ring_add(&ring, &segs[1], 1);
	kick_and_serve();
	ck_assert(!mock_ring_used(&ring, NULL, NULL));
	mock_driver_reset(dev);
	mock_ring_clear(&ring);
	bring_up();
	mock_ring_add(&ring, &segs[1], 1);
	kick_and_serve();
	ck_assert(mock_ring_used(&ring, NULL, NULL));
}
END_TEST

START_TEST(empty_buffer_is_a_fault)
{
	const struct mock_seg seg = { 0, 0, true };

	bring_up();
	mock_ring_add(&ring, &seg, 1);
	kick_and_serve();
	ck_assert(needs_reset());
	ck_assert(!mock_ring_used(&ring, NULL, NULL));
}
END_TEST

START_TEST(malformed_ring_is_a_fault)
{
	bring_up();
	mock_ring_publish(&ring, 99);
	kick_and_serve();
	ck_assert(needs_reset());
}
END_TEST

START_TEST(nothing_before_driver_ok_or_after_reset)
{
	const struct mock_seg seg = { mock_alloc(&mem, 64, 64), 64, true };

	ck_assert(mock_driver_negotiate(dev, ~UINT64_C(0)));
	ck_assert(mock_driver_queue(dev, 0, &ring));
	mock_ring_add(&ring, &seg, 1);
	kick_and_serve();
	ck_assert(!mock_ring_used(&ring, NULL, NULL));
	ck_assert(mock_driver_ok(dev));
	kick_and_serve();
	ck_assert(mock_ring_used(&ring, NULL, NULL));
	mock_driver_reset(dev);
	mock_ring_add(&ring, &seg, 1);
	kick_and_serve();
	ck_assert(!mock_ring_used(&ring, NULL, NULL));
}
END_TEST

START_TEST(held)
{
	const struct mock_seg seg = { mock_alloc(&mem, 64, 64), 64, true };

	bring_up();
	virtio_rng_hold(rng, true);
	mock_ring_add(&ring, &seg, 1);
	kick_and_serve();
	ck_assert(!mock_ring_used(&ring, NULL, NULL));
	virtio_rng_hold(rng, false);
	ck_assert_int_eq(loop_step(loop, 0, NULL), 0);
	ck_assert(mock_ring_used(&ring, NULL, NULL));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { identity, fills_every_segment_and_nothing_else,
		four_kib_at_most, readable_buffer_is_a_fault, empty_buffer_is_a_fault,
		malformed_ring_is_a_fault, nothing_before_driver_ok_or_after_reset, held };
	Suite *s = suite_create("virtio_rng");
	TCase *t = tcase_create("virtio_rng");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	for (size_t i = 0; i < array_size(tests); i++)
		tcase_add_test(t, tests[i]);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
