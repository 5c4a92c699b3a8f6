/* The vsock device under a limit, by a clock of the test's own: data waits, none is lost. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/clock.h>

#include "vsock_fixture.h"

#include "../../devices/vsock_dev.h"

#define MS      CLOCK_NS_PER_MS
#define CONTROL 1024u

static struct fixture f;
static uint64_t now;
static unsigned looks;
static uint8_t bulk[65536];

static uint64_t test_clock(void)
{
	looks++;
	return now;
}

static void restart(uint64_t bytes, uint64_t burst)
{
	struct virtio_vsock_config cfg = {
		.rate = { .bytes = bytes, .burst = burst },
		.control_port = CONTROL,
		.clock_ns = test_clock,
	};

	fix_init(&f, &cfg, 64);
}

static void set_up(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < sizeof(bulk); i++)
		bulk[i] = (uint8_t)(i * 7 + (i >> 8));
	now = 5000;
	restart(10000, 5000);
}

static void tear_down(void)
{
	fix_done(&f);
}

/* Time for the device's own timer, which is a real one. */
static void turn(void)
{
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(loop_step(f.m.loop, 20, NULL), 0);
}

static void pass(uint64_t ms)
{
	now += ms * MS;
	turn();
}

/* What has come to our end, from `at` of bulk on. */
static uint32_t take(int fd, uint32_t at)
{
	uint8_t buf[sizeof(bulk)];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n < 0) {
		ck_assert_int_eq(errno, EAGAIN);
		return 0;
	}
	for (ssize_t i = 0; i < n; i++)
		ck_assert_uint_eq(buf[i], bulk[(at + (uint32_t)i) % sizeof(bulk)]);
	return (uint32_t)n;
}

static void send_bulk(uint32_t port, uint32_t guest_port, uint32_t from, uint32_t len)
{
	fix_send(&f, VSOCK_OP_RW, port, guest_port, 0, bulk + from, len);
}

/* Packets to the guest: bytes of RW until nothing comes. */
static uint32_t receive(void)
{
	struct vsock_packet p;
	uint32_t got = 0;

	while (mock_vsock_recv(&f.m, &p, NULL, 40))
		got += p.op == VSOCK_OP_RW ? p.len : 0;
	return got;
}

START_TEST(from_the_guest)
{
	const uint64_t start = now;
	int ours = fix_open(&f, 7, 5000);
	struct vsock_packet p;
	uint32_t got;

	for (uint32_t i = 0; i < 20; i++)
		send_bulk(7, 5000, i * 1000, 1000);
	turn();
	got = take(ours, 0);
	ck_assert_uint_eq(got, 5000);
	/* The guest's credit says how much has gone. */
	fix_send(&f, VSOCK_OP_CREDIT_REQUEST, 7, 5000, 0, NULL, 0);
	p = fix_expect(&f, VSOCK_OP_CREDIT_UPDATE, NULL);
	ck_assert_uint_eq(p.fwd_cnt, 5000);
	turn();
	ck_assert_uint_eq(take(ours, got), 0);
	pass(100);
	ck_assert_uint_eq(take(ours, got), 1000);
	got += 1000;
	while (got < 20000) {
		pass(70);
		got += take(ours, got);
		ck_assert_uint_le(got, 5000 + (now - start) * 10000 / CLOCK_NS_PER_S);
	}
	ck_assert_uint_eq(got, 20000);
	ck_assert_uint_lt(now - start, 1600 * MS); /* and no less than there might be */
	(void)close(ours);
}
END_TEST

START_TEST(to_the_guest)
{
	int ours = fix_open(&f, 7, 5000);
	uint32_t got;

	ck_assert_int_eq(write(ours, bulk, 20000), 20000);
	got = receive();
	ck_assert_uint_eq(got, 5000);
	pass(250);
	ck_assert_uint_eq(receive(), 2500);
	now += 10000 * MS; /* a long rest is worth a burst, no more */
	ck_assert_uint_eq(receive(), 5000);
	virtio_vsock_set_rate(f.m.v, &(struct rate_limit){ 0 });
	ck_assert_uint_eq(receive(), 7500);
	(void)close(ours);
}
END_TEST

