/*
 * Each thing that the lock forbids is done twice in a process of its own: without
 * the lock it must work, or the test would prove nothing; with it, it must not.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <base/cleanup.h>
#include <jail/lock.h>
#include <wire/board.h>

/* What is denied here is denied by Landlock; seccomp, which ends a process, is test_seccomp's. */
#define LANDLOCKED (BOARD_CONFINE_PROCESS | BOARD_CONFINE_LANDLOCK)

static char dir[32];
static char path[64];
static int file = -1; /* open before the lock */
static int abstract_fd = -1;
static int tcp = -1;
static struct sockaddr_in tcp_name;
static struct sockaddr_un abstract_name;
static pid_t outside; /* a process that a signal could hit */

static void setup(void)
{
	socklen_t len = sizeof(tcp_name);

	(void)snprintf(dir, sizeof(dir), "/tmp/kosvm-lock-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/file", dir);
	file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0700);
	ck_assert_int_ge(file, 0);
	ck_assert_int_eq((int)write(file, "here", 4), 4);

	abstract_name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	(void)snprintf(abstract_name.sun_path + 1, sizeof(abstract_name.sun_path) - 1, "%s", dir);
	abstract_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(
		bind(abstract_fd, (struct sockaddr *)&abstract_name, sizeof(abstract_name)), 0);
	ck_assert_int_eq(listen(abstract_fd, 8), 0);

	tcp_name = (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(tcp, (struct sockaddr *)&tcp_name, sizeof(tcp_name)), 0);
	ck_assert_int_eq(listen(tcp, 8), 0);
	ck_assert_int_eq(getsockname(tcp, (struct sockaddr *)&tcp_name, &len), 0);

	outside = fork();
	ck_assert_int_ge(outside, 0);
	if (outside == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)pause();
	}
}

static void teardown(void)
{
	(void)kill(outside, SIGKILL);
	(void)waitpid(outside, NULL, 0);
	close_fd(&tcp);
	close_fd(&abstract_fd);
	close_fd(&file);
	(void)unlink(path);
	(void)rmdir(dir);
}

/* What a child does: 0, or the errno that stopped it. */
typedef int deed(void);

static int in_child(deed *d, uint32_t confine)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct kerr e = { 0 };

		if (confine && jail_lock_process(confine, &e) < 0)
			_exit(255);
		_exit(d());
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_ne(WEXITSTATUS(status), 255);
	return WEXITSTATUS(status);
}

static int result(int r)
{
	return r < 0 ? errno : 0;
}

static int read_a_file(void)
{
	return result(open(path, O_RDONLY | O_CLOEXEC));
}

static int list_the_root(void)
{
	char buf[1024];
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? errno : result((int)syscall(SYS_getdents64, fd, buf, sizeof(buf)));
}

static int make_a_file(void)
{
	char name[80];
	int r;

	(void)snprintf(name, sizeof(name), "%s/new", dir);
	r = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (r < 0)
		return errno;
	return result(unlink(name));
}

static int make_a_directory(void)
{
	char name[80];

	(void)snprintf(name, sizeof(name), "%s/new", dir);
	return mkdir(name, 0700) < 0 ? errno : result(rmdir(name));
}

static int rename_a_file(void)
{
	char name[80];

	(void)snprintf(name, sizeof(name), "%s/new", dir);
	return rename(path, name) < 0 ? errno : result(rename(name, path));
}

static int cut_a_file(void)
{
	return result(truncate(path, 4));
}

static int reopen_a_descriptor(void)
{
	char name[40];

	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", file);
	return result(open(name, O_RDONLY | O_CLOEXEC));
}

static int run_a_program(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		(void)execl("/bin/true", "true", (char *)NULL);
		_exit(errno);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 254;
}

static int call_an_abstract_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return result(connect(fd, (struct sockaddr *)&abstract_name, sizeof(abstract_name)));
}

static int call_over_tcp(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return result(connect(fd, (struct sockaddr *)&tcp_name, sizeof(tcp_name)));
}

static int listen_on_tcp(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return result(bind(fd, (struct sockaddr *)&any, sizeof(any)));
}

static int signal_another_process(void)
{
	return result(kill(outside, SIGCONT));
}

