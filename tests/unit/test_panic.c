/* The kill switch: what it covers, that it lasts, that it ends. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/clock.h>

#include "agent_fixture.h"

static void setup(void)
{
	af_setup_manifest("[labels]\nteam = red\nrole = web\n");
}

static int set(bool kill, const char *labels, const char *reason)
{
	json_t *l = labels ? json_loads(labels, 0, NULL) : NULL;
	int r = panic_set(&af.sup, kill, l, reason, &fx_err);

	json_decref(l);
	return r;
}

static json_int_t told(const char *key)
{
	json_t *o = panic_describe(&af.sup);
	json_t *v = json_object_get(o, key);
	json_int_t n = json_is_integer(v) ? json_integer_value(v) : json_is_true(v);

	json_decref(o);
	return n;
}

static void until_frozen(bool frozen)
{
	for (int i = 0; i < 200 && af.a->frozen != frozen; i++)
		fx_run_ms(20);
	ck_assert(af.a->frozen == frozen);
}

START_TEST(freezes_and_goes_on)
{
	af_run("serve");
	ck_assert_int_eq(told("active"), 0);
	ck_assert_int_eq(set(false, NULL, "an incident"), 0);
	ck_assert_int_eq(told("active"), 1);
	until_frozen(true);
	ck_assert_int_eq(told("frozen"), 1);
	ck_assert_int_eq(told("pending"), 0);
	ck_assert_str_eq(af.a->row.paused, "panic");
	ck_assert_int_eq(af.a->state, AGENT_RUNNING);
	/* Nobody wakes it by asking. */
	agent_needed(af.a);
	fx_run_ms(50);
	ck_assert(af.a->frozen);
	ck_assert_int_eq(panic_clear(&af.sup, &fx_err), 0);
	until_frozen(false);
	ck_assert_str_eq(af.a->row.paused, "");
	ck_assert_int_eq(af.a->state, AGENT_RUNNING);
	ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), 0);
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
}
END_TEST

START_TEST(kills)
{
	af_run(_i ? "serve" : "serve stubborn");
	ck_assert_int_eq(set(true, "{\"team\":\"red\"}", "an incident"), 0);
	fx_until(&af.ended);
	AF_CHECK_MOVES(AGENT_STARTING, AGENT_RUNNING, AGENT_STOPPING, AGENT_STOPPED);
	ck_assert_str_eq(af.a->reason, "panic: an incident");
	ck_assert_int_eq(agent_start(af.a, &fx_err), -EBUSY);
	ck_assert_str_eq(fx_err.msg,
		"agent echo-mint: a panic (kill) stands: an incident: `kosvm unpanic` ends it");
	ck_assert_int_eq(agent_restart(af.a, 0, &fx_err), -EBUSY);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
	ck_assert_int_eq(panic_clear(&af.sup, &fx_err), 0);
	af_look_on();
	af_run("serve");
}
END_TEST

START_TEST(before_there_is_a_vm)
{
	ck_assert_int_eq(agent_move(af.a, AGENT_EV_START, "", &fx_err), 0);
	ck_assert_int_eq(set(true, NULL, ""), 0);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
	ck_assert_str_eq(af.a->reason, "panic");
}
END_TEST

START_TEST(covers_by_labels)
{
	static const struct {
		const char *labels;
		bool covered;
	} scopes[] = {
		{ "{}", true },
		{ "{\"team\":\"red\"}", true },
		{ "{\"team\":\"red\",\"role\":\"web\"}", true },
		{ "{\"team\":\"re\"}", false },
		{ "{\"tea\":\"red\"}", false },
		{ "{\"team\":\"red\",\"role\":\"db\"}", false },
		{ "{\"role\":\"\"}", false },
	};

	for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
		ck_assert_int_eq(set(false, scopes[i].labels, ""), 0);
		ck_assert_msg(
			(panic_check(af.a, NULL) < 0) == scopes[i].covered, "%s", scopes[i].labels);
		ck_assert_int_eq(panic_clear(&af.sup, &fx_err), 0);
	}
	ck_assert_int_eq(panic_check(af.a, NULL), 0);
	ck_assert_int_eq(set(false, "{\"Team\":\"red\"}", ""), -EINVAL);
	ck_assert_int_eq(set(false, "{\"team\":1}", ""), -EINVAL);
	ck_assert_int_eq(set(false, "[]", ""), -EINVAL);
	ck_assert_int_eq(told("active"), 0);
}
END_TEST

/* Killed before or after its VMs were told: the next kosvmd tells them. */
START_TEST(survives_a_crash)
{
	bool kill = _i & 1;
	bool acted = _i & 2;

	af_run("serve");
	if (acted) {
		ck_assert_int_eq(set(kill, NULL, "an incident"), 0);
	} else {
		struct db_panic p = { .scope = "{}",
			.action = kill ? "kill" : "freeze",
			.reason = "an incident",
			.since_ns = 1 };

		ck_assert_int_eq(db_panic_set(af.sup.db, &p, &fx_err), 0);
	}
	af_crash();
	af_load();
	ck_assert_int_eq(told("active"), 1);
	if (kill) {
		if (af.a->state != AGENT_STOPPED && af.a->state != AGENT_FAILED)
			fx_until(&af.ended);
		ck_assert(!agent_state_live(af.a->state));
		ck_assert_int_eq(agent_start(af.a, &fx_err), -EBUSY);
	} else {
		until_frozen(true);
		ck_assert_str_eq(af.a->row.paused, "panic");
		/* And it ends across one. */
		af_sql("DELETE FROM panic");
		af_crash();
		af_load();
		for (int i = 0; i < 200 && *af.a->row.paused; i++)
			fx_run_ms(20);
		until_frozen(false);
		ck_assert_str_eq(af.a->row.paused, "");
	}
}
END_TEST

