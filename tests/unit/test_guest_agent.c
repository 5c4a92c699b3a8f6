#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <base/cleanup.h>

#include "agent.h"
#include "guest_peer.h"
#include "shutdown.h"

static struct loop *loop;
static struct reaper reaper;
static struct agent agent;
static struct peer peer;
static struct command cmd;
static struct user user;
static uint64_t peer_acked_base;
static int ready, failed_calls, exited, status;
static char why[256];

static void on_ready(struct agent *a, uint32_t pid)
{
	ck_assert_uint_eq(pid, (uint32_t)a->child.pid);
	ck_assert_uint_gt(pid, 0);
	ready++;
}

static void on_failed(struct agent *a, const char *text)
{
	(void)a;
	(void)snprintf(why, sizeof(why), "%s", text);
	failed_calls++;
}

static void on_exited(struct agent *a, int st)
{
	(void)a;
	exited++;
	status = st;
}

static const struct agent_ops ops = {
	.ready = on_ready,
	.failed = on_failed,
	.exited = on_exited,
};

static void setup(void)
{
	ready = failed_calls = exited = status = 0;
	user = (struct user){ .uid = geteuid() ? geteuid() : 65534,
		.gid = geteuid() ? getegid() : 65534,
		.name = "mint" };
	ck_assert_int_eq(loop_new(&loop, NULL), 0);
	ck_assert_int_eq(reaper_start(&reaper, loop, NULL), 0);
	(void)signal(SIGPIPE, SIG_IGN);
	agent_init(&agent, loop, &ops, peer_dial);
	peer.fd = -1;
}

static void teardown(void)
{
	agent_done(&agent);
	command_done(&cmd);
	peer_close(&peer);
	reaper_done(&reaper);
	loop_free(loop);
}

/* kosvmd has so much of this stream on disk. */
static void ack(uint64_t bytes)
{
	uint8_t buf[GUEST_SMALL_FRAME];

	peer_send_raw(&peer, buf, (size_t)guest_make_u64(buf, GUEST_ACK, GUEST_F_BYTES, bytes));
}

static void start(const char *script)
{
	struct kerr e = { 0 };

	ck_assert_int_eq(words_add(&cmd.argv, "/bin/sh"), 0);
	ck_assert_int_eq(words_add(&cmd.argv, "-c"), 0);
	ck_assert_int_eq(words_add(&cmd.argv, script), 0);
	peer_answer = peer_open(&peer, loop);
	ck_assert_msg(agent_start(&agent, &reaper, &cmd, &user, "/tmp", &e) == 0, "%s", e.msg);
}

START_TEST(an_agent_runs_as_its_user)
{
	char want[64];

	start("echo $(id -u) $HOME $USER $(readlink /proc/self/fd/0); echo oops >&2; exit 4");
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_STDOUT);
	ck_assert_int_eq(ready, 1);
	(void)snprintf(want, sizeof(want), "%u /tmp mint /dev/null\n", user.uid);
	ck_assert_uint_eq(peer.h.len, strlen(want));
	ck_assert_mem_eq(peer_payload(&peer), want, strlen(want));
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_STDERR);
	peer_pass(loop, 300);
	ck_assert_int_eq(exited, 1);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 4);
	ck_assert(agent_quiet(&agent));
	ck_assert_int_eq(peer_next(&peer, 20), PEER_TIMEOUT);
	agent_log_end(&agent);
	ck_assert_int_eq(peer_next(&peer, 1000), PEER_EOF);
}
END_TEST

START_TEST(a_signal_is_the_end_too)
{
	start("kill -SEGV $$");
	for (int i = 0; !exited && i < 500; i++)
		peer_pass(loop, 10);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}
END_TEST

