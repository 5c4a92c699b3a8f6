/* What kosvmd does by itself: restarts, heartbeat, maximum run time, idleness. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/clock.h>

#include "agent_fixture.h"

static void until_moves(unsigned n)
{
	uint64_t end = clock_mono_ns() + 30 * CLOCK_NS_PER_S;

	while (af.moves < n) {
		ck_assert_msg(clock_mono_ns() < end, "%u moves of %u", af.moves, n);
		ck_assert_int_eq(loop_step(fx_loop, 100, &fx_err), 0);
	}
}

/* ---- restarts: a start by itself fails here, for there are no images ---- */

START_TEST(not_without_policy)
{
	af_setup_manifest("");
	af_start("serve exits");
	fx_until(&af.ended);
	ck_assert_uint_eq(af.a->row.restart_at_ns, 0);
	fx_run_ms(200);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
}
END_TEST

START_TEST(on_failure_with_a_limit)
{
	af_setup_manifest("[lifecycle]\nrestart = on-failure\nrestart-max = 2\n"
			  "restart-backoff = 100ms\nrestart-backoff-max = 150ms\n");
	af_start("serve exits");
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
	ck_assert_int_eq(af.a->row.exit_code, 5);
	ck_assert_uint_ge(af.a->row.restart_at_ns, af.a->row.ended_ns);
	ck_assert_uint_le(af.a->row.restart_at_ns, af.a->row.ended_ns + 101 * CLOCK_NS_PER_MS);
	until_moves(8);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_RUNNING, AGENT_STOPPING, AGENT_STOPPED, AGENT_STARTING,
		AGENT_FAILED, AGENT_STARTING, AGENT_FAILED);
	ck_assert_uint_eq(af.a->row.restarts, 2);
	ck_assert_uint_eq(af.a->row.restart_at_ns, 0);
	ck_assert_uint_eq(af.a->row.generation, 3);
	ck_assert_ptr_nonnull(strstr(
		af.a->reason, "; not started again after 2 restarts in a row (restart-max)"));
	ck_assert_int_eq(af_count("SELECT count(*) FROM transitions WHERE event = 'restart'"), 2);
	/* A person may still start it, and the count begins again. */
	af_look_on();
	af_run("serve");
	ck_assert_uint_eq(af.a->row.restarts, 0);
}
END_TEST

START_TEST(what_was_stopped_stays)
{
	af_setup_manifest("[lifecycle]\nrestart = always\nrestart-backoff = 100ms\n");
	af_run("serve");
	ck_assert_int_eq(_i ? agent_kill(af.a, &fx_err) : agent_stop(af.a, 0, &fx_err), 0);
	fx_until(&af.ended);
	ck_assert_uint_eq(af.a->row.restart_at_ns, 0);
}
END_TEST

/* While it waits for its restart, a stop calls that off. */
START_TEST(called_off)
{
	af_setup_manifest("[lifecycle]\nrestart = always\nrestart-backoff = 200ms\n");
	af_start("crash");
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
	ck_assert_uint_gt(af.a->row.restart_at_ns, 0);
	ck_assert_int_eq(_i ? agent_kill(af.a, &fx_err) : agent_stop(af.a, 0, &fx_err), 0);
	ck_assert_int_eq(af_count("SELECT restart_at_ns FROM agents"), 0);
	fx_run_ms(400);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_FAILED);
}
END_TEST

/* kosvmd is killed while an agent waits: the next one starts it, also when its clock was set. */
START_TEST(pending_across_a_crash)
{
	af_setup_manifest("[lifecycle]\nrestart = always\nrestart-backoff = 300ms\n"
			  "restart-backoff-max = 300ms\n");
	af_start("crash");
	fx_until(&af.ended);
	af_crash();
	if (_i == 1)
		af_sql("UPDATE agents SET restart_at_ns = 9000000000000000000");
	af_load();
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
	until_moves(2);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_FAILED);
	ck_assert_uint_eq(af.a->row.restarts, 1);
}
END_TEST

