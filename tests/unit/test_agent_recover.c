/*
 * kosvmd is killed and comes back: at each point of an agent's life it finds
 * its VM again, or the truth about it; and what was left over is swept.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/clock.h>

#include "agent_fixture.h"

static pid_t vm(void)
{
	pid_t pid = vmm_proc_pid(af.a->vmm);

	ck_assert_int_gt(pid, 0);
	return pid;
}

/* As the kernel and init do for a VMM whose kosvmd is gone. */
static void bury(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

static void until_linked(void)
{
	uint64_t end = clock_mono_ns() + 20 * CLOCK_NS_PER_S;

	while (!af.a->guest || !guest_link_is_up(af.a->guest)) {
		ck_assert_msg(clock_mono_ns() < end, "the guest never dialled again");
		ck_assert_int_eq(loop_step(fx_loop, 100, &fx_err), 0);
	}
}

static void check_alive(pid_t pid, bool alive)
{
	int r = waitpid(pid, NULL, WNOHANG);

	ck_assert_msg(alive ? r == 0 : r != 0, "process %d: %d", (int)pid, r);
}

START_TEST(found_again)
{
	pid_t pid;

	af_run("serve");
	pid = vm();
	for (int i = 0; i < 3; i++) {
		af_crash();
		check_alive(pid, true);
		af_load();
		ck_assert_int_eq(af.a->state, AGENT_RUNNING);
		ck_assert_int_eq(vmm_proc_pid(af.a->vmm), pid);
		if (i > 0) /* also when there was no time to talk */
			until_linked();
	}
	ck_assert(af.a->adopted);
	ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), 0);
	fx_until(&af.ended);
	AF_CHECK_MOVES(AGENT_STOPPING, AGENT_STOPPED);
	ck_assert_str_eq(af.a->reason, "stopped by request");
	ck_assert_int_eq(af_count("SELECT count(*) FROM boots WHERE ended_ns > 0"), 1);
	ck_assert_int_eq(faccessat(fx_dir, "agents/1/vmm.sock", F_OK, 0), -1);
	/* And it starts as ever. */
	af_look_on();
	af_run("serve");
	ck_assert_uint_eq(af.a->row.generation, 2);
}
END_TEST

START_TEST(while_it_starts)
{
	af_start("serve");
	af_crash();
	af_load();
	ck_assert_int_eq(af.a->state, AGENT_STARTING);
	fx_until(&af.running);
	AF_CHECK_MOVES(AGENT_RUNNING);
	ck_assert_int_eq(agent_kill(af.a, &fx_err), 0);
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
}
END_TEST

/* Its deadline goes on to count. */
START_TEST(never_ready)
{
	af_start("serve deaf");
	af_crash();
	af_load();
	fx_until(&af.ended);
	AF_CHECK_MOVES(AGENT_FAILED);
	ck_assert_ptr_nonnull(strstr(af.a->reason, "not ready within 1 s"));
}
END_TEST

/* Before the images were verified: nothing runs. */
START_TEST(before_its_vm)
{
	ck_assert_int_eq(agent_move(af.a, AGENT_EV_START, "", &fx_err), 0);
	af_crash();
	if (_i == 1)
		af_sql("UPDATE agents SET provisional = 1");
	af_load();
	if (_i == 1) { /* nobody was told of it, so it never was */
		ck_assert_ptr_null(af.a);
		ck_assert_int_eq(af_count("SELECT count(*) FROM agents"), 0);
		ck_assert_int_eq(faccessat(fx_dir, "agents/1", F_OK, 0), -1);
		return;
	}
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
	ck_assert_str_eq(af.a->reason, "kosvmd ended while it was starting");
}
END_TEST

START_TEST(while_it_stops)
{
	af_run("serve");
	ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), 0);
	if (_i == 1)
		fx_run_ms(20);
	af_crash();
	if (_i == 2)
		(void)usleep(200000);
	af_load();
	if (!af.ended && af.a->state != AGENT_STOPPED)
		fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
	ck_assert_str_eq(af.a->reason, "stopped by request");
}
END_TEST

