/* VMMs that outlive their kosvmd: here it detaches, and comes back as another. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/clock.h>

#include "vmm_proc_fixture.h"

static struct vmm_identity id;

/* Leaves a VMM behind and forgets what it said. */
static void leave(const char *orders)
{
	vp_start_detachable(orders);
	vmm_proc_identity(vp.p, &id);
	vmm_proc_detach(vp.p);
	vp_reset();
}

static int adopt(void)
{
	return vmm_proc_adopt(&vp.p, fx_loop, fx_dir, &id, &vp_ops, NULL, &fx_err);
}

static void end_by_hand(void)
{
	(void)kill(id.pid, SIGKILL);
	ck_assert_int_eq(waitpid(id.pid, NULL, 0), id.pid);
}

static int read_end(struct vmm_msg_ended *m)
{
	int fd = openat(fx_dir, VMM_END_NAME, O_RDONLY | O_CLOEXEC);
	int r;

	ck_assert_int_ge(fd, 0);
	r = vmm_end_read(fd, m);
	(void)close(fd);
	return r;
}

START_TEST(lives_on_and_is_taken_over)
{
	struct vmm_identity again;
	struct vmm_msg_ended last;
	char buf[4];
	int sv[2];

	for (int i = 0; i < 3; i++) {
		if (i == 0)
			leave("serve");
		ck_assert_int_eq(adopt(), 0);
		ck_assert(!vp.attached);
		ck_assert_int_eq(vmm_proc_quit(vp.p), -ENOTCONN);
		ck_assert_int_eq(vmm_proc_refuse(vp.p, 1), -ENOTCONN);
		ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_STATS, vp_done, NULL), -ENOTCONN);
		fx_until(&vp.attached);
		ck_assert(vp.attached_running && !vp.paused && !vp.running);
		vmm_proc_identity(vp.p, &again);
		ck_assert_mem_eq(&again, &id, sizeof(id));
		ck_assert_int_eq(vmm_proc_pid(vp.p), id.pid);
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
		ck_assert_int_eq(vmm_proc_connect(vp.p, 9, 2000, sv[1]), 0);
		fx_until(&vp.connected);
		ck_assert_int_eq(read(sv[0], buf, sizeof(buf)), 2);
		(void)close(sv[0]);
		ck_assert_int_eq(read_end(&last), -ENODATA);
		if (i < 2) {
			vmm_proc_detach(vp.p);
			vp_reset();
		}
	}
	ck_assert_int_eq(vmm_proc_quit(vp.p), 0);
	fx_until(&vp.gone);
	ck_assert_int_eq(vp.reason, VMM_END_QUIT);
	ck_assert_int_eq(read_end(&last), 0);
	ck_assert_uint_eq(last.reason, VMM_END_QUIT);
	ck_assert_str_eq(last.text, "as told");
}
END_TEST

START_TEST(paused_is_known_again)
{
	vp_start_detachable("serve");
	vmm_proc_identity(vp.p, &id);
	ck_assert_int_eq(vmm_proc_request(vp.p, VMM_MSG_PAUSE, vp_done, NULL), 0);
	fx_until(&vp.replied);
	vmm_proc_detach(vp.p);
	vp_reset();
	ck_assert_int_eq(adopt(), 0);
	fx_until(&vp.attached);
	ck_assert(vp.paused);
	vmm_proc_free(vp.p);
	ck_assert_int_eq(kill(id.pid, 0), -1);
}
END_TEST

/* Not the one that was written down, although something has its pid. */
START_TEST(wrong_process)
{
	struct vmm_identity right;

	leave("serve");
	right = id;
	id.start_time++;
	ck_assert_int_eq(adopt(), -ESRCH);
	id = right;
	id.pid = 2; /* a thread of the kernel, older than any process; or nobody */
	ck_assert_int_eq(adopt(), -ESRCH);
	for (pid_t pid = -2; pid <= 1; pid++) {
		id.pid = pid;
		ck_assert_int_eq(adopt(), -ESRCH);
	}
	id.pid = 1 << 30;
	ck_assert_int_eq(adopt(), -ESRCH);
	id = right;
	ck_assert(vp_alive(id.pid));
	end_by_hand();
	ck_assert_int_eq(adopt(), -ESRCH);
	ck_assert_str_ne(fx_err.msg, "");
}
END_TEST

