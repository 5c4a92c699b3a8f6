/*
 * kosvm-vmm's filters under this kernel, each attempt in a process of its
 * own: each rule is kept once and broken once for each of its checks, and
 * what somebody who took over a thread would try is tried. What is denied is
 * done without a filter as well: there it must work, or the test would
 * prove nothing. test_seccomp_filter.c tries all other system calls.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>

#include <base/cleanup.h>
#include <jail/lock.h>
#include <wire/board.h>

#include "seccomp_rules.h"

#define SECCOMPED   (BOARD_CONFINE_PROCESS | BOARD_CONFINE_SECCOMP)
#define X32         0x40000000L
#define NOT_BY_THIS 0x00200000u /* a bit that no argument named by a rule has */
#define NOT_LOCKED  200

/* glibc's own, for a buffer that overflowed; it does not return, but ASan would prepare for that by
 * a system call. */
void __chk_fail(void);

/* How far a process is locked. */
enum lock { UNLOCKED, SETUP, VCPU, LOOP, BLOCK, LOCKS };

static const struct {
	unsigned bit;
	enum jail_thread thread;
} locks[LOCKS] = {
	[SETUP] = { .bit = SECCOMP_FOR_SETUP },
	[VCPU] = { SECCOMP_FOR_VCPU, JAIL_THREAD_VCPU },
	[LOOP] = { SECCOMP_FOR_LOOP, JAIL_THREAD_LOOP },
	[BLOCK] = { SECCOMP_FOR_BLOCK, JAIL_THREAD_BLOCK },
};

static pid_t own_pid;    /* of the child */
static int errors = -1;  /* its descriptor 2; -1: as it is */
static uint8_t *page;    /* of memory */
static pid_t other = -1; /* a process that a signal could hit */

/* What a child does: 0, or the errno that stopped it. */
typedef int deed(const void *arg);

static void lock_to(enum lock lock)
{
	struct kerr e = { 0 };

	if (lock >= SETUP && jail_lock_process(SECCOMPED, &e) < 0)
		_exit(NOT_LOCKED);
	if (lock > SETUP && lock < LOCKS && jail_lock_thread(SECCOMPED, locks[lock].thread, &e) < 0)
		_exit(NOT_LOCKED);
}

static int status_of(deed *d, const void *arg, enum lock lock)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		int r;

		own_pid = getpid();
		/* A call made with nonsense may crash it: the sanitizer has nothing to say to that.
		 */
		(void)signal(SIGSEGV, SIG_DFL);
		(void)signal(SIGBUS, SIG_DFL);
		if (errors >= 0)
			(void)dup2(errors, STDERR_FILENO);
		lock_to(lock);
		r = d(arg);
		/* The thread of a vCPU or a disk ends itself, not the process; here it is both. */
		(void)syscall(lock == VCPU || lock == BLOCK ? SYS_exit : SYS_exit_group, r);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(!WIFEXITED(status) || WEXITSTATUS(status) != NOT_LOCKED);
	return status;
}