static const struct {
	const char *name;
	deed *deed;
	int abi;    /* since which Landlock has a word for it */
	int refuse; /* with what */
} deeds[] = {
	{ "read a file", read_a_file, 1, EACCES },
	{ "list the root", list_the_root, 1, EACCES },
	{ "make a file", make_a_file, 1, EACCES },
	{ "make a directory", make_a_directory, 1, EACCES },
	{ "rename a file", rename_a_file, 1, EACCES },
	{ "cut a file", cut_a_file, 3, EACCES },
	{ "reopen a descriptor", reopen_a_descriptor, 1, EACCES },
	{ "run a program", run_a_program, 1, EACCES },
	{ "call over TCP", call_over_tcp, 4, EACCES },
	{ "listen on TCP", listen_on_tcp, 4, EACCES },
	{ "call an abstract socket", call_an_abstract_socket, 6, EPERM },
	{ "signal another process", signal_another_process, 6, EPERM },
};

START_TEST(landlock_denies)
{
	int abi = jail_landlock_abi();
	int got = in_child(deeds[_i].deed, 0);

	ck_assert_msg(got == 0, "%s does not even work without a lock: %s", deeds[_i].name,
		strerror(got));
	if (abi < deeds[_i].abi) {
		(void)printf("skipped: %s: Landlock of this kernel: %d\n", deeds[_i].name, abi);
		return;
	}
	got = in_child(deeds[_i].deed, LANDLOCKED);
	ck_assert_msg(got == deeds[_i].refuse, "%s: %s", deeds[_i].name, strerror(got));
	/* It is Landlock that refuses, and not what comes with it. */
	ck_assert_int_eq(in_child(deeds[_i].deed, BOARD_CONFINE_PROCESS), 0);
}
END_TEST

static int use_what_is_open(void)
{
	char buf[4];

	if (pread(file, buf, 4, 0) != 4 || memcmp(buf, "here", 4) != 0)
		return errno ? errno : EIO;
	if (pwrite(file, "here", 4, 0) != 4 || ftruncate(file, 8) < 0 || ftruncate(file, 4) < 0)
		return errno;
	return result(fdatasync(file));
}

START_TEST(what_is_open_stays)
{
	ck_assert_int_eq(in_child(use_what_is_open,
				 jail_landlock_abi() > 0 ? LANDLOCKED : BOARD_CONFINE_PROCESS),
		0);
}
END_TEST

static int is_process_locked(void)
{
	struct rlimit core;

	if (getrlimit(RLIMIT_CORE, &core) < 0)
		return errno;
	return (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 1 : 0) |
		(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? 2 : 0) |
		(core.rlim_cur == 0 && core.rlim_max == 0 ? 4 : 0);
}

START_TEST(process_is_locked)
{
	struct rlimit core = { 0, 1 << 20 };

	/* One that could be had, or there is nothing to see. */
	if (getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0)
		core.rlim_max = 1 << 20;
	core.rlim_cur = core.rlim_max;
	(void)setrlimit(RLIMIT_CORE, &core);
	ck_assert_int_eq(in_child(is_process_locked, 0) & 3, 0);
	ck_assert_int_eq(in_child(is_process_locked, BOARD_CONFINE_PROCESS), 7);
}
END_TEST

/* A kernel that answers code to landlock_create_ruleset. */
static void kernel_without(int code)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)code),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = array_size(filter), .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		_exit(254);
}

static int lacking(int code, const char *words)
{
	struct kerr e = { 0 };

	kernel_without(code);
	if (jail_lock_process(BOARD_CONFINE_PROCESS, &e) != 0)
		return 1;
	if (jail_lock_process(LANDLOCKED, &e) != -EOPNOTSUPP)
		return 2;
	return strstr(e.msg, words) && strstr(e.msg, "jail: ") && strstr(e.msg, "lsm=") ? 0 : 3;
}

static int not_built_in(void)
{
	return lacking(ENOSYS, "has no Landlock");
}

static int switched_off(void)
{
	return lacking(EOPNOTSUPP, "switched off");
}

START_TEST(kernel_without_landlock)
{
	ck_assert_int_eq(in_child(not_built_in, 0), 0);
	ck_assert_int_eq(in_child(switched_off, 0), 0);
}
END_TEST

START_TEST(unknown_protection)
{
	struct kerr e = { 0 };

	ck_assert_int_eq(jail_lock_process(BOARD_CONFINE_ALL + 1, &e), -EINVAL);
	ck_assert_str_eq(e.msg, "jail: unknown protections 0x8");
	ck_assert_int_eq(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
	ck_assert_int_eq(jail_lock_process(0, &e), 0);
	ck_assert_int_eq(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("jail_lock");
	TCase *tc = tcase_create("jail_lock");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, landlock_denies, 0, (int)array_size(deeds));
	tcase_add_test(tc, what_is_open_stays);
	tcase_add_test(tc, process_is_locked);
	tcase_add_test(tc, kernel_without_landlock);
	tcase_add_test(tc, unknown_protection);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
