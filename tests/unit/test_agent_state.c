/*
 * Lives of agents against the table of states: a real database, a
 * real process that stands in for the VMM, and everybody who looks on. Only
 * the part before the VMM (images, /dev/kvm) is not here.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "agent_fixture.h"

static bool connect_done;
static int connect_result;

/* ---- what is refused ---- */

START_TEST(what_is_not_allowed)
{
	ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), -EBUSY);
	ck_assert_str_eq(fx_err.msg,
		"agent echo-mint is created: stop is not allowed now (allowed: start, rm)");
	ck_assert_int_eq(agent_kill(af.a, &fx_err), -EBUSY);
	ck_assert_uint_eq(af.moves, 0);
	af_start("serve");
	ck_assert_int_eq(agent_remove(af.a, &fx_err), -EBUSY);
	ck_assert_int_eq(agent_start(af.a, &fx_err), -EBUSY);
	fx_until(&af.running);
	ck_assert_int_eq(agent_remove(af.a, &fx_err), -EBUSY);
	ck_assert_int_eq(agent_start(af.a, &fx_err), -EBUSY);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_RUNNING);
}
END_TEST

/* ---- lives ---- */

START_TEST(run_and_stop)
{
	af_start("serve");
	fx_until(&af.running);
	ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), 0);
	ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), -EBUSY);
	fx_until(&af.ended);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_RUNNING, AGENT_STOPPING, AGENT_STOPPED);
	ck_assert_str_eq(af.a->reason, "stopped by request");
	ck_assert_ptr_null(af.a->vmm);
	/* And again. */
	af_look_on();
	af_start("serve");
	fx_until(&af.running);
	ck_assert_int_eq(af.a->row.exit_code, -1);
}
END_TEST

START_TEST(agent_exits)
{
	af_start("serve exits");
	fx_until(&af.ended);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_RUNNING, AGENT_STOPPING, AGENT_STOPPED);
	ck_assert_int_eq(af.a->row.exit_code, 5);
	ck_assert_str_eq(af.a->reason, "the agent ended with code 5");
}
END_TEST

/* The guest hears nothing: after its deadline the VMM is asked, then killed. */
START_TEST(stop_before_ready)
{
	af_start("serve deaf");
	fx_run_ms(50);
	ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), 0);
	fx_until(&af.ended);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_STOPPING, AGENT_STOPPED);
}
END_TEST

START_TEST(kill_in_each_state)
{
	bool running = _i % 2;
	bool stopping = _i / 2;

	af_start("serve stubborn");
	if (running)
		fx_until(&af.running);
	if (stopping)
		ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), 0);
	ck_assert_int_eq(agent_kill(af.a, &fx_err), 0);
	ck_assert_int_eq(agent_kill(af.a, &fx_err), 0);
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
	/* No deadline of before is left. */
	fx_run_ms(1200);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
}
END_TEST

START_TEST(never_ready)
{
	int fd = openat(af.a->dirfd, "console.log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_eq(write(fd, "a\nb\nc\n\033[1mKernel panic\r\nlast\n\n", 29), 29);
	(void)close(fd);
	af_start("serve deaf");
	fx_until(&af.ended);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_FAILED);
	ck_assert_str_eq(af.a->reason,
		"not ready within 1 s (start-timeout in the manifest); last "
		"console lines: b | c | [1mKernel panic | last");
}
END_TEST

static const struct {
	const char *orders;
	const char *reason;
} breakdowns[] = {
	{ "crash",
		"the VM ended before the agent was ready: VMM was killed by signal 6 (Aborted)" },
	{ "escape", "the VM ended before the agent was ready: ?[2J? text" },
	{ "garbage", "the VM ended before the agent was ready: VMM broke the protocol" },
	{ "flood", "not ready within 1 s (start-timeout in the manifest)" },
	{ "mute", "not ready within 1 s (start-timeout in the manifest)" },
};

START_TEST(breaks_down)
{
	af_start(breakdowns[_i].orders);
	fx_until(&af.ended);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_FAILED);
	ck_assert_str_eq(af.a->reason, breakdowns[_i].reason);
	ck_assert_ptr_null(af.a->vmm);
	ck_assert_ptr_null(af.a->log);
}
END_TEST

