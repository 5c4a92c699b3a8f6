#include <signal.h>
#include <stdio.h>
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
	agent_init(&agent, loop, &ops);
}

static void teardown(void)
{
	agent_done(&agent);
	command_done(&cmd);
	peer_close(&peer);
	reaper_done(&reaper);
	loop_free(loop);
}

static void start(const char *script)
{
	struct kerr e = { 0 };

	ck_assert_int_eq(words_add(&cmd.argv, "/bin/sh"), 0);
	ck_assert_int_eq(words_add(&cmd.argv, "-c"), 0);
	ck_assert_int_eq(words_add(&cmd.argv, script), 0);
	ck_assert_msg(
		agent_start(&agent, &reaper, &cmd, &user, "/tmp", peer_open(&peer, loop), &e) == 0,
		"%s", e.msg);
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
	}
	peer_pass(loop, 200);
	ck_assert_int_eq(exited, 1);
	ck_assert_uint_eq(got, 1500000);
}
END_TEST

START_TEST(a_lost_log_stream_stops_nobody)
{
	start("sleep 0.2; head -c 1500000 /dev/zero; exit 5");
	peer_pass(loop, 50);
	peer_close(&peer);
	for (int i = 0; !exited && i < 500; i++)
		peer_pass(loop, 10);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 5);
}
END_TEST

START_TEST(what_cannot_run_fails_clearly)
{
	struct kerr e = { 0 };

	ck_assert_int_eq(words_add(&cmd.argv, "/usr/bin/no-such-python"), 0);
	ck_assert_int_eq(
		agent_start(&agent, &reaper, &cmd, &user, "/tmp", peer_open(&peer, loop), &e), 0);
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
	ck_assert_int_eq(
		agent_start(&agent, &reaper, &cmd, &user, "/tmp", peer_open(&peer, loop), &e), 0);
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
	tcase_add_test(t, a_lost_log_stream_stops_nobody);
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
