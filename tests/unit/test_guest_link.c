#include <signal.h>

#include <base/cleanup.h>

#include "guest_peer.h"
#include "link.h"

static struct loop *loop;
static struct link link_;
static struct peer peer;
static int configs, shutdowns, losses, lost_err;
static uint32_t grace;
static size_t config_len;

static void on_config(struct link *l, const uint8_t *payload, size_t len)
{
	(void)l;
	(void)payload;
	configs++;
	config_len = len;
}

static void on_shutdown(struct link *l, uint32_t grace_ms)
{
	(void)l;
	shutdowns++;
	grace = grace_ms;
}

static void on_lost(struct link *l, int err)
{
	(void)l;
	losses++;
	lost_err = err;
}

static const struct link_ops ops = {
	.config = on_config,
	.shutdown = on_shutdown,
	.lost = on_lost,
};

static void setup(void)
{
	configs = shutdowns = losses = lost_err = 0;
	ck_assert_int_eq(loop_new(&loop, NULL), 0);
	ck_assert_int_eq(link_start(&link_, loop, peer_open(&peer, loop), &ops), 0);
	ck_assert_int_eq(peer_next(&peer, 1000), GUEST_HELLO);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_PROTO_VERSION, 0), GUEST_PROTO_VERSION);
}

static void teardown(void)
{
	chan_done(&link_.chan);
	peer_close(&peer);
	loop_free(loop);
}

START_TEST(a_whole_life)
{
	peer_send(&peer, GUEST_CONFIG, "12345678", 8);
	peer_pass(loop, 20);
	ck_assert_int_eq(configs, 1);
	ck_assert_uint_eq(config_len, 8);
	link_ready(&link_, 17);
	ck_assert_int_eq(peer_next(&peer, 1000), GUEST_READY);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_PID, 0), 17);
	link_exited(&link_, 3 << 8);
	ck_assert_int_eq(peer_next(&peer, 1000), GUEST_EXITED);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_CODE, 999), 3);
	link_exited(&link_, SIGKILL);
	ck_assert_int_eq(peer_next(&peer, 1000), GUEST_EXITED);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_SIGNAL, 999), SIGKILL);
	link_error(&link_, "a reason");
	ck_assert_int_eq(peer_next(&peer, 1000), GUEST_ERROR);
	ck_assert(peer_has_text(&peer, "a reason"));
	peer_send(&peer, GUEST_SHUTDOWN, "\x0d\0\0\0\x04\0\0\0\xe8\x03\0\0", 12);
	peer_pass(loop, 20);
	ck_assert_int_eq(shutdowns, 1);
	ck_assert_uint_eq(grace, 1000);
	peer_send(&peer, GUEST_SHUTDOWN, NULL, 0); /* again: not twice */
	peer_pass(loop, 20);
	ck_assert_int_eq(shutdowns, 1);
	link_bye(&link_);
	ck_assert_int_eq(peer_next(&peer, 1000), GUEST_BYE);
	ck_assert_int_eq(losses, 0);
}
END_TEST

START_TEST(bye_waits_for_the_host_but_not_long)
{
	uint64_t t0 = clock_mono_ns();

	link_bye(&link_);
	ck_assert_uint_ge(clock_mono_ns() - t0, 250 * CLOCK_NS_PER_MS);
	ck_assert_uint_lt(clock_mono_ns() - t0, 5000 * CLOCK_NS_PER_MS);
	(void)shutdown(peer.fd, SHUT_WR);
	t0 = clock_mono_ns();
	link_bye(&link_);
	ck_assert_uint_lt(clock_mono_ns() - t0, 200 * CLOCK_NS_PER_MS);
}
END_TEST

START_TEST(shutdown_without_a_grace)
{
	peer_send(&peer, GUEST_SHUTDOWN, NULL, 0);
	peer_pass(loop, 20);
	ck_assert_uint_eq(grace, LINK_GRACE_MS);
}
END_TEST

START_TEST(pings_are_answered_also_many_and_large)
{
	static uint8_t block[GUEST_FRAME_MAX];

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)i;
	/* More than all buffers hold, before a single answer is read. */
	for (int i = 0; i < 40; i++)
		peer_send(&peer, GUEST_PING, block, i < 20 ? 700 : 9000);
	peer_send(&peer, GUEST_PING, block, sizeof(block));
	for (int i = 0; i < 41; i++) {
		ck_assert_int_eq(peer_next(&peer, 2000), GUEST_PONG);
		ck_assert_uint_eq(peer.h.len, i < 20 ? 700 : i < 40 ? 9000 : sizeof(block));
		ck_assert_mem_eq(peer_payload(&peer), block, peer.h.len);
	}
	ck_assert_int_eq(losses, 0);
}
END_TEST

START_TEST(a_gone_host_is_a_loss)
{
	peer_close(&peer);
	peer_pass(loop, 20);
	ck_assert_int_eq(losses, 1);
	/* Reports into the void are no-ops. */
	link_ready(&link_, 1);
	link_error(&link_, "x");
	link_exited(&link_, 0);
	link_bye(&link_);
}
END_TEST

static void expect_loss(enum guest_frame_type type, const void *payload, size_t len)
{
	peer_send(&peer, type, payload, len);
	peer_pass(loop, 20);
	ck_assert_int_eq(losses, 1);
	ck_assert_int_eq(lost_err, -EPROTO);
}

START_TEST(config_only_once)
{
	peer_send(&peer, GUEST_CONFIG, NULL, 0);
	peer_pass(loop, 20);
	expect_loss(GUEST_CONFIG, NULL, 0);
	ck_assert_int_eq(configs, 1);
}
END_TEST

START_TEST(frames_that_do_not_belong_there)
{
	expect_loss(GUEST_STDIN, "x", 1);
}
END_TEST

START_TEST(a_malformed_shutdown)
{
	expect_loss(GUEST_SHUTDOWN, "\x0d\0\0\0\x02\0\0\0\xe8\x03", 10);
	ck_assert_int_eq(shutdowns, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("guest_link");
	TCase *t = tcase_create("guest_link");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 20);
	tcase_add_test(t, a_whole_life);
	tcase_add_test(t, bye_waits_for_the_host_but_not_long);
	tcase_add_test(t, shutdown_without_a_grace);
	tcase_add_test(t, pings_are_answered_also_many_and_large);
	tcase_add_test(t, a_gone_host_is_a_loss);
	tcase_add_test(t, config_only_once);
	tcase_add_test(t, frames_that_do_not_belong_there);
	tcase_add_test(t, a_malformed_shutdown);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
