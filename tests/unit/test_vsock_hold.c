/* A vsock device that is held: the guest's memory rests, the host's sockets wait. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/clock.h>

#include "vsock_fixture.h"

static struct fixture f;
static uint8_t *then;

static void set_up(void)
{
	fix_init(&f, NULL, 8);
}

static void tear_down(void)
{
	fix_done(&f);
}

static void hold(void)
{
	size_t len = f.m.mem.gmem.regions[0].len;

	virtio_vsock_hold(f.m.v, true);
	then = malloc(len);
	ck_assert_ptr_nonnull(then);
	memcpy(then, f.m.mem.gmem.regions[0].host, len);
}

/* Nothing happens for a while, and nothing has since it was held. */
static void expect_stillness(unsigned ms)
{
	uint64_t end = clock_mono_ns() + ms * CLOCK_NS_PER_MS;

	while (clock_mono_ns() < end)
		mock_vsock_run(&f.m, 5);
	ck_assert_int_eq(
		memcmp(then, f.m.mem.gmem.regions[0].host, f.m.mem.gmem.regions[0].len), 0);
}

static void release(void)
{
	free(then);
	virtio_vsock_hold(f.m.v, false);
}

START_TEST(data_of_the_host_waits)
{
	int ours = fix_open(&f, 1, 2);
	char data[MOCK_VSOCK_RXBUF];
	struct vsock_packet p;

	hold();
	ck_assert_int_eq(write(ours, "later", 5), 5);
	expect_stillness(50);
	release();
	p = fix_expect(&f, VSOCK_OP_RW, data);
	ck_assert_uint_eq(p.len, 5);
	ck_assert_mem_eq(data, "later", 5);
	(void)close(ours);
}
END_TEST

/* In the queue already when it is held. */
START_TEST(data_of_the_guest_waits)
{
	const struct vsock_packet p = { .src_port = 2,
		.dst_cid = HOST_CID,
		.dst_port = 1,
		.op = VSOCK_OP_RW,
		.len = 4,
		.buf_alloc = 65536 };
	int ours = fix_open(&f, 1, 2);
	char text[8];

	ck_assert(mock_vsock_send(&f.m, &p, "sent", 4));
	hold();
	expect_stillness(50);
	ck_assert_int_eq(read(ours, text, sizeof(text)), -1);
	release();
	mock_vsock_run(&f.m, 50);
	ck_assert_int_eq(read(ours, text, sizeof(text)), 4);
	ck_assert_mem_eq(text, "sent", 4);
	(void)close(ours);
}
END_TEST

START_TEST(connects_wait)
{
	int dev;
	int ours;

	fix_pair(&dev, &ours);
	hold();
	ck_assert_int_eq(virtio_vsock_connect(f.m.v, 9, HOST_CID, 7, dev), 0);
	expect_stillness(50);
	ck_assert_uint_eq(f.done, 0);
	release();
	(void)fix_expect(&f, VSOCK_OP_REQUEST, NULL);
	(void)close(ours);
}
END_TEST

/* Who connects to a guest that is held is not kept for ever. */
START_TEST(connects_time_out)
{
	struct virtio_vsock_config cfg = { .connect_timeout_ns = 100000000 };
	int dev;
	int ours;

	fix_done(&f);
	fix_init(&f, &cfg, 8);
	fix_pair(&dev, &ours);
	hold();
	ck_assert_int_eq(virtio_vsock_connect(f.m.v, 9, HOST_CID, 7, dev), 0);
	expect_stillness(300);
	ck_assert_uint_eq(f.done, 1);
	ck_assert_int_lt(f.done_result, 0);
	release();
	/* It never saw the question. */
	fix_expect_none(&f);
	(void)close(ours);
}
END_TEST

/* A guest that is held cannot answer: it is not cut off for that. */
START_TEST(closing_takes_as_long_as_it_takes)
{
	struct virtio_vsock_config cfg = { .close_timeout_ns = 200000000 };
	unsigned flags = 0;
	int ours;

	fix_done(&f);
	fix_init(&f, &cfg, 8);
	ours = fix_open(&f, 1, 2);
	(void)close(ours);
	while (flags != VSOCK_SHUT_BOTH)
		flags = fix_expect(&f, VSOCK_OP_SHUTDOWN, NULL).flags;
	for (int i = 0; i < 3; i++) {
		hold();
		expect_stillness(400);
		release();
		mock_vsock_run(&f.m, 10);
		ck_assert_uint_eq(fix_conns(&f), 1);
	}
	/* The rest of its time is what it had before. */
	(void)fix_expect(&f, VSOCK_OP_RST, NULL);
	ck_assert_uint_eq(fix_conns(&f), 0);
}
END_TEST

START_TEST(twice_is_once)
{
	int ours = fix_open(&f, 1, 2);

	hold();
	virtio_vsock_hold(f.m.v, true);
	expect_stillness(20);
	release();
	virtio_vsock_hold(f.m.v, false);
	ck_assert_int_eq(write(ours, "x", 1), 1);
	(void)fix_expect(&f, VSOCK_OP_RW, NULL);
	(void)close(ours);
}
END_TEST

START_TEST(refuse_all)
{
	int ours = fix_open(&f, 1, 2);

	f.answer = FIX_WAIT;
	for (uint32_t port = 10; port < 20; port++)
		fix_send(&f, VSOCK_OP_REQUEST, 5, port, 0, NULL, 0);
	mock_vsock_run(&f.m, 20);
	ck_assert_uint_eq(f.asked, 11);
	ck_assert_uint_eq(fix_conns(&f), 11);
	virtio_vsock_refuse_all(f.m.v);
	for (uint32_t port = 10; port < 20; port++)
		ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_RST, NULL).dst_port, port);
	ck_assert_uint_eq(fix_conns(&f), 1);
	/* Who has a stream keeps it, and the next is asked about again. */
	ck_assert_int_eq(write(ours, "x", 1), 1);
	(void)fix_expect(&f, VSOCK_OP_RW, NULL);
	fix_send(&f, VSOCK_OP_REQUEST, 5, 30, 0, NULL, 0);
	mock_vsock_run(&f.m, 20);
	ck_assert_uint_eq(f.asked, 12);
	(void)close(ours);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vsock_hold");
	TCase *t = tcase_create("vsock_hold");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, data_of_the_host_waits);
	tcase_add_test(t, data_of_the_guest_waits);
	tcase_add_test(t, connects_wait);
	tcase_add_test(t, connects_time_out);
	tcase_add_test(t, closing_takes_as_long_as_it_takes);
	tcase_add_test(t, twice_is_once);
	tcase_add_test(t, refuse_all);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
