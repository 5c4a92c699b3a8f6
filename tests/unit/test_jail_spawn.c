/*
 * tests/support/attacker in the place of kosvm-vmm: each attempt is made as kosvmd
 * would start it without a jail, where it must work or it proves nothing,
 * and in the jail, where it must not; then again behind the lock of jail/lock.h,
 * where most of them end the process.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <jail/spawn.h>
#include <wire/board.h>
#include <wire/vmm_proto.h>

#include "attacker.h"

#define UID     1879048192u
#define STOPPED (-1) /* by SIGSYS */

static struct attack base;
static struct kerr e;
static char dir[32];
static int tcp = -1, abstract_fd = -1, path_fd = -1, file = -1, queue = -1, spare = -1;
static int kvm = -1, output = -1; /* what is its descriptor 2 */
static pid_t victim, other;
static char said[600];

static int listening(int family, const void *name, socklen_t len)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, name, len), 0);
	ck_assert_int_eq(listen(fd, 64), 0);
	return fd;
}

static void setup(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(in);

	base = (struct attack){ .pages = 5000 };
	(void)snprintf(dir, sizeof(dir), "/tmp/kosvm-jail-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chmod(dir, 0755), 0);
	(void)snprintf(base.path, sizeof(base.path), "%s/file", dir);
	file = open(base.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(fchmod(file, 0666), 0);
	(void)snprintf(base.socket, sizeof(base.socket), "%s/socket", dir);
	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", base.socket);
	path_fd = listening(AF_UNIX, &un, sizeof(un));
	ck_assert_int_eq(chmod(base.socket, 0666), 0);
	(void)snprintf(base.abstract, sizeof(base.abstract), "%s", dir);
	un = (struct sockaddr_un){ .sun_family = AF_UNIX };
	(void)snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "%s", dir);
	abstract_fd = listening(AF_UNIX, &un, sizeof(un));
	tcp = listening(AF_INET, &in, sizeof(in));
	ck_assert_int_eq(getsockname(tcp, (struct sockaddr *)&in, &len), 0);
	base.port = ntohs(in.sin_port);
	victim = fork();
	ck_assert_int_ge(victim, 0);
	if (victim == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)pause();
	}
	base.victim = victim;
	/* Another agent: a uid of its own, a file of its own. */
	(void)snprintf(base.others_path, sizeof(base.others_path), "%s/others", dir);
	ck_assert_int_eq(close(open(base.others_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)), 0);
	ck_assert_int_eq(chown(base.others_path, UID + 1, UID + 1), 0);
	other = fork();
	ck_assert_int_ge(other, 0);
	if (other == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setresuid(UID + 1, UID + 1, UID + 1) < 0)
			_exit(1);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)raise(SIGSTOP);
		for (;;)
			(void)pause();
	}
	ck_assert_int_eq(waitpid(other, NULL, WUNTRACED), other);
	base.other = other;
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	output = file;
	queue = msgget(victim, IPC_CREAT | 0666);
	ck_assert_int_ge(queue, 0);
	/* One that a careless parent would leave open. */
	spare = fcntl(file, F_DUPFD, 900);
	ck_assert_int_ge(spare, 0);
}

static void teardown(void)
{
	(void)kill(victim, SIGKILL);
	(void)waitpid(victim, NULL, 0);
	(void)kill(other, SIGKILL);
	(void)waitpid(other, NULL, 0);
	close_fd(&kvm);
	(void)msgctl(queue, IPC_RMID, NULL);
	close_fd(&tcp);
	close_fd(&abstract_fd);
	close_fd(&path_fd);
	close_fd(&file);
	close_fd(&spare);
	(void)unlink(base.path);
	(void)unlink(base.others_path);
	(void)unlink(base.socket);
	(void)unlink("/kosvm-attacker");
	(void)unlink("/tmp/kosvm-attacker");
	(void)rmdir(dir);
}

/* 0: it worked; an errno; STOPPED. */
static int outcome(int status)
{
	if (WIFSIGNALED(status)) {
		ck_assert_int_eq(WTERMSIG(status), SIGSYS);
		return STOPPED;
	}
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* As kosvmd did it before there was a jail. */
static int without(const struct attack *a)
{
	int sv[2];
	int status;
	pid_t pid;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)setpgid(0, 0);
		(void)dup2(sv[1], VMM_PROTO_FD);
		(void)dup2(output, 2);
		(void)execl(ATTACKER, "attacker", (char *)0);
		_exit(252);
	}
	ck_assert_int_eq((int)send(sv[0], a, sizeof(*a), 0), (int)sizeof(*a));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	(void)close(sv[0]);
	(void)close(sv[1]);
	return outcome(status);
}