/* Broken already, its VMM not yet gone: a stop does not hide why. */
START_TEST(stop_while_it_breaks)
{
	af_start("serve");
	fx_until(&af.running);
	agent_break(af.a, "it is %s", "broken");
	agent_break(af.a, "twice");
	ck_assert_int_eq(_i ? agent_kill(af.a, &fx_err) : agent_stop(af.a, 0, &fx_err), 0);
	fx_until(&af.ended);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_RUNNING, AGENT_STOPPING, AGENT_FAILED);
	ck_assert_str_eq(af.a->reason, "it is broken");
}
END_TEST

/* ---- removal ---- */

static int rows(void)
{
	return af_count("SELECT count(*) FROM agents");
}

static bool directory_there(void)
{
	return faccessat(fx_dir, "agents/1", F_OK, 0) == 0;
}

/* rm --force: of one that starts, runs, or is stopping. */
START_TEST(removed_by_force)
{
	af_start("serve stubborn");
	if (_i > 0)
		fx_until(&af.running);
	if (_i > 1)
		ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), 0);
	af.a->remove_when_ended = true;
	ck_assert_int_eq(agent_kill(af.a, &fx_err), 0);
	while (af.a)
		ck_assert_int_eq(loop_step(fx_loop, 1000, &fx_err), 0);
	ck_assert_uint_eq(af.removals, 1);
	ck_assert(LIST_EMPTY(&af.sup.agents));
	ck_assert(!directory_there());
	ck_assert_int_eq(rows(), 0);
}
END_TEST

/* As `run --rm` does: its end can be read for a while; one that never ran does not stay. */
START_TEST(lingers)
{
	af.a->launch.remove = true;
	af.a->launch.linger_ns = 300 * CLOCK_NS_PER_MS;
	af_start("serve stubborn");
	if (_i > 0)
		fx_until(&af.running);
	ck_assert_int_eq(agent_kill(af.a, &fx_err), 0);
	while (af.a && !af.ended)
		ck_assert_int_eq(loop_step(fx_loop, 1000, &fx_err), 0);
	ck_assert_int_eq(af.a != NULL, _i > 0);
	if (_i > 0)
		ck_assert_int_eq(af.a->state, AGENT_STOPPED);
	while (af.a)
		ck_assert_int_eq(loop_step(fx_loop, 1000, &fx_err), 0);
	ck_assert_int_eq(rows(), 0);
	ck_assert(!directory_there());
}
END_TEST

/* As `run` does: what fails before there is a VM leaves nothing. */
START_TEST(fails_before_its_vm)
{
	af.a->remove_when_ended = true;
	ck_assert_int_eq(agent_move(af.a, AGENT_EV_START, "", &fx_err), 0);
	if (_i == 0)
		agent_break(af.a, "no such image");
	else
		ck_assert_int_eq(
			_i == 1 ? agent_stop(af.a, 0, &fx_err) : agent_kill(af.a, &fx_err), 0);
	ck_assert_ptr_null(af.a);
	ck_assert_uint_eq(af.removals, 1);
	ck_assert(!directory_there());
	ck_assert_int_eq(rows(), 0);
}
END_TEST

START_TEST(removal_fails)
{
	af_sql("CREATE TRIGGER t BEFORE DELETE ON agents BEGIN SELECT RAISE(ABORT, 'full'); END");
	ck_assert_int_lt(agent_remove(af.a, &fx_err), 0);
	ck_assert_int_eq(af.a->state, AGENT_PURGING);
	/* The next start of kosvmd takes it up again, and so may a person. */
	ck_assert_int_lt(agent_remove(af.a, &fx_err), 0);
	af_sql("DROP TRIGGER t");
	agent_unwatch(&af.watcher);
	af_close();
	af_open();
	ck_assert_int_eq(agents_load(&af.sup, &fx_err), 0);
	ck_assert(LIST_EMPTY(&af.sup.agents));
	ck_assert(!directory_there());
}
END_TEST

/* ---- a database that cannot be written ---- */

