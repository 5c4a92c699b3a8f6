/* Two who want different things of one agent, a restart that is due among them. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_fixture.h"
#include "vmm_proc_impl.h"

#define ALWAYS                                                                                     \
	"[lifecycle]\nrestart = always\nrestart-backoff = 300ms\nrestart-backoff-max = 300ms\n"

static void until_moves(unsigned n)
{
	uint64_t end = clock_mono_ns() + 30 * CLOCK_NS_PER_S;

	while (af.moves < n) {
		ck_assert_msg(clock_mono_ns() < end, "%u moves of %u", af.moves, n);
		ck_assert_int_eq(loop_step(fx_loop, 100, &fx_err), 0);
	}
}

/* Started by a person while its restart is due: that one is not made on top. */
START_TEST(started_while_it_waits)
{
	af_setup_manifest(ALWAYS);
	af_start("crash");
	fx_until(&af.ended);
	ck_assert_uint_gt(af.a->row.restart_at_ns, 0);
	af_look_on();
	af_run("serve");
	ck_assert(!af.a->restart.w.loop);
	fx_run_ms(500);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_RUNNING);
	ck_assert_uint_eq(af.a->row.restarts, 0);
}
END_TEST

/* A restart is asked for, then a stop or a kill: the last word counts, also across a crash. */
START_TEST(stopped_while_it_restarts)
{
	bool kills = _i & 1;

	af_setup_manifest("");
	af_run("serve");
	ck_assert_int_eq(agent_restart(af.a, 0, &fx_err), 0);
	ck_assert_int_eq(af_count("SELECT restart_at_ns > 0 FROM agents"), 1);
	ck_assert_int_eq(kills ? agent_kill(af.a, &fx_err) : agent_stop(af.a, 0, &fx_err), 0);
	ck_assert_int_eq(af_count("SELECT restart_at_ns FROM agents"), 0);
	if (_i & 2) {
		af_crash();
		af_load();
	}
	if (agent_state_live(af.a->state))
		fx_until(&af.ended);
	fx_run_ms(200);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
	ck_assert_uint_eq(af.a->row.generation, 1);
	/* There is nothing more to call off. */
	ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), -EBUSY);
}
END_TEST

/* What cannot be recorded is not promised. */
START_TEST(called_off_and_not_recorded)
{
	af_setup_manifest(ALWAYS);
	af_run("serve");
	ck_assert_int_eq(agent_restart(af.a, 0, &fx_err), 0);
	af_sql("CREATE TRIGGER t BEFORE UPDATE ON agents BEGIN SELECT RAISE(ABORT, 'full'); END");
	ck_assert_int_lt(agent_stop(af.a, 0, &fx_err), 0);
	ck_assert_uint_gt(af.a->row.restart_at_ns, 0);
	af_sql("DROP TRIGGER t");
	ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), 0);
	fx_until(&af.ended);
	fx_run_ms(400);
	ck_assert_uint_eq(af.a->row.generation, 1);
}
END_TEST

/* rm --force in the middle of a restart: it is gone, and nothing starts. */
START_TEST(removed_while_it_restarts)
{
	af_setup_manifest(ALWAYS);
	af_run("serve");
	ck_assert_int_eq(agent_restart(af.a, 0, &fx_err), 0);
	af.a->remove_when_ended = true;
	ck_assert_int_eq(agent_kill(af.a, &fx_err), 0);
	while (af.a)
		ck_assert_int_eq(loop_step(fx_loop, 1000, &fx_err), 0);
	fx_run_ms(400);
	ck_assert_int_eq(af_count("SELECT count(*) FROM agents"), 0);
}
END_TEST

/* And while it waits for one. */
START_TEST(removed_while_it_waits)
{
	af_setup_manifest(ALWAYS);
	af_start("crash");
	fx_until(&af.ended);
	ck_assert_int_eq(agent_remove(af.a, &fx_err), 0);
	ck_assert_ptr_null(af.a);
	fx_run_ms(400);
	ck_assert_int_eq(af_count("SELECT count(*) FROM agents"), 0);
}
END_TEST

START_TEST(stopped_and_started_at_once)
{
	af_setup_manifest("");
	af_run("serve");
	ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), 0);
	ck_assert_int_eq(agent_start(af.a, &fx_err), -EBUSY);
	ck_assert_str_eq(fx_err.msg,
		"agent echo-mint is stopping: start is not allowed now (allowed: ended, broken, "
		"lost, oom)");
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
}
END_TEST

