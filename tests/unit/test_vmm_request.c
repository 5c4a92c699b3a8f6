/* PAUSE, RESUME, STATS: one at a time, in order, and never waited for without end. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <base/clock.h>

#include "vmm_proc_fixture.h"

static uint64_t seen[128];
static unsigned seen_count;
static bool all_seen;

static void note(void *user, int result, const struct vmm_reply *reply)
{
	ck_assert_int_eq(result, 0);
	ck_assert_uint_eq(reply->id, reply->stats.vcpu_ns - 1000);
	ck_assert_uint_lt(seen_count, 128);
	seen[seen_count++] = *(uint64_t *)user;
	all_seen = seen_count == 64;
}

START_TEST(answers)
{
	vp_start("serve");
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_PAUSE, vp_done, NULL), 0);
	ck_assert(!vp.replied);
	fx_until(&vp.replied);
	ck_assert_int_eq(vp.result, 0);
	ck_assert_uint_eq(vp.reply.flags, VMM_F_RUNNING | VMM_F_PAUSED);
	vp.replied = false;
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_RESUME, vp_done, NULL), 0);
	fx_until(&vp.replied);
	ck_assert_uint_eq(vp.reply.flags, VMM_F_RUNNING);
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_QUIT, vp_done, NULL), -EINVAL);
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_REPLY, vp_done, NULL), -EINVAL);
	ck_assert_int_eq(vmm_proc_request(vp.p, 0, vp_done, NULL), -EINVAL);
	vmm_proc_free(vp.p);
	ck_assert_uint_eq(vp.replies, 2);
}
END_TEST

START_TEST(limits)
{
	const struct rate_limit disk = { .bytes = 1 << 20, .ops = 9 };
	const struct rate_limit vsock = { .bytes = 5 };

	vp_start("serve");
	ck_assert_int_eq(vmm_proc_limits(vp.p, &disk, &vsock, vp_done, NULL), 0);
	ck_assert(!vp.replied);
	fx_until(&vp.replied);
	ck_assert_int_eq(vp.result, 0);
	/* Its numbers cannot be had without a call of its own. */
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_LIMITS, vp_done, NULL), -EINVAL);
	vmm_proc_free(vp.p);
	ck_assert_uint_eq(vp.replies, 1);
}
END_TEST

START_TEST(says_no)
{
	vp_start("serve unable");
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_PAUSE, vp_done, NULL), 0);
	fx_until(&vp.replied);
	ck_assert_int_eq(vp.result, -EIO);
	ck_assert_uint_eq(vp.reply.flags, VMM_F_RUNNING);
	vmm_proc_free(vp.p);
}
END_TEST

START_TEST(a_queue_in_order)
{
	uint64_t numbers[65];

	seen_count = 0;
	all_seen = false;
	vp_start("serve");
	for (unsigned i = 0; i < 65; i++) {
		numbers[i] = i;
		ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_STATS, note, &numbers[i]),
			i < 64 ? 0 : -EBUSY);
	}
	fx_until(&all_seen);
	for (unsigned i = 0; i < 64; i++)
		ck_assert_uint_eq(seen[i], i);
	vmm_proc_free(vp.p);
}
END_TEST

START_TEST(who_only_asks_keeps_nobody_from_freezing)
{
	vp_start("serve");
	while (vmm_proc_request(vp.p, VMM_MSG_STATS, vp_done, NULL) == 0)
		;
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_PAUSE, vp_done, NULL), 0);
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_STATS, vp_done, NULL), -EBUSY);
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_RESUME, vp_done, NULL), 0);
	vmm_proc_free(vp.p);
}
END_TEST

START_TEST(nobody_waits_any_more)
{
	int other;

	vp_start("serve");
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_STATS, vp_done, &other), 0);
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_STATS, vp_done, &other), 0);
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_STATS, vp_done, NULL), 0);
	vmm_proc_request_forget(vp.p, &other);
	fx_until(&vp.replied);
	ck_assert_uint_eq(vp.replies, 1);
	ck_assert_uint_eq(vp.reply.id, 3);
	vmm_proc_free(vp.p);
	ck_assert_uint_eq(vp.replies, 1);
}
END_TEST