START_TEST(full_disk)
{
	static const char trigger[] = "CREATE TRIGGER t BEFORE INSERT ON transitions "
				      "BEGIN SELECT RAISE(ABORT, 'disk full'); END";

	af_sql(trigger);
	ck_assert_int_lt(agent_start(af.a, &fx_err), 0);
	ck_assert_int_eq(af.a->state, AGENT_CREATED);
	af_sql("DROP TRIGGER t");
	af_start("serve");
	if (_i == 1)
		fx_until(&af.running);
	af_sql(trigger);
	if (_i == 1) {
		/* Not recorded, so not done; but what happened is true. */
		ck_assert_int_lt(agent_stop(af.a, 0, &fx_err), 0);
		ck_assert_int_eq(af.a->state, AGENT_RUNNING);
		agent_break(af.a, "kosvmd ended");
	}
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
	ck_assert_ptr_nonnull(strstr(af.a->reason, _i == 1 ? "kosvmd ended" : "disk full"));
	af_sql("DROP TRIGGER t");
}
END_TEST

/* ---- streams ---- */

static void on_connected(void *user, int result, int fd)
{
	char buf[4];

	ck_assert_ptr_eq(user, &connect_done);
	connect_done = true;
	connect_result = result;
	if (result == 0) {
		ck_assert_int_eq(read(fd, buf, sizeof(buf)), 2);
		(void)close(fd);
	} else {
		ck_assert_int_eq(fd, -1);
	}
}

START_TEST(streams)
{
	struct agent_connect *c = NULL;

	ck_assert_int_eq(
		agent_open_stream(af.a, 2000, on_connected, &connect_done, &c, &fx_err), -ENOTCONN);
	af_start("serve");
	fx_until(&af.running);
	ck_assert_int_eq(
		agent_open_stream(af.a, 2000, on_connected, &connect_done, &c, &fx_err), 0);
	agent_connect_cancel(c);
	fx_run_ms(50);
	ck_assert(!connect_done);
	ck_assert_int_eq(
		agent_open_stream(af.a, 2000, on_connected, &connect_done, &c, &fx_err), 0);
	fx_until(&connect_done);
	ck_assert_int_eq(connect_result, 0);
	/* One that is under way when the VM goes. */
	connect_done = false;
	ck_assert_int_eq(
		agent_open_stream(af.a, 2000, on_connected, &connect_done, &c, &fx_err), 0);
	ck_assert_int_eq(agent_kill(af.a, &fx_err), 0);
	fx_until(&af.ended);
	ck_assert(connect_done);
}
END_TEST

START_TEST(describes)
{
	json_t *o;

	(void)snprintf(af.a->reason, sizeof(af.a->reason), "cut\xc3");
	o = agent_describe(af.a);
	ck_assert_str_eq(json_string_value(json_object_get(o, "name")), "echo-mint");
	ck_assert_str_eq(json_string_value(json_object_get(o, "state")), "created");
	ck_assert_str_eq(json_string_value(json_object_get(o, "reason")), "cut?");
	ck_assert(json_is_null(json_object_get(o, "exit_code")));
	ck_assert(json_is_null(json_object_get(o, "pid")));
	ck_assert_uint_eq(json_string_length(json_object_get(o, "id")), DB_UID_LEN);
	json_decref(o);
	ck_assert_ptr_null(agent_find(&af.sup, "nobody", &fx_err));
	ck_assert_str_eq(fx_err.msg, "no agent is named nobody: see `kosvm ps -a`");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_state");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, af_setup, af_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, what_is_not_allowed);
	tcase_add_test(t, run_and_stop);
	tcase_add_test(t, agent_exits);
	tcase_add_test(t, stop_before_ready);
	tcase_add_loop_test(t, kill_in_each_state, 0, 4);
	tcase_add_test(t, never_ready);
	tcase_add_loop_test(t, breaks_down, 0, (int)(sizeof(breakdowns) / sizeof(breakdowns[0])));
	tcase_add_loop_test(t, stop_while_it_breaks, 0, 2);
	tcase_add_loop_test(t, removed_by_force, 0, 3);
	tcase_add_loop_test(t, lingers, 0, 2);
	tcase_add_loop_test(t, fails_before_its_vm, 0, 3);
	tcase_add_test(t, removal_fails);
	tcase_add_loop_test(t, full_disk, 0, 2);
	tcase_add_test(t, streams);
	tcase_add_test(t, describes);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