/* Both together are under one limit, and neither starves the other. */
START_TEST(both_ways)
{
	const uint64_t start = now;
	int down = fix_open(&f, 7, 5000), up = fix_open(&f, 8, 5001);
	uint32_t to_host = 0, to_guest = 0;

	ck_assert_int_eq(write(down, bulk, 60000), 60000);
	for (uint32_t i = 0; i < 6; i++)
		send_bulk(8, 5001, i * 10000, 10000);
	for (int i = 0; i < 40; i++) {
		pass(50);
		to_guest += receive();
		to_host += take(up, to_host);
		ck_assert_uint_le(
			to_guest + to_host, 5000 + (now - start) * 10000 / CLOCK_NS_PER_S);
	}
	ck_assert_uint_ge(to_guest + to_host, 20000);
	ck_assert_uint_ge(to_guest, 5000);
	ck_assert_uint_ge(to_host, 5000);
	(void)close(down);
	(void)close(up);
}
END_TEST

START_TEST(streams_take_turns)
{
	int ours[8];
	uint32_t got[8] = { 0 };

	for (uint32_t i = 0; i < 8; i++) {
		ours[i] = fix_open(&f, 7, 5000 + i);
		send_bulk(7, 5000 + i, 0, 40000);
	}
	for (int k = 0; k < 20; k++) {
		pass(200);
		for (int i = 0; i < 8; i++)
			got[i] += take(ours[i], got[i]);
	}
	for (int i = 0; i < 8; i++) {
		/* The first had the burst for itself. */
		ck_assert_uint_ge(got[i], 4000);
		ck_assert_uint_le(got[i], 11000);
		(void)close(ours[i]);
	}
}
END_TEST

/* A guest that floods: its init is heard all the same, on a lane that is no way around. */
START_TEST(control_has_a_lane_of_its_own)
{
	int flood = fix_open(&f, 7, 5000), control = fix_open(&f, CONTROL, 999);
	uint32_t got = 0;
	uint64_t start;

	for (int i = 0; i < 6; i++)
		send_bulk(7, 5000, 0, 40000);
	turn();
	send_bulk(CONTROL, 999, 0, 100);
	ck_assert_uint_eq(take(control, 0), 100);
	ck_assert_int_eq(write(control, bulk, 300), 300);
	ck_assert_uint_eq(receive(), 300);
	/* Not without end. */
	start = now;
	for (uint32_t sent = 0; sent < (700 << 10); sent += 50000) {
		send_bulk(CONTROL, 999, 0, 50000);
		for (uint32_t n = 1; n;) {
			uint8_t buf[65536];
			ssize_t r = read(control, buf, sizeof(buf));

			n = r > 0 ? (uint32_t)r : 0;
			got += n;
		}
		if (TAILQ_FIRST(&f.m.v->rate.lanes[VSOCK_LANE_CONTROL].line))
			break;
	}
	ck_assert_uint_gt(got, 200 << 10);
	ck_assert_uint_le(got, VSOCK_CONTROL_BURST);
	ck_assert_uint_eq(now, start);
	(void)close(flood);
	(void)close(control);
}
END_TEST

/* The guest says its last and closes: all of it comes, then the end. */
START_TEST(closed_while_it_waits)
{
	int ours = fix_open(&f, 7, 5000);
	uint32_t got = 0;
	char byte;

	send_bulk(7, 5000, 0, 12000);
	fix_send(&f, VSOCK_OP_SHUTDOWN, 7, 5000, VSOCK_SHUT_BOTH, NULL, 0);
	turn();
	got = take(ours, 0);
	ck_assert_uint_eq(got, 5000);
	ck_assert(read(ours, &byte, 1) < 0 && errno == EAGAIN);
	for (int i = 0; i < 20 && got < 12000; i++) {
		pass(50);
		got += take(ours, got);
	}
	ck_assert_uint_eq(got, 12000);
	ck_assert(fix_wait_end(&f, ours));
	(void)close(ours);
}
END_TEST