/* Its body is still there, but it is dead. */
START_TEST(zombie)
{
	leave("serve");
	(void)kill(id.pid, SIGKILL);
	while (vp_alive(id.pid))
		(void)usleep(1000);
	ck_assert_int_eq(adopt(), -ESRCH);
	end_by_hand();
}
END_TEST

START_TEST(killed_after_it_was_adopted)
{
	struct vmm_msg_ended last;

	leave("serve");
	ck_assert_int_eq(adopt(), 0);
	fx_until(&vp.attached);
	ck_assert_int_eq(kill(id.pid, SIGKILL), 0);
	fx_until(&vp.gone);
	ck_assert_int_eq(vp.reason, 0);
	ck_assert_int_eq(read_end(&last), -ENODATA);
}
END_TEST

START_TEST(freed_when_adopted)
{
	leave("serve stubborn");
	ck_assert_int_eq(adopt(), 0);
	vmm_proc_free(vp.p); /* before it answered */
	ck_assert(!vp_alive(id.pid));
	ck_assert_int_eq(waitpid(id.pid, NULL, 0), -1);
	fx_run_ms(50);
	ck_assert(!vp.gone && !vp.attached);
}
END_TEST

static const struct {
	const char *orders;
	const char *text;
} refusers[] = {
	{ "serve never-attaches", "VMM did not answer ATTACH within 1 s" },
	{ "serve slams", "VMM could not be attached to within 1 s: Connection reset by peer" },
	{ "serve garbage-attach", "VMM broke the protocol" },
};

/* It is there and will not be led: it is killed, not waited for. */
START_TEST(cannot_be_attached)
{
	leave(refusers[_i].orders);
	ck_assert_int_eq(adopt(), 0);
	vmm_proc_set_patience(vp.p, CLOCK_NS_PER_S);
	fx_until(&vp.gone);
	ck_assert(!vp.attached);
	ck_assert_int_eq(vp.reason, VMM_END_ERROR);
	ck_assert_str_eq(vp.text, refusers[_i].text);
	ck_assert(!vp_alive(id.pid));
}
END_TEST

START_TEST(wrong_boot_id)
{
	leave("serve");
	id.boot_id[15] ^= 1;
	ck_assert_int_eq(adopt(), 0);
	vmm_proc_set_patience(vp.p, CLOCK_NS_PER_S);
	fx_until(&vp.gone);
	ck_assert(!vp.attached);
	ck_assert_int_eq(vp.reason, VMM_END_ERROR);
}
END_TEST

START_TEST(no_socket_any_more)
{
	leave("serve");
	ck_assert_int_eq(unlinkat(fx_dir, VMM_SOCKET_NAME, 0), 0);
	ck_assert_int_eq(adopt(), 0);
	vmm_proc_set_patience(vp.p, CLOCK_NS_PER_S);
	fx_until(&vp.gone);
	ck_assert_str_eq(
		vp.text, "VMM could not be attached to within 1 s: No such file or directory");
}
END_TEST

/* A VMM that still looks at its dead master closes what comes: it is asked again. */
START_TEST(hesitates)
{
	leave("serve hesitates");
	ck_assert_int_eq(adopt(), 0);
	fx_until(&vp.attached);
	vmm_proc_free(vp.p);
}
END_TEST

START_TEST(without_a_listener_it_ends)
{
	vp_start("serve");
	fx_until(&vp.running);
	vmm_proc_identity(vp.p, &id);
	vmm_proc_detach(vp.p);
	ck_assert_int_eq(waitpid(id.pid, NULL, 0), id.pid);
	vmm_proc_detach(NULL);
}
END_TEST

START_TEST(listener)
{
	struct stat st;
	mode_t mask = umask(0);
	int one;
	int two;

	ck_assert_int_eq(vmm_listen(fx_dir, &one, &fx_err), 0);
	/* The old one's place is taken. */
	ck_assert_int_eq(vmm_listen(fx_dir, &two, &fx_err), 0);
	ck_assert_int_eq(fstatat(fx_dir, VMM_SOCKET_NAME, &st, 0), 0);
	ck_assert(S_ISSOCK(st.st_mode));
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(fcntl(two, F_GETFD), FD_CLOEXEC);
	(void)umask(mask);
	(void)close(one);
	(void)close(two);
	ck_assert_int_eq(unlinkat(fx_dir, VMM_SOCKET_NAME, 0), 0);
	/* Something that cannot be removed like that is not. */
	ck_assert_int_eq(mkdirat(fx_dir, VMM_SOCKET_NAME, 0700), 0);
	ck_assert_int_lt(vmm_listen(fx_dir, &one, &fx_err), 0);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, VMM_SOCKET_NAME));
}
END_TEST