START_TEST(restarted_by_request)
{
	af_setup_manifest("");
	af_run("serve");
	ck_assert_int_eq(agent_restart(af.a, 0, &fx_err), 0);
	if (_i == 1) {
		/* Asked for and recorded: the next kosvmd does it. */
		af_crash();
		usleep(100000);
		af_load();
		until_moves(af.a->state == AGENT_STOPPED ? 2 : 3);
	} else {
		until_moves(6);
		AF_CHECK_MOVES(AGENT_STARTING, AGENT_RUNNING, AGENT_STOPPING, AGENT_STOPPED,
			AGENT_STARTING, AGENT_FAILED);
		ck_assert_uint_eq(af.a->row.restarts, 0);
	}
	ck_assert_uint_eq(af.a->row.generation, 2);
	ck_assert_int_eq(af.a->state, AGENT_FAILED); /* no images here */
}
END_TEST

/* ---- heartbeat and life ---- */

START_TEST(hangs)
{
	af_setup_manifest("[lifecycle]\nheartbeat = 100ms\nheartbeat-timeout = 400ms\n");
	af_run("serve hangs");
	fx_until(&af.ended);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_RUNNING, AGENT_STOPPING, AGENT_FAILED);
	ck_assert_ptr_nonnull(strstr(af.a->reason, "the guest hangs: it answered nothing for"));
	ck_assert_int_eq(af_count("SELECT count(*) FROM transitions WHERE event = 'hung'"), 1);
}
END_TEST

START_TEST(hangs_and_is_restarted)
{
	af_setup_manifest("[lifecycle]\nheartbeat = 100ms\nheartbeat-timeout = 300ms\n"
			  "restart = on-failure\nrestart-backoff = 100ms\n");
	af_run("serve hangs");
	until_moves(6);
	ck_assert_int_eq(af.states[4], AGENT_STARTING);
	ck_assert_int_eq(af.states[5], AGENT_FAILED);
}
END_TEST

START_TEST(beats)
{
	af_setup_manifest("[lifecycle]\nheartbeat = 100ms\nheartbeat-timeout = 500ms\n");
	af_run("serve");
	fx_run_ms(1200);
	ck_assert_int_eq(af.a->state, AGENT_RUNNING);
	ck_assert_uint_ge(af.a->health.beats, 5);
	/* kosvmd was held up: the answers are there, unread. */
	(void)usleep(900000);
	fx_run_ms(300);
	ck_assert_int_eq(af.a->state, AGENT_RUNNING);
	/* One that stands still answers nothing, and must not. */
	agent_pause(af.a, "idle");
	fx_run_ms(1000);
	ck_assert_int_eq(af.a->state, AGENT_RUNNING);
	agent_needed(af.a);
	fx_run_ms(300);
	ck_assert_int_eq(af.a->state, AGENT_RUNNING);
}
END_TEST

START_TEST(max_run_time)
{
	uint64_t start;

	af_setup_manifest("[lifecycle]\nmax-run-time = 1s\nrestart = on-failure\n");
	af_run("serve");
	start = clock_mono_ns();
	if (_i == 1) {
		af_crash();
		af_load();
	}
	fx_until(&af.ended);
	ck_assert_uint_le(clock_mono_ns() - start, 10 * CLOCK_NS_PER_S);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
	ck_assert_ptr_nonnull(strstr(af.a->reason, "(max-run-time)"));
	ck_assert_uint_eq(af.a->row.restart_at_ns, 0);
}
END_TEST

/* ---- idle ---- */

static bool connected;

static void on_connected(void *user, int result, int fd)
{
	(void)user;
	ck_assert_int_eq(result, 0);
	(void)close(fd);
	connected = true;
}

START_TEST(idle_is_paused_until_needed)
{
	struct agent_connect *c = NULL;

	af_setup_manifest(
		"[lifecycle]\nidle-after = 1s\nheartbeat = 200ms\nheartbeat-timeout = 1s\n");
	af_run("serve");
	for (int i = 0; i < 200 && !af.a->frozen; i++)
		fx_run_ms(50);
	ck_assert(af.a->frozen);
	ck_assert_str_eq(af.a->row.paused, "idle");
	ck_assert_int_eq(af_count("SELECT count(*) FROM agents WHERE paused = 'idle'"), 1);
	fx_run_ms(1500);
	ck_assert_int_eq(af.a->state, AGENT_RUNNING);
	connected = false;
	ck_assert_int_eq(agent_open_stream(af.a, 2000, on_connected, NULL, &c, &fx_err), 0);
	fx_until(&connected);
	ck_assert_str_eq(af.a->row.paused, "");
	for (int i = 0; i < 100 && af.a->frozen; i++)
		fx_run_ms(20);
	ck_assert(!af.a->frozen);
}
END_TEST