/* Asked, but the guest never heard it: it is asked again when it dials. */
START_TEST(stop_that_was_only_recorded)
{
	af_run("serve");
	ck_assert_int_eq(agent_move(af.a, AGENT_EV_STOP, "stopped by request", &fx_err), 0);
	af_crash();
	af_load();
	ck_assert_int_eq(af.a->state, AGENT_STOPPING);
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
}
END_TEST

START_TEST(vm_killed_meanwhile)
{
	pid_t pid;

	af_run("serve");
	pid = vm();
	af_crash();
	bury(pid);
	af_load();
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
	ck_assert_str_eq(af.a->reason,
		"the VM ended while kosvmd was away: it did not say why; it was killed, perhaps");
	ck_assert_int_eq(af_count("SELECT count(*) FROM transitions WHERE event = 'lost'"), 1);
}
END_TEST

/* Killed while it was to end: it has ended. */
START_TEST(vm_killed_while_stopping)
{
	pid_t pid;

	af_run("serve");
	pid = vm();
	ck_assert_int_eq(agent_move(af.a, AGENT_EV_STOP, "killed by request", &fx_err), 0);
	af_crash();
	bury(pid);
	af_load();
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
	ck_assert_str_eq(af.a->reason, "killed by request");
}
END_TEST

/* And soon after it was found. */
START_TEST(vm_killed_after)
{
	af_run("serve");
	af_crash();
	af_load();
	(void)kill(vm(), SIGKILL);
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
	ck_assert_ptr_nonnull(strstr(af.a->reason, "the VM ended by itself"));
}
END_TEST

START_TEST(agent_ended_meanwhile)
{
	af_run("serve exits-alone");
	af_crash();
	af_load();
	ck_assert_int_eq(af.a->state, AGENT_RUNNING);
	fx_until(&af.ended);
	AF_CHECK_MOVES(AGENT_STOPPING, AGENT_STOPPED);
	ck_assert_int_eq(af.a->row.exit_code, 5);
	ck_assert_str_eq(af.a->reason, "the agent ended with code 5");
}
END_TEST

START_TEST(hung_and_not_yet_killed)
{
	pid_t pid;

	af_run("serve");
	pid = vm();
	ck_assert_int_eq(agent_move(af.a, AGENT_EV_HUNG, "the guest hangs", &fx_err), 0);
	af_crash();
	if (_i == 1)
		bury(pid);
	af_load();
	if (_i == 0)
		fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
	ck_assert_str_eq(af.a->reason, "the guest hangs");
}
END_TEST

/* The machine came up again: pids of before mean nothing. */
START_TEST(machine_restarted)
{
	pid_t pid;

	af_run("serve");
	pid = vm();
	af_crash();
	af_sql("UPDATE boots SET host_boot_id = '00000000-0000-0000-0000-000000000000'");
	af_load();
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
	ck_assert_str_eq(af.a->reason, "the machine went down while it ran");
	check_alive(pid, true);
	bury(pid);
}
END_TEST

/* Another process has that pid now: it is left alone. */
START_TEST(pid_used_again)
{
	pid_t pid;

	af_run("serve");
	pid = vm();
	af_crash();
	af_sql("UPDATE boots SET pid_start = pid_start - 1");
	af_load();
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
	check_alive(pid, true);
	bury(pid);
}
END_TEST

/* ---- a row that cannot be read ---- */

static const struct {
	const char *sql, *reason;
} unreadable[] = {
	{ "UPDATE agents SET manifest = x'00ff' WHERE id = 1", "echo-mint:1:" },
	{ "UPDATE agents SET manifest = '[agent]' WHERE id = 1", "echo-mint: name is missing" },
	{ "UPDATE agents SET state = 'dreaming' WHERE id = 1", "unknown state dreaming" },
	{ "UPDATE agents SET launch = '{' WHERE id = 1", "launch" },
	{ "UPDATE agents SET launch = '{\"env\": {\"a b\": \"\"}}' WHERE id = 1", "a b" },
};