static int jailed(const struct attack *a, uint32_t protections)
{
	_cleanup_close_ int program = open(ATTACKER, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int pidfd = -1;
	struct jail_config cfg = {
		.protections = protections,
		.uid = UID,
		.file_size = 1 << 20,
		.name = "attacker",
		.program_fd = program,
		.memory = 64 << 20,
		.stderr_fd = output,
	};
	static struct vmm_msg m;
	int sv[2];
	int status;
	pid_t pid;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	cfg.socket_fd = sv[1];
	ck_assert_msg(jail_spawn(&cfg, &pid, &pidfd, &e) == 0, "%s", e.msg);
	ck_assert_int_eq((int)send(sv[0], a, sizeof(*a), 0), (int)sizeof(*a));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	(void)close(sv[1]);
	said[0] = '\0';
	if (vmm_proto_recv(sv[0], &m) == 1 && m.type == VMM_MSG_ENDED)
		(void)snprintf(said, sizeof(said), "%s", m.u.ended.text);
	(void)close(sv[0]);
	return outcome(status);
}

static const struct {
	const char *deed;
	uint32_t by;  /* the one protection that is enough; 0: any spawn */
	int want;     /* the errno in the jail */
	bool no_peer; /* it would not work here without the jail, whatever that is */
} attempts[] = {
	{ "open a path", JAIL_MOUNT, ENOENT, false },
	{ "read a user's file", JAIL_MOUNT, ENOENT, false },
	{ "list processes", JAIL_MOUNT, ENOENT, false },
	{ "make a file", JAIL_MOUNT, EROFS, false },
	{ "climb out", JAIL_MOUNT, ENOENT, false },
	{ "open a device", JAIL_MOUNT, ENOENT, false },
	{ "connect path", JAIL_MOUNT, ENOENT, false },
	{ "execute", JAIL_MOUNT, ENOENT, false },
	{ "make a device", JAIL_CAPABILITIES, EPERM, false },
	{ "remount", JAIL_CAPABILITIES, EPERM, true },
	{ "change the host name", JAIL_CAPABILITIES, EPERM, false },
	{ "make namespaces", JAIL_CAPABILITIES, EPERM, false },
	{ "join groups", JAIL_CAPABILITIES, EPERM, false },
	{ "dump core", JAIL_RLIMITS | JAIL_CAPABILITIES, EPERM, false },
	{ "lock memory", JAIL_RLIMITS | JAIL_CAPABILITIES, EPERM, false },
	{ "learn the host name", JAIL_UTS, ENOENT, false },
	{ "signal a process", JAIL_PID, ESRCH, false },
	{ "trace a process", JAIL_PID, ESRCH, false },
	{ "read other memory", JAIL_PID, ESRCH, false },
	{ "connect tcp", JAIL_NETWORK, ENETUNREACH, false },
	{ "connect abstract", JAIL_NETWORK, ECONNREFUSED, false },
	{ "share messages", JAIL_IPC, ENOENT, false },
	{ "be root", JAIL_IDENTITY, EPERM, false },
	{ "open another's file", JAIL_IDENTITY, EACCES, false },
	{ "signal another", JAIL_IDENTITY, EPERM, false },
	{ "take memory", JAIL_RLIMITS, ENOMEM, false },
	{ "open many files", JAIL_RLIMITS, EMFILE, false },
	{ "write a big file", JAIL_RLIMITS, EFBIG, false },
	{ "make many processes", JAIL_RLIMITS | JAIL_IDENTITY, EAGAIN, false },
	{ "use other descriptors", 0, EBADF, false },
	{ "read the environment", 0, ENOENT, false },
};

static struct attack attack_of(const char *deed)
{
	struct attack a = base;
	struct rlimit files;

	(void)snprintf(a.deed, sizeof(a.deed), "%s", deed);
	if (strcmp(deed, "make many processes") == 0)
		a.pages = 80;
	/* More than the jail gives, and no more than we may have ourselves. */
	if (strcmp(deed, "open many files") == 0 && getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
	}
	return a;
}

START_TEST(each_protection_alone)
{
	struct attack a = attack_of(attempts[_i].deed);
	int got = attempts[_i].no_peer ? 0 : without(&a);

	ck_assert_msg(got == 0, "%s: without a jail: %s", a.deed, strerror(got));
	got = jailed(&a, attempts[_i].by);
	ck_assert_msg(got == attempts[_i].want, "%s: in the jail: %d %s %s", a.deed, got,
		strerror(got), said);
	got = jailed(&a, JAIL_ALL);
	ck_assert_msg(got > 0 && got < 252, "%s: with all of it: %d %s", a.deed, got, said);
}
END_TEST

/* What the lock of jail/lock.h is for: each is possible in the rest of the jail. */
static const struct {
	const char *deed;
	bool privileged; /* only root can do it, so the jail stops it already */
} locked[] = {
	{ "fork", false },
	{ "execute", true },
	{ "make memory executable", false },
	{ "map executable", false },
	{ "use io_uring", false },
	{ "use userfaultfd", true },
	{ "use bpf", true },
	{ "use keyrings", false },
	{ "use perf", true },
	{ "make a user namespace", false },
	{ "see a network", true },
	{ "connect tcp", true },
	{ "connect abstract", true },
	{ "open a path", true },
	{ "signal a process", true },
	{ "trace a process", true },
	{ "be root", true },
	{ "make many processes", true },
	{ "open another's file", true },
	{ "signal another", true },
	{ "make another VM", false },
};

START_TEST(behind_the_lock)
{
	struct attack a = attack_of(locked[_i].deed);
	int got;

	if (strcmp(a.deed, "make another VM") == 0) {
		if (kvm < 0)
			return; /* this machine has none */
		output = kvm;
	}
	if (!locked[_i].privileged) {
		got = jailed(&a, JAIL_ALL & ~(uint32_t)JAIL_CAPABILITIES);
		/* A kernel may have been built, or set up, without it. */
		ck_assert_msg(
			got == 0 || got == ENOSYS || got == EPERM || got == ENOSPC || got == ENOMEM,
			"%s: without the lock: %s %s", a.deed, strerror(got), said);
	}
	a.confine = BOARD_CONFINE_ALL;
	got = jailed(&a, JAIL_ALL);
	ck_assert_msg(got == STOPPED, "%s: behind the lock: %d", a.deed, got);
}
END_TEST

START_TEST(says_what_failed)
{
	struct jail_config cfg = { .protections = JAIL_MOUNT, .name = "x", .stderr_fd = file };
	static struct vmm_msg m;
	_cleanup_close_ int pidfd = -1;
	int sv[2];
	int status;
	pid_t pid;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	cfg.socket_fd = sv[1];
	cfg.program_fd = file;
	ck_assert_msg(jail_spawn(&cfg, &pid, &pidfd, &e) == 0, "%s", e.msg);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(vmm_proto_recv(sv[0], &m), 1);
	ck_assert_int_eq(m.type, VMM_MSG_ENDED);
	ck_assert(vmm_msg_ended_valid(&m.u.ended));
	ck_assert_str_eq(m.u.ended.text,
		"jail: exec of kosvm-vmm: Permission denied: everybody must be allowed to execute "
		"it: chmod 755");
	(void)close(sv[0]);
	(void)close(sv[1]);
}
END_TEST

/* As an ordinary user: in a user namespace, all but an identity of its own. */
START_TEST(rootless)
{
	const uint32_t all = JAIL_ALL & ~(uint32_t)JAIL_IDENTITY;
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct attack a = attack_of("open a path");
		struct kerr why = { 0 };

		if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0 ||
			prctl(PR_SET_DUMPABLE, 1) < 0)
			_exit(1);
		if (jail_probe(JAIL_IDENTITY, UID, &why) == 0)
			_exit(2);
		if (jail_probe(JAIL_MOUNT, UID, &why) < 0)
			_exit(77); /* this host does not let ordinary users have any */
		_exit(jailed(&a, all) == ENOENT ? 0 : 3);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_msg(
		WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77, "%d", WEXITSTATUS(status));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("jail_spawn");
	TCase *t = tcase_create("jail_spawn");
	SRunner *r;
	int failed;

	if (geteuid() != 0) {
		(void)puts("skipped: only root can do without a jail what it forbids");
		return 77;
	}
	(void)setenv("KOSVM_LEFT_OVER", "1", 1);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, each_protection_alone, 0, array_size(attempts));
	tcase_add_loop_test(t, behind_the_lock, 0, array_size(locked));
	tcase_add_test(t, says_what_failed);
	tcase_add_test(t, rootless);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