/* The switch works on a full disk; only its memory does not. */
START_TEST(cannot_be_recorded)
{
	af_run("serve");
	af_sql("CREATE TRIGGER t BEFORE INSERT ON panic BEGIN SELECT RAISE(ABORT, 'full'); END");
	ck_assert_int_lt(set(true, NULL, "now"), 0);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "in force, but ends with this kosvmd"));
	fx_until(&af.ended);
	ck_assert_int_eq(agent_start(af.a, &fx_err), -EBUSY);
}
END_TEST

/* A frozen one can be stopped: its guest is not asked. */
START_TEST(stop_of_a_frozen_one)
{
	af_run("serve");
	ck_assert_int_eq(set(false, NULL, ""), 0);
	until_frozen(true);
	ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), 0);
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
}
END_TEST

/* What cannot be frozen may not run on. */
START_TEST(cannot_be_frozen)
{
	af_run("serve unable");
	ck_assert_int_eq(set(false, NULL, ""), 0);
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
	ck_assert_ptr_nonnull(strstr(af.a->reason, "it could not be frozen"));
}
END_TEST

/* A start that is under way stands still, its deadline too. */
START_TEST(while_it_starts)
{
	af_start("serve deaf");
	ck_assert_int_eq(set(false, NULL, ""), 0);
	fx_run_ms(1500);
	ck_assert_int_eq(af.a->state, AGENT_STARTING);
	ck_assert_int_eq(panic_clear(&af.sup, &fx_err), 0);
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
}
END_TEST

/* A hundred VMs are told before the first answer is waited for. */
START_TEST(a_hundred_at_once)
{
	pid_t pids[100];
	uint64_t start;
	unsigned n = 0;
	struct agent *a;

	af_sql("WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 99) "
	       "INSERT INTO agents (name, state, cid, created_ns, signer, manifest, signature, uid) "
	       "SELECT 'a' || i, 'stopped', 10 + i, 1, 'k', manifest, 's', 'x' || i "
	       "FROM agents, c");
	af_crash();
	af_open();
	ck_assert_int_eq(agents_load(&af.sup, &fx_err), 0);
	LIST_FOREACH(a, &af.sup.agents, link)
	{
		af.a = a;
		a->manifest.start_timeout_ns = AF_START_PATIENCE_NS;
		af_start("serve");
		pids[n++] = vmm_proc_pid(a->vmm);
	}
	ck_assert_uint_eq(n, 100);
	LIST_FOREACH(a, &af.sup.agents, link)
	{
		while (a->state == AGENT_STARTING)
			ck_assert_int_eq(loop_step(fx_loop, 100, &fx_err), 0);
		ck_assert_int_eq(a->state, AGENT_RUNNING);
	}
	start = clock_mono_ns();
	ck_assert_int_eq(set(_i, NULL, "an incident"), 0);
	if (_i) {
		/* They are gone before anybody looked at one of them. */
		for (unsigned i = 0; i < n; i++) {
			siginfo_t si;

			ck_assert_int_eq(waitid(P_PID, (id_t)pids[i], &si, WEXITED | WNOWAIT), 0);
		}
	} else {
		while (told("frozen") < 100)
			ck_assert_int_eq(loop_step(fx_loop, 100, &fx_err), 0);
	}
	(void)printf("100 VMs %s after %llu ms\n", _i ? "gone" : "frozen",
		(unsigned long long)((clock_mono_ns() - start) / CLOCK_NS_PER_MS));
}
END_TEST

START_TEST(one_scope_one_panic)
{
	ck_assert_int_eq(set(false, "{\"a\":\"1\",\"b\":\"2\"}", "first"), 0);
	ck_assert_int_eq(set(true, "{\"b\":\"2\",\"a\":\"1\"}", "second"), 0);
	ck_assert_int_eq(set(true, NULL, "third"), 0);
	ck_assert_int_eq(af_count("SELECT count(*) FROM panic"), 2);
	af_crash();
	af_load();
	ck_assert_int_eq(af_count("SELECT count(*) FROM panic"), 2);
	ck_assert_int_eq(panic_clear(&af.sup, &fx_err), 0);
	ck_assert_int_eq(af_count("SELECT count(*) FROM panic"), 0);
}
END_TEST

START_TEST(unreadable_scope_covers_all)
{
	af_sql("INSERT INTO panic VALUES ('{', 'freeze', '', 1)");
	af_crash();
	af_load();
	ck_assert_int_eq(agent_start(af.a, &fx_err), -EBUSY);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("panic");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, af_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, freezes_and_goes_on);
	tcase_add_loop_test(t, kills, 0, 2);
	tcase_add_test(t, before_there_is_a_vm);
	tcase_add_test(t, covers_by_labels);
	tcase_add_loop_test(t, survives_a_crash, 0, 4);
	tcase_add_test(t, cannot_be_recorded);
	tcase_add_test(t, stop_of_a_frozen_one);
	tcase_add_test(t, cannot_be_frozen);
	tcase_add_test(t, while_it_starts);
	tcase_add_loop_test(t, a_hundred_at_once, 0, 2);
	tcase_add_test(t, one_scope_one_panic);
	tcase_add_test(t, unreadable_scope_covers_all);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