START_TEST(exited_comes_after_the_last_output)
{
	uint32_t got = 0;

	/* More than the socket, the frame buffer and the pipe hold: it waits for the reader. */
	start("head -c 1500000 /dev/zero");
	peer_pass(loop, 300);
	ck_assert_int_eq(exited, 0);
	while (got < 1500000) {
		ck_assert_int_eq(peer_next(&peer, 5000), GUEST_STDOUT);
		got += peer.h.len;
		ack(got);
	}
	peer_pass(loop, 200);
	ck_assert_int_eq(exited, 1);
	ck_assert_uint_eq(got, 1500000);
}
END_TEST

START_TEST(a_lost_log_stream_loses_nothing)
{
	static uint8_t seen[1500000];
	uint32_t got = 0;
	uint32_t acked = 0;

	/* Numbered lines, so that a hole would show; the stream breaks again and again. */
	start("seq 1 100000; exit 5");
	for (int stream = 0; got < 588895; stream++) {
		uint32_t end = got + 60000;

		while (got < end && got < 588895) {
			ck_assert_int_eq(peer_next(&peer, 5000), GUEST_STDOUT);
			ck_assert_uint_le(got + peer.h.len, sizeof(seen));
			memcpy(seen + got, peer_payload(&peer), peer.h.len);
			got += peer.h.len;
			if (got - acked > 40000) { /* the rest of it comes again */
				ack(peer_acked_base + got - acked);
				peer_acked_base += got - acked;
				acked = got;
			}
		}
		if (stream < 6) {
			peer_pass(loop, 20); /* it has read the last ACK */
			peer_close(&peer);
			peer_acked_base = 0;
			peer_pass(loop, 20);
			got = acked;
			peer_accept(&peer, loop, 5000);
		}
	}
	ck_assert_uint_eq(got, 588895);
	peer_pass(loop, 200);
	ck_assert_int_eq(exited, 1);
	for (uint32_t i = 0, n = 1; i < got; n++) {
		char want[16];
		int len = snprintf(want, sizeof(want), "%u\n", n);

		ck_assert_mem_eq(seen + i, want, (size_t)len);
		i += (uint32_t)len;
	}
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 5);
}
END_TEST

START_TEST(a_host_that_stays_away_holds_the_agent)
{
	char path[] = "/tmp/kosvm-agent-XXXXXX";
	int marker = mkstemp(path);
	char script[128];
	uint32_t got = 0;

	ck_assert_int_ge(marker, 0);
	ck_assert_int_eq(fchmod(marker, 0666), 0);
	(void)snprintf(script, sizeof(script), "head -c 600000 /dev/zero; echo x > %s", path);
	start(script);
	peer_close(&peer);
	peer_pass(loop, 500);
	ck_assert_int_eq((int)lseek(marker, 0, SEEK_END), 0); /* it waits */
	ck_assert_int_eq(exited, 0);
	peer_accept(&peer, loop, 5000);
	while (got < 600000) {
		ck_assert_int_eq(peer_next(&peer, 5000), GUEST_STDOUT);
		got += peer.h.len;
		ack(got);
	}
	for (int i = 0; !exited && i < 500; i++)
		peer_pass(loop, 10);
	ck_assert_int_eq(exited, 1);
	(void)close(marker);
	(void)unlink(path);
}
END_TEST

START_TEST(what_was_never_sent_cannot_be_acknowledged)
{
	start("echo x; sleep 100");
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_STDOUT);
	ack(3);
	ck_assert_int_eq(peer_next(&peer, 5000), PEER_EOF);
	peer_close(&peer);
	peer_accept(&peer, loop, 5000);
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_STDOUT);
	agent_signal(&agent, SIGKILL);
	for (int i = 0; !exited && i < 500; i++)
		peer_pass(loop, 10);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}
END_TEST