START_TEST(row_unreadable)
{
	struct agent *other;
	pid_t pid;

	af_run("serve");
	pid = vm();
	af_crash();
	af_sql("INSERT INTO agents (name, state, cid, created_ns, signer, manifest, signature, uid) "
	       "SELECT 'other', 'stopped', 9, 1, 'k', manifest, 's', 'ffff' FROM agents");
	af_sql(unreadable[_i].sql);
	af_open();
	ck_assert_msg(agents_load(&af.sup, &fx_err) == 0, "%s", fx_err.msg);
	other = agent_find(&af.sup, "other", &fx_err);
	ck_assert_int_eq(other->state, AGENT_STOPPED);
	af.a = agent_find(&af.sup, "echo-mint", &fx_err);
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
	ck_assert_msg(strstr(af.a->reason, unreadable[_i].reason), "%s", af.a->reason);
	json_decref(agent_describe(af.a));
	json_decref(agent_inspect(af.a));
	ck_assert_int_eq(agent_start(af.a, &fx_err), -EINVAL);
	/* It does not run unwatched. */
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(agent_remove(af.a, &fx_err), 0);
	ck_assert_int_eq(af_count("SELECT count(*) FROM agents"), 1);
}
END_TEST

/* ---- what is left over ---- */

static void make(const char *name)
{
	int fd;

	if (strchr(name, '.')) {
		fd = openat(fx_dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		ck_assert_int_ge(fd, 0);
		(void)close(fd);
	} else {
		ck_assert_int_eq(mkdirat(fx_dir, name, 0700), 0);
	}
}

static bool there(const char *name)
{
	return faccessat(fx_dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

START_TEST(sweeps)
{
	af_sql("UPDATE sqlite_sequence SET seq = 40");
	af_crash();
	make("agents/40");
	make("agents/40/state.img");
	make("agents/41"); /* never one of this database */
	make("agents/lost+found");
	make("agents/1/vmm.sock");
	af_load();
	ck_assert_int_eq(af.a->state, AGENT_CREATED);
	ck_assert(there("agents/1"));
	ck_assert(!there("agents/40"));
	ck_assert(there("agents/41"));
	ck_assert(there("agents/lost+found"));
	ck_assert(!there("agents/1/vmm.sock"));
}
END_TEST

START_TEST(removed_when_ended_meanwhile)
{
	pid_t pid;

	af_run("serve");
	pid = vm();
	af_sql("UPDATE agents SET launch = '{\"remove\": true}'");
	af_crash();
	bury(pid);
	af_load();
	ck_assert_ptr_null(af.a);
	ck_assert_int_eq(af_count("SELECT count(*) FROM agents"), 0);
	ck_assert(!there("agents/1"));
}
END_TEST

START_TEST(paused_across)
{
	af_run("serve");
	agent_pause(af.a, "idle");
	if (_i == 1)
		fx_run_ms(100);
	af_crash();
	af_load();
	ck_assert_str_eq(af.a->row.paused, "idle");
	for (int i = 0; i < 100 && !af.a->frozen; i++)
		fx_run_ms(20);
	ck_assert(af.a->frozen);
	ck_assert(af.a->health.held);
	/* Somebody wants it. */
	agent_needed(af.a);
	for (int i = 0; i < 100 && af.a->frozen; i++)
		fx_run_ms(20);
	ck_assert(!af.a->frozen);
	ck_assert_int_eq(af_count("SELECT count(*) FROM agents WHERE paused = ''"), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_recover");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, af_setup, af_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, found_again);
	tcase_add_test(t, while_it_starts);
	tcase_add_test(t, never_ready);
	tcase_add_loop_test(t, before_its_vm, 0, 2);
	tcase_add_loop_test(t, while_it_stops, 0, 3);
	tcase_add_test(t, stop_that_was_only_recorded);
	tcase_add_test(t, vm_killed_meanwhile);
	tcase_add_test(t, vm_killed_while_stopping);
	tcase_add_test(t, vm_killed_after);
	tcase_add_test(t, agent_ended_meanwhile);
	tcase_add_loop_test(t, hung_and_not_yet_killed, 0, 2);
	tcase_add_test(t, machine_restarted);
	tcase_add_test(t, pid_used_again);
	tcase_add_loop_test(
		t, row_unreadable, 0, (int)(sizeof(unreadable) / sizeof(unreadable[0])));
	tcase_add_test(t, sweeps);
	tcase_add_test(t, removed_when_ended_meanwhile);
	tcase_add_loop_test(t, paused_across, 0, 2);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