START_TEST(changed_while_it_waits)
{
	int ours = fix_open(&f, 7, 5000);
	uint32_t got;

	virtio_vsock_set_rate(f.m.v, &(struct rate_limit){ .bytes = 1, .burst = 1 });
	send_bulk(7, 5000, 0, 20000);
	turn();
	ck_assert_uint_eq(take(ours, 0), 1);
	got = 1;
	virtio_vsock_set_rate(f.m.v, &(struct rate_limit){ .bytes = 1000, .burst = 1000 });
	pass(1000);
	ck_assert_uint_eq(take(ours, got), 1000);
	got += 1000;
	virtio_vsock_set_rate(f.m.v, &(struct rate_limit){ 0 });
	turn();
	while (got < 20000) {
		uint32_t n = take(ours, got);

		ck_assert_uint_gt(n, 0);
		got += n;
	}
	(void)close(ours);
}
END_TEST

START_TEST(nobody_turns_round_and_round)
{
	int ours = fix_open(&f, 7, 5000), other = fix_open(&f, 8, 5001);
	uint64_t end;

	virtio_vsock_set_rate(f.m.v, &(struct rate_limit){ .bytes = 1, .burst = 1 });
	send_bulk(7, 5000, 0, 20000);
	ck_assert_int_eq(write(other, bulk, 20000), 20000);
	(void)receive();
	looks = 0;
	end = clock_mono_ns() + 300 * MS;
	while (clock_mono_ns() < end)
		ck_assert_int_eq(loop_step(f.m.loop, 20, NULL), 0);
	ck_assert_uint_lt(looks, 50);
	(void)close(ours);
	(void)close(other);
}
END_TEST

START_TEST(held_while_it_waits)
{
	int ours = fix_open(&f, 7, 5000);

	ck_assert_int_eq(write(ours, bulk, 20000), 20000);
	ck_assert_uint_eq(receive(), 5000);
	virtio_vsock_hold(f.m.v, true);
	pass(500);
	ck_assert_uint_eq(receive(), 0);
	virtio_vsock_hold(f.m.v, false);
	ck_assert_uint_eq(receive(), 5000);
	(void)close(ours);
}
END_TEST

/* Whatever is in line when everything ends is gone with it. */
START_TEST(reset_and_free_while_they_wait)
{
	int ours[6];

	for (uint32_t i = 0; i < 6; i++)
		ours[i] = fix_open(&f, i < 4 ? 7 : CONTROL, 900 + i);
	for (uint32_t i = 0; i < 6; i++) {
		send_bulk(i < 4 ? 7 : CONTROL, 900 + i, 0, 60000);
		ck_assert_int_eq(write(ours[i], bulk, 30000), 30000);
	}
	send_bulk(CONTROL, 904, 0, 60000);
	(void)receive();
	mock_driver_reset(f.m.dev);
	turn();
	ck_assert_uint_eq(fix_conns(&f), 0);
	for (unsigned lane = 0; lane < VSOCK_LANE_COUNT; lane++)
		ck_assert_uint_eq(f.m.v->rate.lanes[lane].waiting, 0);
	for (int i = 0; i < 6; i++) {
		ck_assert(fix_wait_end(&f, ours[i]));
		(void)close(ours[i]);
	}
	fix_done(&f);
	restart(10, 10);
	ours[0] = fix_open(&f, 7, 5000);
	send_bulk(7, 5000, 0, 60000);
	(void)close(ours[0]); /* the teardown frees what stands in line */
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { from_the_guest, to_the_guest, both_ways, streams_take_turns,
		control_has_a_lane_of_its_own, closed_while_it_waits, changed_while_it_waits,
		nobody_turns_round_and_round, held_while_it_waits, reset_and_free_while_they_wait };
	Suite *s = suite_create("vsock_rate");
	TCase *t = tcase_create("vsock_rate");
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