static bool is_stopped(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

/* ---- the rules */

struct attempt {
	long call;
	uint64_t args[6];
};

/* Arguments that do no harm, but for those that the rule names; check `broken` is not kept. */
static struct attempt attempt_of(const struct seccomp_rule *r, int broken)
{
	struct attempt a = { .call = r->call };

	memset(a.args, 0xff, sizeof(a.args));
	for (unsigned i = 0; i < r->check_count; i++) {
		const struct seccomp_check *c = &r->checks[i];
		uint64_t bit = c->mask == ~UINT64_C(0) ? NOT_BY_THIS : c->mask & -c->mask;

		a.args[c->arg] = (int)i == broken ? c->value ^ bit : c->value;
	}
	return a;
}

static int attempt(const void *arg)
{
	struct attempt a = *(const struct attempt *)arg;

	for (unsigned i = 0; i < 6; i++) {
		if ((a.args[i] | NOT_BY_THIS) == (SECCOMP_OWN_PID | NOT_BY_THIS))
			a.args[i] ^= SECCOMP_OWN_PID ^ (uint64_t)own_pid;
	}
	return syscall(a.call, a.args[0], a.args[1], a.args[2], a.args[3], a.args[4], a.args[5]) < 0
		? errno
		: 0;
}

static bool is_for(const struct seccomp_rule *r, enum lock lock)
{
	return lock == SETUP || (r->threads & locks[lock].bit);
}

/* Another rule does not mind what the arguments are. */
static bool any_arguments(int call, enum lock lock)
{
	for (size_t i = 0; i < seccomp_rule_count; i++) {
		const struct seccomp_rule *r = &seccomp_rules[i];

		if (r->call == call && is_for(r, lock) && r->check_count == 0)
			return true;
	}
	return false;
}

START_TEST(rules_kept_and_broken)
{
	const struct seccomp_rule *r = &seccomp_rules[_i];

	for (enum lock lock = SETUP; lock < LOCKS; lock++) {
		struct attempt a = attempt_of(r, -1);
		int status;

		if (!is_for(r, lock))
			continue;
		status = status_of(attempt, &a, lock);
		ck_assert_msg(!is_stopped(status), "%s (%s) is denied", r->name, r->check_text);
		if (r->answer)
			ck_assert_int_eq(WEXITSTATUS(status), r->answer);
		for (unsigned i = 0; i < r->check_count && !any_arguments(r->call, lock); i++) {
			a = attempt_of(r, (int)i);
			ck_assert_msg(is_stopped(status_of(attempt, &a, lock)),
				"%s (%s) is allowed with argument %u wrong", r->name, r->check_text,
				r->checks[i].arg);
			ck_assert(!is_stopped(status_of(attempt, &a, UNLOCKED)));
		}
	}
}
END_TEST

/* ---- what is tried by who has taken over a thread */

static int result(long r)
{
	return r < 0 ? errno : 0;
}

static int open_a_file(const void *arg)
{
	(void)arg;
	return result(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY, 0));
}

static int make_a_socket(const void *arg)
{
	(void)arg;
	return result(syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0));
}

static int fork_a_child(const void *arg)
{
	long pid = syscall(SYS_fork);

	(void)arg;
	if (pid == 0)
		_exit(0);
	return result(pid);
}

static int run_a_program(const void *arg)
{
	char name[] = "true";
	char *argv[] = { name, NULL };

	(void)arg;
	return result(execv("/bin/true", argv));
}

static int signal_another_process(const void *arg)
{
	(void)arg;
	return result(kill(other, SIGCONT));
}

static int end_another_process_s_thread(const void *arg)
{
	(void)arg;
	return result(syscall(SYS_tgkill, other, other, 0));
}

static int make_memory_executable(const void *arg)
{
	(void)arg;
	return result(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}

static int map_executable_memory(const void *arg)
{
	(void)arg;
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0) == MAP_FAILED
		? errno
		: 0;
}

static int leave_what_is_shared(const void *arg)
{
	(void)arg;
	return result(syscall(SYS_unshare, CLONE_FILES));
}

static int make_a_ring(const void *arg)
{
	struct io_uring_params p = { 0 };

	(void)arg;
	return result(syscall(SYS_io_uring_setup, 1, &p));
}

static int name_a_keyring(const void *arg)
{
	(void)arg;
	return result(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_SESSION_KEYRING, 1));
}

static int be_traced(const void *arg)
{
	(void)arg;
	return result(syscall(SYS_ptrace, 0, 0, 0, 0));
}

static int hold_a_process(const void *arg)
{
	(void)arg;
	return result(syscall(SYS_pidfd_open, other, 0));
}

static int make_a_file_of_memory(const void *arg)
{
	(void)arg;
	return result(syscall(SYS_memfd_create, "x", 0));
}

