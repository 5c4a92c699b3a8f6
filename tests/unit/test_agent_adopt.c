/*
 * An agent whose kosvmd was killed between CONFIG and READY: whatever its
 * guest and its VMM do then, it runs, has ended, or meets its start deadline.
 */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_fixture.h"

static const struct {
	const char *orders;
	enum agent_state state;
	const char *reason;
} ways[] = {
	/* The guest says that it wants its configuration, runs already, or has ended meanwhile. */
	{ "serve slow then-wants", AGENT_RUNNING, "" },
	{ "serve slow then-runs", AGENT_RUNNING, "" },
	{ "serve slow then-ended", AGENT_STOPPED, "the agent ended with code 5" },
	/* It never dials; what it dialled is lost at once; kosvmd cannot answer, now or ever. */
	{ "serve slow then-silent", AGENT_FAILED, "not ready within 1 s" },
	{ "serve slow then-drops", AGENT_FAILED, "not ready within 1 s" },
	{ "serve slow then-clogged", AGENT_RUNNING, "" },
	{ "serve slow then-closes", AGENT_FAILED, "not ready within 1 s" },
	/* The VMM itself does not answer, or not with what it should. */
	{ "serve slow never-attaches", AGENT_FAILED, "VMM did not answer ATTACH within" },
	{ "serve slow slams", AGENT_FAILED, "VMM could not be attached to within" },
	{ "serve slow garbage-attach", AGENT_FAILED, "VMM broke the protocol" },
};

START_TEST(every_way_ends)
{
	bool patient = !strstr(ways[_i].reason, "not ready");

	if (patient)
		af.a->manifest.start_timeout_ns = AF_START_PATIENCE_NS;
	af_start(ways[_i].orders);
	fx_run_ms(100); /* CONFIG was sent */
	ck_assert_int_eq(af.a->state, AGENT_STARTING);
	af_crash();
	af_load();
	ck_assert_int_eq(af.a->state, AGENT_STARTING);
	if (patient)
		af.a->manifest.start_timeout_ns = AF_START_PATIENCE_NS;
	vmm_proc_set_patience(
		af.a->vmm, (strstr(ways[_i].reason, "within") ? 1 : 20) * CLOCK_NS_PER_S);
	fx_until(ways[_i].state == AGENT_RUNNING ? &af.running : &af.ended);
	ck_assert_str_eq(agent_state_name(af.a->state), agent_state_name(ways[_i].state));
	ck_assert_msg(strstr(af.a->reason, ways[_i].reason), "%s", af.a->reason);
	if (ways[_i].state != AGENT_RUNNING)
		return;
	/* It is one like any other, and no deadline of its start is left. */
	fx_run_ms(1200);
	ck_assert_int_eq(af.a->state, AGENT_RUNNING);
	ck_assert_int_eq(agent_stop(af.a, 0, &fx_err), 0);
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_STOPPED);
}
END_TEST

/* A VMM that takes no answers is asked whether it is there, and killed when it does not say. */
START_TEST(answers_are_not_taken)
{
	af_run("serve");
	af_crash();
	af_load();
	fx_run_ms(100);
	af_look_on();
	ck_assert_int_eq(agent_kill(af.a, &fx_err), 0);
	fx_until(&af.ended);
	af_look_on();
	af.a->manifest.start_timeout_ns = AF_START_PATIENCE_NS;
	af_start("flood");
	vmm_proc_set_patience(af.a->vmm, CLOCK_NS_PER_S);
	fx_until(&af.ended);
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
	ck_assert_msg(
		strstr(af.a->reason, "VMM did not answer STATS within 1 s"), "%s", af.a->reason);
}
END_TEST

/* ---- the last word and the machine ---- */

static const struct {
	enum vmm_end word;
	const char *text, *reason;
} words[] = {
	{ VMM_END_ERROR, "KVM: no such thing",
		"the VM ended before the machine went down: KVM: no such thing" },
	{ VMM_END_QUIT, "by SIGTERM", "the VM ended before the machine went down: by SIGTERM" },
	{ VMM_END_POWEROFF, "",
		"the VM ended before the machine went down: power-off by the guest" },
	{ 0, "", "the machine went down while it ran" },
};

START_TEST(last_word_before_a_reboot)
{
	struct vmm_msg_ended m = { .reason = words[_i].word };
	pid_t pid;
	int fd;

	(void)snprintf(m.text, sizeof(m.text), "%s", words[_i].text);
	af_run("serve");
	pid = vmm_proc_pid(af.a->vmm);
	af_crash();
	(void)kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	fd = openat(fx_dir, "agents/1/vmm.end", O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	if (m.reason)
		ck_assert_int_eq(pwrite(fd, &m, sizeof(m), 0), sizeof(m));
	(void)close(fd);
	af_sql("UPDATE boots SET host_boot_id = '00000000-0000-0000-0000-000000000000'");
	af_load();
	ck_assert_int_eq(af.a->state, AGENT_FAILED);
	ck_assert_str_eq(af.a->reason, words[_i].reason);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_adopt");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, af_setup, af_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, every_way_ends, 0, (int)(sizeof(ways) / sizeof(ways[0])));
	tcase_add_test(t, answers_are_not_taken);
	tcase_add_loop_test(
		t, last_word_before_a_reboot, 0, (int)(sizeof(words) / sizeof(words[0])));
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