START_TEST(last_word)
{
	struct vmm_msg_ended m = { .reason = VMM_END_RESET, .text = "\033[2J\n\xff" };
	struct vmm_msg_ended got = { 0 };
	struct stat st;
	int old;
	int fd;

	ck_assert_int_eq(vmm_end_create(fx_dir, &old, &fx_err), 0);
	ck_assert_int_eq(pwrite(old, &m, sizeof(m), 0), sizeof(m));
	/* A new one has nothing of the old one, whoever still writes to it. */
	ck_assert_int_eq(vmm_end_create(fx_dir, &fd, &fx_err), 0);
	ck_assert_int_eq(fstatat(fx_dir, VMM_END_NAME, &st, 0), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_uint_eq(st.st_size, sizeof(m));
	ck_assert_int_eq(vmm_end_read(fd, &got), -ENODATA);
	ck_assert_int_eq(vmm_end_read(old, &got), 0);
	(void)close(old);
	ck_assert_uint_eq(got.reason, VMM_END_RESET);
	ck_assert_str_eq(got.text, "?[2J??");
	/* Cut short, a reason that is none, a text without an end. */
	ck_assert_int_eq(pwrite(fd, &m, sizeof(m), 0), sizeof(m));
	ck_assert_int_eq(ftruncate(fd, sizeof(m) - 1), 0);
	ck_assert_int_eq(vmm_end_read(fd, &got), -EPROTO);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(vmm_end_read(fd, &got), -ENODATA);
	m.reason = VMM_END_ERROR + 1;
	ck_assert_int_eq(pwrite(fd, &m, sizeof(m), 0), sizeof(m));
	ck_assert_int_eq(vmm_end_read(fd, &got), -EPROTO);
	m.reason = VMM_END_ERROR;
	memset(m.text, 'x', sizeof(m.text));
	ck_assert_int_eq(pwrite(fd, &m, sizeof(m), 0), sizeof(m));
	ck_assert_int_eq(vmm_end_read(fd, &got), -EPROTO);
	(void)close(fd);
	ck_assert_int_eq(vmm_end_read(-1, &got), -EBADF);
}
END_TEST

/* Who it is, is known before it is told anything; a no ends it. */
START_TEST(written_down_before_it_runs)
{
	vp_start_detachable("serve");
	vmm_proc_identity(vp.p, &id);
	ck_assert_mem_eq(&vp.forked, &id, sizeof(id));
	ck_assert_int_eq(id.pid, vmm_proc_pid(vp.p));
	ck_assert_uint_gt(id.start_time, 0);
	ck_assert_uint_eq(id.boot_id[0], 0xb1);
	vmm_proc_free(vp.p);
	vp.deny = true;
	ck_assert_int_eq(vp_start_program(FAKE_VMM, "serve", false), -ENOSPC);
	ck_assert_str_eq(fx_err.msg, "no room to write it down");
	ck_assert_int_eq(waitpid(vp.forked.pid, NULL, 0), -1);
	ck_assert_int_eq(errno, ECHILD);
	fx_run_ms(50);
	ck_assert(!vp.gone && !vp.running);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vmm_adopt");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, fx_setup, fx_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, lives_on_and_is_taken_over);
	tcase_add_test(t, paused_is_known_again);
	tcase_add_test(t, wrong_process);
	tcase_add_test(t, zombie);
	tcase_add_test(t, killed_after_it_was_adopted);
	tcase_add_test(t, freed_when_adopted);
	tcase_add_loop_test(t, cannot_be_attached, 0, 3);
	tcase_add_test(t, wrong_boot_id);
	tcase_add_test(t, no_socket_any_more);
	tcase_add_test(t, hesitates);
	tcase_add_test(t, without_a_listener_it_ends);
	tcase_add_test(t, listener);
	tcase_add_test(t, last_word);
	tcase_add_test(t, written_down_before_it_runs);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
