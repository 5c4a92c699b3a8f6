#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/clock.h>

#include "sup_fixture.h"
#include "vmm_proc.h"

static struct vmm_proc *p;
static bool is_running, is_gone, is_connected, asked;
static enum vmm_end why;
static char text[512];
static int result;
static unsigned requests;

static void on_running(void *user)
{
	(void)user;
	ck_assert(!is_running);
	is_running = true;
}

static void on_guest_connect(
	void *user, uint64_t id, uint64_t cid, uint32_t port, uint32_t src_port)
{
	(void)user;
	(void)cid;
	(void)port;
	(void)src_port;
	asked = true;
	requests++;
	(void)vmm_proc_refuse(p, id);
}

static void on_connected(void *user, uint64_t id, int r)
{
	(void)user;
	(void)id;
	result = r;
	is_connected = true;
}

static void on_gone(void *user, enum vmm_end reason, const char *t)
{
	(void)user;
	ck_assert(!is_gone);
	is_gone = true;
	why = reason;
	(void)snprintf(text, sizeof(text), "%s", t);
	/* From inside, as the owner does. */
	vmm_proc_free(p);
	p = NULL;
}

static const struct vmm_proc_ops ops = {
	.running = on_running,
	.guest_connect = on_guest_connect,
	.connected = on_connected,
	.gone = on_gone,
};

static int start_program(const char *program, const char *orders)
{
	int fds[4];
	struct board *b = malloc(sizeof(*b));
	struct vmm_proc_config cfg = {
		.program = program, .board = b, .fds = fds, .nfds = 4, .stderr_fd = 2
	};
	int r;

	is_running = is_gone = is_connected = asked = false;
	requests = 0;
	text[0] = '\0';
	for (int i = 0; i < 4; i++)
		fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fx_board(b, orders);
	r = vmm_proc_start(&p, fx_loop, &cfg, &ops, NULL, &fx_err);
	for (int i = 0; i < 4; i++)
		(void)close(fds[i]);
	free(b);
	return r;
}

static void start(const char *orders)
{
	ck_assert_int_eq(start_program(FAKE_VMM, orders), 0);
	ck_assert_int_gt(vmm_proc_pid(p), 0);
}

START_TEST(quits_as_told)
{
	start("serve");
	fx_until(&is_running);
	ck_assert_int_eq(vmm_proc_quit(p), 0);
	fx_until(&is_gone);
	ck_assert_int_eq(why, VMM_END_QUIT);
	ck_assert_str_eq(text, "as told");
}
END_TEST

/* One connected socket to kosvmd, standard streams, and nothing else. */
START_TEST(gets_nothing_but_its_socket)
{
	int high = fcntl(0, F_DUPFD, 200); /* not close-on-exec */

	ck_assert_int_eq(setenv("SECRET", "x", 1), 0);
	start("surroundings");
	fx_until(&is_gone);
	(void)close(high);
	/* 4 is the program, which closes by itself; 4 to 7 here are the board's. */
	ck_assert_str_eq(text, "env 0 fds 0 1 2 3 4 5 6 7");
}
END_TEST

START_TEST(streams)
{
	char buf[4];
	int sv[2];

	start("serve");
	fx_until(&is_running);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	ck_assert_int_eq(vmm_proc_connect(p, 9, 2000, sv[1]), 0);
	fx_until(&is_connected);
	ck_assert_int_eq(result, 0);
	ck_assert_int_eq(read(sv[0], buf, sizeof(buf)), 2);
	ck_assert_int_eq(read(sv[0], buf, sizeof(buf)), 0);
	(void)close(sv[0]);
	vmm_proc_kill(p);
	fx_until(&is_gone);
	ck_assert_int_eq(why, 0);
	ck_assert_str_eq(text, "VMM was killed by signal 9 (Killed)");
}
END_TEST

/* ENDED counts although something of ours was never read. */
START_TEST(last_words)
{
	start("last-words");
	fx_until(&is_running);
	ck_assert_int_eq(vmm_proc_refuse(p, 1), 0);
	fx_until(&is_gone);
	ck_assert_int_eq(why, VMM_END_POWEROFF);
	ck_assert_str_eq(text, "good night");
}
END_TEST

START_TEST(crash)
{
	start("crash");
	fx_until(&is_gone);
	ck_assert_int_eq(why, 0);
	ck_assert_ptr_nonnull(strstr(text, "signal 6"));
}
END_TEST

START_TEST(text_is_printable)
{
	start("escape");
	fx_until(&is_gone);
	ck_assert_int_eq(why, VMM_END_ERROR);
	ck_assert_str_eq(text, "?[2J? text");
}
END_TEST

static const char *const offences[] = { "garbage", "twice", "least" };

START_TEST(breaks_the_protocol)
{
	start(offences[_i]);
	fx_until(&is_gone);
	ck_assert_int_eq(why, VMM_END_ERROR);
	ck_assert_str_eq(text, "VMM broke the protocol");
	ck_assert(!is_connected);
}
END_TEST

/* Others get their turn, nothing is kept, and it can be killed. */
START_TEST(flood)
{
	start("flood");
	fx_until(&asked);
	for (int i = 0; i < 5; i++) {
		unsigned before = requests;

		ck_assert_int_eq(loop_step(fx_loop, 1000, &fx_err), 0);
		ck_assert_uint_le(requests - before, 64);
	}
	vmm_proc_kill(p);
	fx_until(&is_gone);
}
END_TEST

static const char *const lingerers[] = { "stays", "mute" };

START_TEST(lingers)
{
	uint64_t t = clock_mono_ns();

	start(lingerers[_i]);
	fx_until(&is_gone);
	ck_assert_uint_ge(clock_mono_ns() - t, 4 * CLOCK_NS_PER_S);
	ck_assert_int_eq(why, _i == 0 ? VMM_END_POWEROFF : 0);
}
END_TEST

START_TEST(freed_while_it_runs)
{
	pid_t pid;

	start("serve stubborn");
	pid = vmm_proc_pid(p);
	vmm_proc_free(p);
	ck_assert_int_eq(kill(pid, 0), -1);
	ck_assert_int_eq(errno, ESRCH);
	fx_run_ms(50);
	ck_assert(!is_gone);
	vmm_proc_free(NULL);
}
END_TEST

START_TEST(cannot_start)
{
	ck_assert_int_eq(start_program("/nowhere/kosvm-vmm", ""), -ENOENT);
	ck_assert_str_eq(fx_err.msg, "/nowhere/kosvm-vmm: open: No such file or directory");
	/* No program at all: it is known only after the fork. */
	ck_assert_int_eq(start_program("/dev/null", ""), 0);
	fx_until(&is_gone);
	ck_assert_int_eq(why, 0);
	ck_assert_str_eq(text, "VMM ended with code 127");
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
	tcase_add_test(t, text_is_printable);
	tcase_add_loop_test(t, breaks_the_protocol, 0, 3);
	tcase_add_test(t, flood);
	tcase_add_loop_test(t, lingers, 0, 2);
	tcase_add_test(t, freed_while_it_runs);
	tcase_add_test(t, cannot_start);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
