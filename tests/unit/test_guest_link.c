#include <signal.h>

#include <base/cleanup.h>

#include "guest_peer.h"
#include "link.h"

static struct loop *loop;
static struct link link_;
static struct peer peer;
static int configs, shutdowns, losses, lost_err, ups, welcomes, signals, last_signal;
static uint64_t host_time;
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

static void on_up(struct link *l)
{
	(void)l;
	ups++;
}

static void on_welcome(struct link *l, uint64_t time_ns)
{
	(void)l;
	welcomes++;
	host_time = time_ns;
}

static void on_signal(struct link *l, int signo)
{
	(void)l;
	signals++;
	last_signal = signo;
}

static const struct link_ops ops = {
	.up = on_up,
	.welcome = on_welcome,
	.signal = on_signal,
	.config = on_config,
	.shutdown = on_shutdown,
	.lost = on_lost,
};

static void setup(void)
{
	configs = shutdowns = losses = lost_err = ups = welcomes = signals = 0;
	ck_assert_int_eq(loop_new(&loop, NULL), 0);
	link_init(&link_, loop, &ops, peer_dial);
	peer_answer = peer_open(&peer, loop);
	link_start(&link_);
	ck_assert_int_eq(peer_next(&peer, 1000), GUEST_HELLO);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_PROTO_VERSION, 0), GUEST_PROTO_VERSION);
}

static void teardown(void)
{
	link_done(&link_);
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

/* The host goes away, and is dialled until it is there again. */
static void redial(void)
{
	int before = losses;

	peer_close(&peer);
	peer_pass(loop, 20);
	ck_assert_int_eq(losses, before + 1);
	ck_assert_int_eq(lost_err, 0);
	peer_accept(&peer, loop, 3000);
	ck_assert_int_eq(peer_next(&peer, 1000), GUEST_HELLO);
}

START_TEST(a_gone_host_is_dialled_again)
{
	redial();
	ck_assert_int_eq(ups, 2);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_PHASE, 99), GUEST_PHASE_WANTS_CONFIG);
	peer_send(&peer, GUEST_CONFIG, "12345678", 8);
	peer_pass(loop, 20);
	redial();
	/* The agent has not started yet: the host says the same again, and that is no fault. */
	peer_send(&peer, GUEST_CONFIG, "12345678", 8);
	peer_pass(loop, 20);
	ck_assert_int_eq(configs, 2);
	ck_assert(chan_is_open(&link_.chan));
}
END_TEST

START_TEST(hello_says_what_was_missed)
{
	peer_close(&peer);
	peer_pass(loop, 20);
	link_ready(&link_, 17); /* into the void */
	peer_accept(&peer, loop, 3000);
	ck_assert_int_eq(peer_next(&peer, 1000), GUEST_HELLO);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_PHASE, 99), GUEST_PHASE_RUNS);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_PID, 99), 17);
	peer_send(&peer, GUEST_WELCOME, "\x08\0\0\0\x08\0\0\0\x07\0\0\0\0\0\0\0", 16);
	peer_pass(loop, 20);
	ck_assert_int_eq(welcomes, 1);
	ck_assert_uint_eq(host_time, 7);
	peer_close(&peer);
	peer_pass(loop, 20);
	link_exited(&link_, SIGKILL);
	peer_accept(&peer, loop, 3000);
	ck_assert_int_eq(peer_next(&peer, 1000), GUEST_HELLO);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_PHASE, 99), GUEST_PHASE_ENDED);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_SIGNAL, 99), SIGKILL);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_CODE, 999), 999);
	peer_send(&peer, GUEST_WELCOME, NULL, 0);
	peer_send(&peer, GUEST_SHUTDOWN, NULL, 0);
	peer_pass(loop, 20);
	ck_assert_int_eq(shutdowns, 1);
}
END_TEST

START_TEST(a_failure_is_told_whenever_the_host_is_there)
{
	link_failed(&link_, "no such user");
	ck_assert_int_eq(peer_next(&peer, 1000), GUEST_ERROR);
	ck_assert(peer_has_text(&peer, "no such user"));
	redial();
	ck_assert_int_eq(peer_next(&peer, 1000), GUEST_ERROR);
	ck_assert(peer_has_text(&peer, "no such user"));
	ck_assert_int_eq(peer_next(&peer, 50), PEER_TIMEOUT);
}
END_TEST

START_TEST(refused_dials_slow_down)
{
	unsigned before;

	peer_close(&peer);
	before = peer_dialled;
	peer_pass(loop, 1700); /* at 200, 600, 1400 ms */
	ck_assert_uint_ge(peer_dialled - before, 2);
	ck_assert_uint_le(peer_dialled - before, 3);
	link_bye(&link_);
	before = peer_dialled;
	peer_pass(loop, 2200);
	ck_assert_uint_eq(peer_dialled, before);
}
END_TEST

START_TEST(a_signal_for_the_agent)
{
	uint8_t buf[GUEST_SMALL_FRAME];

	peer_send_raw(&peer, buf, (size_t)guest_make_signal(buf, SIGUSR1));
	peer_pass(loop, 20);
	ck_assert_int_eq(signals, 1);
	ck_assert_int_eq(last_signal, SIGUSR1);
	peer_send_raw(&peer, buf, (size_t)guest_make_signal(buf, 0));
	peer_pass(loop, 20);
	ck_assert_int_eq(signals, 1);
	ck_assert_int_eq(lost_err, -EPROTO);
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
	tcase_add_test(t, a_gone_host_is_dialled_again);
	tcase_add_test(t, hello_says_what_was_missed);
	tcase_add_test(t, a_failure_is_told_whenever_the_host_is_there);
	tcase_add_test(t, refused_dials_slow_down);
	tcase_add_test(t, a_signal_for_the_agent);
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
