#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/clock.h>

#include "vmm_proc_fixture.h"
#include "vmm_proc_impl.h"

START_TEST(quits_as_told)
{
	vp_start("serve");
	fx_until(&vp.running);
	ck_assert_int_eq(vmm_proc_quit(vp.p), 0);
	fx_until(&vp.gone);
	ck_assert_int_eq(vp.reason, VMM_END_QUIT);
	ck_assert_str_eq(vp.text, "as told");
}
END_TEST

/* One connected socket to kosvmd, standard streams, and nothing else. */
START_TEST(gets_nothing_but_its_socket)
{
	int high = fcntl(0, F_DUPFD, 200); /* not close-on-exec */

	ck_assert_int_eq(setenv("SECRET", "x", 1), 0);
	vp_start("surroundings");
	fx_until(&vp.gone);
	(void)close(high);
	/* 4 is the program, which closes by itself; 4 to 7 here are the board's. */
	ck_assert_str_eq(vp.text, "env 0 fds 0 1 2 3 4 5 6 7");
}
END_TEST

START_TEST(streams)
{
	char buf[4];
	int sv[2];

	vp_start("serve");
	fx_until(&vp.running);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	ck_assert_int_eq(vmm_proc_connect(vp.p, 9, 2000, sv[1]), 0);
	fx_until(&vp.connected);
	ck_assert_int_eq(vp.result, 0);
	ck_assert_int_eq(read(sv[0], buf, sizeof(buf)), 2);
	ck_assert_int_eq(read(sv[0], buf, sizeof(buf)), 0);
	(void)close(sv[0]);
	vmm_proc_kill(vp.p);
	fx_until(&vp.gone);
	ck_assert_int_eq(vp.reason, 0);
	ck_assert_str_eq(vp.text, "VMM was killed by signal 9 (Killed)");
}
END_TEST

/* ENDED counts although something of ours was never read. */
START_TEST(last_words)
{
	vp_start("last-words");
	fx_until(&vp.running);
	ck_assert_int_eq(vmm_proc_refuse(vp.p, 1), 0);
	fx_until(&vp.gone);
	ck_assert_int_eq(vp.reason, VMM_END_POWEROFF);
	ck_assert_str_eq(vp.text, "good night");
}
END_TEST

START_TEST(crash)
{
	vp_start("crash");
	fx_until(&vp.gone);
	ck_assert_int_eq(vp.reason, 0);
	ck_assert_ptr_nonnull(strstr(vp.text, "signal 6"));
}
END_TEST

START_TEST(stopped_by_its_filter)
{
	vp_start("denied");
	fx_until(&vp.gone);
	ck_assert_int_eq(vp.reason, 0);
	ck_assert_ptr_nonnull(strstr(vp.text, "stopped by its seccomp filter (SIGSYS)"));
}
END_TEST

START_TEST(text_is_printable)
{
	vp_start("escape");
	fx_until(&vp.gone);
	ck_assert_int_eq(vp.reason, VMM_END_ERROR);
	ck_assert_str_eq(vp.text, "?[2J? text");
}
END_TEST

static const char *const offences[] = { "garbage", "twice", "least" };

START_TEST(breaks_the_protocol)
{
	vp_start(offences[_i]);
	fx_until(&vp.gone);
	ck_assert_int_eq(vp.reason, VMM_END_ERROR);
	ck_assert_str_eq(vp.text, "VMM broke the protocol");
	ck_assert(!vp.connected);
}
END_TEST

/* Others get their turn, nothing is kept, and it can be killed. */
START_TEST(flood)
{
	vp_start("flood");
	fx_until(&vp.asked);
	for (int i = 0; i < 5; i++) {
		unsigned before = vp.requests;

		ck_assert_int_eq(loop_step(fx_loop, 1000, &fx_err), 0);
		ck_assert_uint_le(vp.requests - before, 64);
	}
	vmm_proc_kill(vp.p);
	fx_until(&vp.gone);
}
END_TEST

static const char *const lingerers[] = { "stays", "mute" };

START_TEST(lingers)
{
	uint64_t t = clock_mono_ns();

	vp_start(lingerers[_i]);
	fx_until(&vp.gone);
	ck_assert_uint_ge(clock_mono_ns() - t, 4 * CLOCK_NS_PER_S);
	ck_assert_int_eq(vp.reason, _i == 0 ? VMM_END_POWEROFF : 0);
}
END_TEST

/* SIGKILL does not end it: that is told, its owner goes on, and it is reaped when it goes. */
START_TEST(does_not_go)
{
	struct vmm_proc *p;
	int real;
	pid_t pid;

	vp_start("serve");
	fx_until(&vp.running);
	p = vp.p;
	pid = vmm_proc_pid(p);
	vmm_proc_set_patience(p, 100 * CLOCK_NS_PER_MS);
	real = dup(p->pidfd);
	fx_unkillable(p->pidfd);
	vmm_proc_kill(p);
	vmm_proc_kill(p);
	fx_until(&vp.gone);
	ck_assert_int_eq(vp.reason, VMM_END_ERROR);
	ck_assert_msg(strstr(vp.text, "does not go: the kernel holds it"), "%s", vp.text);
	ck_assert_ptr_null(vp.p);
	ck_assert(vp_alive(pid));
	ck_assert_int_eq(dup3(real, p->pidfd, O_CLOEXEC), p->pidfd);
	(void)close(real);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	while (waitpid(pid, NULL, WNOHANG) != -1)
		ck_assert_int_eq(loop_step(fx_loop, 20, &fx_err), 0);
	ck_assert(!vp_alive(pid));
}
END_TEST

START_TEST(freed_while_it_runs)
{
	pid_t pid;

	vp_start("serve stubborn");
	pid = vmm_proc_pid(vp.p);
	vmm_proc_free(vp.p);
	ck_assert_int_eq(kill(pid, 0), -1);
	ck_assert_int_eq(errno, ESRCH);
	fx_run_ms(50);
	ck_assert(!vp.gone);
	vmm_proc_free(NULL);
}
END_TEST

START_TEST(cannot_start)
{
	ck_assert_int_eq(vp_start_program("/nowhere/kosvm-vmm", "", false), -ENOENT);
	ck_assert_str_eq(fx_err.msg, "/nowhere/kosvm-vmm: open: No such file or directory");
	/* No program at all: it is known only after the fork. */
	ck_assert_int_eq(vp_start_program("/dev/null", "", false), 0);
	fx_until(&vp.gone);
	ck_assert_int_eq(vp.reason, VMM_END_ERROR);
	ck_assert_str_eq(vp.text,
		"jail: exec of kosvm-vmm: Permission denied: everybody must be allowed to execute "
		"it: chmod 755");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vmm_proc");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, fx_setup, fx_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, quits_as_told);
	tcase_add_test(t, gets_nothing_but_its_socket);
	tcase_add_test(t, streams);
	tcase_add_test(t, last_words);
	tcase_add_test(t, crash);
	tcase_add_test(t, stopped_by_its_filter);
	tcase_add_test(t, text_is_printable);
	tcase_add_loop_test(t, breaks_the_protocol, 0, 3);
	tcase_add_test(t, flood);
	tcase_add_loop_test(t, lingers, 0, 2);
	tcase_add_test(t, does_not_go);
	tcase_add_test(t, freed_while_it_runs);
	tcase_add_test(t, cannot_start);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