START_TEST(what_cannot_run_fails_clearly)
{
	struct kerr e = { 0 };

	ck_assert_int_eq(words_add(&cmd.argv, "/usr/bin/no-such-python"), 0);
	ck_assert_int_eq(agent_start(&agent, &reaper, &cmd, &user, "/tmp", &e), 0);
	for (int i = 0; !failed_calls && i < 500; i++)
		peer_pass(loop, 10);
	ck_assert_str_eq(why, "/usr/bin/no-such-python: No such file or directory");
	peer_pass(loop, 100);
	ck_assert_int_eq(ready, 0);
	ck_assert_int_eq(exited, 0);
	ck_assert_int_eq(failed_calls, 1);
	ck_assert(agent_quiet(&agent));
}
END_TEST

START_TEST(a_user_one_may_not_become)
{
	struct kerr e = { 0 };

	user.uid = geteuid() + 1;
	ck_assert_int_eq(words_add(&cmd.argv, "/bin/true"), 0);
	ck_assert_int_eq(agent_start(&agent, &reaper, &cmd, &user, "/tmp", &e), 0);
	for (int i = 0; !failed_calls && i < 500; i++)
		peer_pass(loop, 10);
	ck_assert_ptr_nonnull(strstr(why, "switching to the user"));
}
END_TEST

/* ---- the end of everything, with a kill that reaches our own child only ---- */

static int signals_sent[4];
static int n_signals;

static int kill_child(int signo)
{
	if (n_signals < 4)
		signals_sent[n_signals++] = signo;
	child_kill(&agent.child, signo);
	return 0;
}

static struct shutdown stop;

static void on_childless(struct reaper *r)
{
	(void)r;
	shutdown_childless(&stop);
}

static void begin_shutdown(uint32_t grace_ms)
{
	n_signals = 0;
	shutdown_init(&stop, loop, &reaper);
	stop.kill_all = kill_child;
	reaper.childless = on_childless;
	peer_pass(loop, 200);
	ck_assert_int_eq(ready, 1);
	shutdown_begin(&stop, grace_ms);
}

START_TEST(term_is_enough)
{
	start("trap 'exit 9' TERM; while :; do sleep 0.05; done");
	begin_shutdown(5000);
	ck_assert_int_eq(loop_run(loop, NULL), 0);
	ck_assert_int_eq(n_signals, 2); /* TERM, CONT */
	ck_assert_int_eq(signals_sent[0], SIGTERM);
	peer_pass(loop, 50);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 9);
	loop_timer_done(&stop.timer);
}
END_TEST

START_TEST(kill_after_the_grace)
{
	uint64_t t0 = clock_mono_ns();

	start("trap '' TERM; while :; do sleep 0.05; done");
	begin_shutdown(300);
	ck_assert_int_eq(loop_run(loop, NULL), 0);
	ck_assert_int_eq(n_signals, 3);
	ck_assert_int_eq(signals_sent[2], SIGKILL);
	ck_assert_uint_ge(clock_mono_ns() - t0, 300 * CLOCK_NS_PER_MS);
	peer_pass(loop, 50);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	loop_timer_done(&stop.timer);
}
END_TEST

START_TEST(nothing_to_end)
{
	n_signals = 0;
	shutdown_init(&stop, loop, &reaper);
	stop.kill_all = kill_child;
	shutdown_begin(&stop, 5000);
	ck_assert_int_eq(loop_run(loop, NULL), 0);
	loop_timer_done(&stop.timer);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("guest_agent");
	TCase *t = tcase_create("guest_agent");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, an_agent_runs_as_its_user);
	tcase_add_test(t, a_signal_is_the_end_too);
	tcase_add_test(t, exited_comes_after_the_last_output);
	tcase_add_test(t, a_lost_log_stream_loses_nothing);
	tcase_add_test(t, a_host_that_stays_away_holds_the_agent);
	tcase_add_test(t, what_was_never_sent_cannot_be_acknowledged);
	tcase_add_test(t, what_cannot_run_fails_clearly);
	if (geteuid() != 0)
		tcase_add_test(t, a_user_one_may_not_become);
	tcase_add_test(t, term_is_enough);
	tcase_add_test(t, kill_after_the_grace);
	tcase_add_test(t, nothing_to_end);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