START_TEST(never_answered)
{
	vp_start("serve mum");
	fx_until(&vp.running);
	vmm_proc_set_patience(vp.p, CLOCK_NS_PER_S);
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_STATS, vp_done, NULL), 0);
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_RESUME, vp_done, NULL), 0);
	fx_until(&vp.gone);
	ck_assert_uint_eq(vp.replies, 2);
	ck_assert_int_eq(vp.result, -ECONNRESET);
	ck_assert_int_eq(vp.reason, VMM_END_ERROR);
	ck_assert_str_eq(vp.text, "VMM did not answer STATS within 1 s");
}
END_TEST

/* Stopped as a whole: not even its socket is read. */
START_TEST(stopped)
{
	pid_t pid;
	int sent = 0;

	vp_start("serve");
	fx_until(&vp.running);
	pid = vmm_proc_pid(vp.p);
	ck_assert_int_eq(kill(pid, SIGSTOP), 0);
	while (vmm_proc_refuse(vp.p, 99) == 0)
		sent++;
	ck_assert_int_gt(sent, 0);
	/* There is no room in the socket: by that it was found out, and the deadline runs. */
	vmm_proc_set_patience(vp.p, CLOCK_NS_PER_S);
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_PAUSE, vp_done, NULL), 0);
	fx_until(&vp.gone);
	ck_assert_str_eq(vp.text, "VMM did not answer STATS within 1 s");
	ck_assert_int_eq(vp.result, -ECONNRESET);
}
END_TEST

START_TEST(full_socket)
{
	pid_t pid;

	vp_start("serve");
	fx_until(&vp.running);
	pid = vmm_proc_pid(vp.p);
	ck_assert_int_eq(kill(pid, SIGSTOP), 0);
	while (vmm_proc_refuse(vp.p, 99) == 0)
		;
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_PAUSE, vp_done, NULL), 0);
	fx_run_ms(100);
	ck_assert(!vp.replied);
	ck_assert_int_eq(kill(pid, SIGCONT), 0);
	fx_until(&vp.replied);
	ck_assert_int_eq(vp.result, 0);
	vmm_proc_free(vp.p);
}
END_TEST

/* The answer to a question that was not asked. */
START_TEST(liar)
{
	vp_start("serve liar");
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_STATS, vp_done, NULL), 0);
	fx_until(&vp.gone);
	ck_assert_str_eq(vp.text, "VMM broke the protocol");
	ck_assert_uint_eq(vp.replies, 1);
	ck_assert_int_eq(vp.result, -ECONNRESET);
}
END_TEST

START_TEST(freed_with_requests)
{
	vp_start("serve mum");
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_STATS, vp_done, NULL), 0);
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_STATS, vp_done, NULL), 0);
	vmm_proc_free(vp.p);
	ck_assert_uint_eq(vp.replies, 2);
	ck_assert_int_eq(vp.result, -ECANCELED);
}
END_TEST

/* It said its last word with a question open: that word counts, not the silence. */
START_TEST(ends_instead)
{
	vp_start("serve mum");
	fx_until(&vp.running);
	vmm_proc_set_patience(vp.p, CLOCK_NS_PER_S);
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_STATS, vp_done, NULL), 0);
	ck_assert_int_eq(vmm_proc_quit(vp.p), 0);
	fx_until(&vp.gone);
	ck_assert_int_eq(vp.reason, VMM_END_QUIT);
	ck_assert_int_eq(vp.result, -ECONNRESET);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vmm_request");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, fx_setup, fx_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, answers);
	tcase_add_test(t, limits);
	tcase_add_test(t, says_no);
	tcase_add_test(t, a_queue_in_order);
	tcase_add_test(t, who_only_asks_keeps_nobody_from_freezing);
	tcase_add_test(t, nobody_waits_any_more);
	tcase_add_test(t, never_answered);
	tcase_add_test(t, stopped);
	tcase_add_test(t, full_socket);
	tcase_add_test(t, liar);
	tcase_add_test(t, freed_with_requests);
	tcase_add_test(t, ends_instead);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