/* A panic comes while a restart is due; it is made when the panic ends, once. */
START_TEST(panic_while_it_waits)
{
	af_setup_manifest(ALWAYS);
	af_start("crash");
	fx_until(&af.ended);
	ck_assert_int_eq(panic_set(&af.sup, _i & 1, NULL, "", &fx_err), 0);
	fx_run_ms(600);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_FAILED);
	if (_i & 2) {
		af_crash();
		af_load();
	}
	af_look_on();
	fx_run_ms(400);
	ck_assert_uint_eq(af.moves, 0);
	ck_assert_int_eq(panic_clear(&af.sup, &fx_err), 0);
	until_moves(2);
	ck_assert_int_eq(af.states[0], AGENT_STARTING);
	ck_assert_uint_eq(af.a->row.generation, 2);
}
END_TEST

/* A VM that not even SIGKILL ends: the agent has failed for that reason, and can be removed. */
START_TEST(vm_does_not_go)
{
	pid_t pid;

	af_setup_manifest("");
	af_run("serve stubborn");
	pid = vmm_proc_pid(af.a->vmm);
	vmm_proc_set_patience(af.a->vmm, 100 * CLOCK_NS_PER_MS);
	fx_unkillable(af.a->vmm->pidfd);
	ck_assert_int_eq(agent_kill(af.a, &fx_err), 0);
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
	ck_assert_ptr_nonnull(strstr(af.a->reason, "VMM was killed, but process"));
	ck_assert_int_eq(agent_remove(af.a, &fx_err), 0);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	fx_run_ms(50);
}
END_TEST

/* Frozen by a panic: its run time passes, and what was frozen stays as it is until the end of it.
 */
START_TEST(frozen_past_its_run_time)
{
	af_setup_manifest("[lifecycle]\nmax-run-time = 1s\n");
	af_run("serve");
	ck_assert_int_eq(panic_set(&af.sup, false, NULL, "", &fx_err), 0);
	fx_run_ms(1500);
	fx_until(&af.a->frozen);
	ck_assert_int_eq(af.a->state, AGENT_RUNNING);
	ck_assert_int_eq(panic_clear(&af.sup, &fx_err), 0);
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
	ck_assert_ptr_nonnull(strstr(af.a->reason, "(max-run-time)"));
}
END_TEST

/* ---- every move by agent_move ---- */

static unsigned told;

static void on_event(struct event_watcher *w, const struct event *ev)
{
	(void)w;
	told += strcmp(ev->type, "agent.move") == 0;
}

static int one_of(enum agent_state s, enum agent_event ev, enum agent_state to)
{
	char q[300];

	(void)snprintf(q, sizeof(q),
		"SELECT count(*) FROM transitions WHERE from_state = '%s' AND event = '%s' AND "
		"to_state = '%s' AND reason = 'because'",
		agent_state_name(s), agent_event_name(ev), agent_state_name(to));
	return af_count(q);
}

/* Allowed: recorded and published. Not allowed: said with what is, and nothing changed. */
START_TEST(every_pair)
{
	struct event_watcher w = { .fn = on_event };
	unsigned moves = 0;

	af_setup_manifest("");
	agent_unwatch(&af.watcher);
	events_watch(&af.sup, &w);
	told = 0;
	for (int s = AGENT_CREATED; s < AGENT_STATE_COUNT; s++) {
		for (int ev = 0; ev < AGENT_EVENT_COUNT; ev++) {
			enum agent_state to =
				agent_state_next((enum agent_state)s, (enum agent_event)ev);
			char allowed[128];
			char want[300];
			int r;

			af.a->state = (enum agent_state)s;
			r = agent_move(af.a, (enum agent_event)ev, "because", &fx_err);
			if (to) {
				ck_assert_int_eq(r, 0);
				ck_assert_int_eq(af.a->state, to);
				ck_assert_int_ge(one_of(s, ev, to), 1);
				moves++;
			} else {
				agent_state_allowed(s, allowed, sizeof(allowed));
				(void)snprintf(want, sizeof(want),
					"agent echo-mint is %s: %s is not allowed now (allowed: %s)",
					agent_state_name(s), agent_event_name(ev), allowed);
				ck_assert_int_eq(r, -EBUSY);
				ck_assert_str_eq(fx_err.msg, want);
				ck_assert_int_eq((int)af.a->state, s);
			}
			ck_assert_uint_eq(told, moves);
			ck_assert_int_eq(af_count("SELECT count(*) FROM transitions"), (int)moves);
		}
	}
	events_unwatch(&af.sup, &w);
	af.a->state = AGENT_CREATED;
	agent_watch(af.a, &af.watcher);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_races");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, NULL, af_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, started_while_it_waits);
	tcase_add_loop_test(t, stopped_while_it_restarts, 0, 4);
	tcase_add_test(t, called_off_and_not_recorded);
	tcase_add_test(t, removed_while_it_restarts);
	tcase_add_test(t, removed_while_it_waits);
	tcase_add_test(t, stopped_and_started_at_once);
	tcase_add_loop_test(t, panic_while_it_waits, 0, 4);
	tcase_add_test(t, vm_does_not_go);
	tcase_add_test(t, frozen_past_its_run_time);
	tcase_add_test(t, every_pair);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