START_TEST(idle_is_stopped)
{
	af_setup_manifest("[lifecycle]\nidle-after = 1s\nidle-action = stop\nrestart = always\n");
	af_run("serve");
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
	ck_assert_ptr_nonnull(strstr(af.a->reason, "(idle-after)"));
	ck_assert_uint_eq(af.a->row.restart_at_ns, 0);
}
END_TEST

/* A paused one is stopped in good order. */
START_TEST(stop_of_a_paused_one)
{
	af_setup_manifest("");
	af_run("serve");
	agent_pause(af.a, "idle");
	fx_run_ms(50);
	ck_assert(af.a->frozen);
	ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), 0);
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
	ck_assert_str_eq(af.a->row.paused, "");
}
END_TEST

/* A VMM that cannot pause goes on; idleness is no reason to kill. */
START_TEST(cannot_be_paused)
{
	af_setup_manifest("");
	af_run("serve unable");
	agent_pause(af.a, "idle");
	fx_run_ms(100);
	ck_assert_int_eq(af.a->state, AGENT_RUNNING);
	ck_assert(!af.a->frozen);
	ck_assert_str_eq(af.a->row.paused, "");
	ck_assert(!af.a->health.held);
}
END_TEST

/* ---- figures ---- */

static int stats_result;
static unsigned stats_answers;

static void on_stats(void *user, int result, const struct agent_stats *s)
{
	(void)user;
	stats_answers++;
	stats_result = result;
	ck_assert(!s == (result != 0));
	if (s) {
		ck_assert_uint_gt(s->time_ns, 0);
		if (stats_answers < 3) /* a zombie has none */
			ck_assert_uint_gt(s->memory_bytes, 0);
		ck_assert_uint_gt(s->vcpu_ns, 0);
		ck_assert_uint_eq(s->memory_max, 128 << 20);
	}
}

START_TEST(stats)
{
	af_setup_manifest("");
	stats_answers = 0;
	agent_stats(af.a, on_stats, &af);
	ck_assert_uint_eq(stats_answers, 1);
	ck_assert_int_eq(stats_result, -ENOTCONN);
	af_run("serve");
	agent_stats(af.a, on_stats, &af);
	agent_stats(af.a, on_stats, &stats_result);
	agent_stats_cancel(af.a, &stats_result);
	fx_run_ms(100);
	ck_assert_uint_eq(stats_answers, 2);
	ck_assert_int_eq(stats_result, 0);
	/* One that is under way when the VM goes. */
	agent_stats(af.a, on_stats, &af);
	ck_assert_int_eq(agent_kill(af.a, &fx_err), 0);
	fx_until(&af.ended);
	ck_assert_uint_eq(stats_answers, 3);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_policy");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, NULL, af_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, not_without_policy);
	tcase_add_test(t, on_failure_with_a_limit);
	tcase_add_loop_test(t, what_was_stopped_stays, 0, 2);
	tcase_add_loop_test(t, called_off, 0, 2);
	tcase_add_loop_test(t, pending_across_a_crash, 0, 2);
	tcase_add_loop_test(t, restarted_by_request, 0, 2);
	tcase_add_test(t, hangs);
	tcase_add_test(t, hangs_and_is_restarted);
	tcase_add_test(t, beats);
	tcase_add_loop_test(t, max_run_time, 0, 2);
	tcase_add_test(t, idle_is_paused_until_needed);
	tcase_add_test(t, idle_is_stopped);
	tcase_add_test(t, stop_of_a_paused_one);
	tcase_add_test(t, cannot_be_paused);
	tcase_add_test(t, stats);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
