/*
 * The machine's clock is set, forward and back: delays are kept, ages are
 * right, and nobody waits for a time that will not come.
 */
#include <check.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent_fixture.h"

#define DAY_S 86400

/* What CLOCK_REALTIME is off by. The definition below is found before libc's. */
static time_t jump_s;

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = (int)syscall(SYS_clock_gettime, id, ts);

	if (r == 0 && id == CLOCK_REALTIME)
		ts->tv_sec += jump_s;
	return r;
}

/* The day after, and the day before. */
static void jump(int which)
{
	uint64_t before = clock_real_ns();

	jump_s = which ? -DAY_S : DAY_S;
	/* Else this tests nothing. */
	ck_assert(which ? clock_real_ns() < before : clock_real_ns() > before + CLOCK_NS_PER_S);
}

static void until_moves(unsigned n)
{
	uint64_t end = clock_mono_ns() + 30 * CLOCK_NS_PER_S;

	while (af.moves < n) {
		ck_assert_msg(clock_mono_ns() < end, "%u moves of %u", af.moves, n);
		ck_assert_int_eq(loop_step(fx_loop, 100, &fx_err), 0);
	}
}

static void setup(void)
{
	jump_s = 0;
}

/* A back-off that has begun takes as long as it does. */
START_TEST(restart_that_is_due)
{
	uint64_t t;

	af_setup_manifest("[lifecycle]\nrestart = always\nrestart-backoff = 700ms\n");
	af_start("crash");
	fx_until(&af.ended);
	t = clock_mono_ns();
	jump(_i);
	until_moves(4);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_FAILED, AGENT_STARTING, AGENT_FAILED);
	ck_assert_uint_ge(clock_mono_ns() - t, 400 * CLOCK_NS_PER_MS);
}
END_TEST

/* Across kosvmd: at once, or after restart-backoff-max at the latest. A reboot is the same. */
START_TEST(restart_across_a_crash)
{
	af_setup_manifest("[lifecycle]\nrestart = always\nrestart-backoff = 500ms\n"
			  "restart-backoff-max = 500ms\n");
	af_start("crash");
	fx_until(&af.ended);
	af_crash();
	jump(_i & 1);
	if (_i & 2)
		af_sql("UPDATE boots SET host_boot_id = '00000000-0000-0000-0000-000000000000'");
	af_load();
	until_moves(2);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_FAILED);
	ck_assert_uint_eq(af.a->row.restarts, 1);
}
END_TEST

/* What a person asked for is due at once, whatever the clock says, and is not the policy's. */
START_TEST(restart_by_request)
{
	af_setup_manifest("");
	af_run("serve");
	ck_assert_int_eq(agent_restart(af.a, 0, &fx_err), 0);
	if (_i & 2)
		af_crash();
	jump(_i & 1);
	if (_i & 2) {
		af_load();
		until_moves(af.a->state == AGENT_STOPPED ? 2 : 3);
	} else {
		until_moves(6);
	}
	ck_assert_uint_eq(af.a->row.generation, 2);
	ck_assert_int_eq(af_count("SELECT count(*) FROM transitions WHERE event = 'start'"), 2);
}
END_TEST

/* Neither a beat that is missed nor a life that is over. */
START_TEST(running)
{
	af_setup_manifest("[lifecycle]\nheartbeat = 100ms\nheartbeat-timeout = 10s\n"
			  "max-run-time = 1h\nidle-after = 1h\n");
	af_run("serve");
	jump(_i & 1);
	if (_i & 2) {
		af_crash();
		af_load();
	}
	af_look_on();
	fx_run_ms(700);
	ck_assert_uint_eq(af.moves, 0);
	ck_assert_str_eq(af.a->row.paused, "");
	ck_assert_uint_lt(agent_ran_ns(af.a), 60 * CLOCK_NS_PER_S);
	/* Times are recorded as the clock has them. */
	ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), 0);
	fx_until(&af.ended);
	ck_assert(_i & 1 ? af.a->row.ended_ns < af.a->row.started_ns
			 : af.a->row.ended_ns > af.a->row.started_ns + 1000 * CLOCK_NS_PER_S);
	json_decref(agent_inspect(af.a));
}
END_TEST

/* Its time to become ready goes on to count, no more and no less. */
START_TEST(starting)
{
	uint64_t t;

	af_setup_manifest("");
	t = clock_mono_ns();
	af_start("serve deaf");
	jump(_i & 1);
	if (_i & 2) {
		af_crash();
		af_load();
	}
	fx_until(&af.ended);
	ck_assert_uint_ge(clock_mono_ns() - t, 900 * CLOCK_NS_PER_MS);
	ck_assert_ptr_nonnull(strstr(af.a->reason, "not ready within 1 s"));
}
END_TEST

/* One that ran for a moment, by a clock that was set forward, has not run for restart-reset. */
START_TEST(crash_loop_is_counted)
{
	pid_t pid;

	af_setup_manifest("[lifecycle]\nrestart = always\nrestart-backoff = 10s\n"
			  "restart-reset = 1h\n");
	af_run("serve");
	af.a->row.restarts = 3;
	ck_assert_int_eq(agent_note(af.a), 0);
	pid = vmm_proc_pid(af.a->vmm);
	af_crash();
	(void)kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	jump(0);
	af_load();
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
	ck_assert_uint_eq(af.a->row.restarts, 3);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_clock");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, af_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, restart_that_is_due, 0, 2);
	tcase_add_loop_test(t, restart_across_a_crash, 0, 4);
	tcase_add_loop_test(t, restart_by_request, 0, 4);
	tcase_add_loop_test(t, running, 0, 4);
	tcase_add_loop_test(t, starting, 0, 4);
	tcase_add_test(t, crash_loop_is_counted);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