static int become_dumpable(const void *arg)
{
	(void)arg;
	return result(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static int take_a_wider_filter(const void *arg)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = { 1, &allow };

	(void)arg;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return errno;
	return result(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
}

static const struct {
	const char *name;
	deed *deed;
	int may_lack; /* what a kernel answers that has no such thing, or has it switched off */
} deeds[] = {
	{ "open a file", open_a_file, 0 },
	{ "make a socket", make_a_socket, 0 },
	{ "fork a child", fork_a_child, 0 },
	{ "run a program", run_a_program, 0 },
	{ "signal another process", signal_another_process, 0 },
	{ "signal another process's thread", end_another_process_s_thread, 0 },
	{ "make memory executable", make_memory_executable, 0 },
	{ "map executable memory", map_executable_memory, 0 },
	{ "leave what is shared", leave_what_is_shared, 0 },
	{ "make a ring of io_uring", make_a_ring, EPERM },
	{ "name a keyring", name_a_keyring, ENOSYS },
	{ "be traced", be_traced, 0 },
	{ "hold a process", hold_a_process, 0 },
	{ "make a file of memory", make_a_file_of_memory, 0 },
	{ "become dumpable", become_dumpable, 0 },
	{ "take a wider filter", take_a_wider_filter, 0 },
};

START_TEST(deeds_are_denied)
{
	int free_status;

	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(page, MAP_FAILED);
	other = fork();
	ck_assert_int_ge(other, 0);
	if (other == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)pause();
	}
	free_status = status_of(deeds[_i].deed, NULL, UNLOCKED);
	ck_assert_msg(WIFEXITED(free_status) &&
			(WEXITSTATUS(free_status) == 0 ||
				WEXITSTATUS(free_status) == deeds[_i].may_lack),
		"%s does not even work without a filter: status 0x%x", deeds[_i].name, free_status);
	for (enum lock lock = SETUP; lock < LOCKS; lock++)
		ck_assert_msg(is_stopped(status_of(deeds[_i].deed, NULL, lock)),
			"%s is allowed: %d", deeds[_i].name, lock);
	(void)kill(other, SIGKILL);
	(void)waitpid(other, NULL, 0);
	(void)munmap(page, 4096);
}
END_TEST

/* Whoever is found by glibc to have smashed something says so, and ends. */
static int smash(const void *arg)
{
	(void)arg;
	__chk_fail();
	return 0;
}

START_TEST(last_words)
{
	for (enum lock lock = UNLOCKED; lock < LOCKS; lock++) {
		char words[200] = "";
		int pipes[2];
		int status;

		ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
		errors = pipes[1];
		status = status_of(smash, NULL, lock);
		errors = -1;
		ck_assert(WIFSIGNALED(status));
		ck_assert_int_eq(WTERMSIG(status), lock == UNLOCKED ? SIGABRT : SIGSYS);
		(void)close(pipes[1]);
		ck_assert_int_gt((int)read(pipes[0], words, sizeof(words) - 1), 0);
		ck_assert_msg(strstr(words, "buffer overflow"), "it said: %s", words);
		(void)close(pipes[0]);
	}
}
END_TEST

/* ---- its lack */

static int lacks(const void *arg)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = array_size(filter), .filter = filter };
	struct kerr e = { 0 };

	(void)arg;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		return 1;
	if (jail_lock_process(SECCOMPED, &e) != -EOPNOTSUPP)
		return 2;
	return strstr(e.msg, "jail: this kernel has no seccomp filters") &&
			strstr(e.msg, "CONFIG_SECCOMP_FILTER")
		? 0
		: 3;
}

START_TEST(kernel_without_seccomp)
{
	struct kerr e = { 0 };

	ck_assert_int_eq(jail_seccomp_check(&e), 0);
	ck_assert_int_eq(status_of(lacks, NULL, UNLOCKED), 0);
}
END_TEST

static int not_asked_for(const void *arg)
{
	struct kerr e = { 0 };

	(void)arg;
	if (jail_lock_process(BOARD_CONFINE_PROCESS, &e) < 0 ||
		jail_lock_thread(BOARD_CONFINE_PROCESS, JAIL_THREAD_VCPU, &e) < 0)
		return 1;
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0 ? open_a_file(NULL) : 2;
}

START_TEST(only_when_asked_for)
{
	ck_assert_int_eq(status_of(not_asked_for, NULL, UNLOCKED), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("seccomp");
	TCase *tc = tcase_create("seccomp");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, rules_kept_and_broken, 0, (int)seccomp_rule_count);
	tcase_add_loop_test(tc, deeds_are_denied, 0, (int)array_size(deeds));
	tcase_add_test(tc, last_words);
	tcase_add_test(tc, kernel_without_seccomp);
	tcase_add_test(tc, only_when_asked_for);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
