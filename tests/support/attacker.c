/*
 * Never installed: what somebody would try who runs code of his own in the
 * process of a VMM. One deed a life.
 */
#include "attacker.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>

#include <base/cleanup.h>
#include <jail/lock.h>
#include <wire/vmm_proto.h>

static struct attack order;

static int result(long r)
{
	return r < 0 ? errno : 0;
}

static int open_a_path(void)
{
	return result(open(order.path, O_RDWR | O_CLOEXEC));
}

static int open_anothers_file(void)
{
	return result(open(order.others_path, O_RDWR | O_CLOEXEC));
}

static int read_a_users_file(void)
{
	return result(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}

static int list_processes(void)
{
	DIR *d = opendir("/proc");
	struct dirent *entry;

	if (!d)
		return errno;
	while ((entry = readdir(d))) {
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			return 0;
	}
	return ENOENT;
}

static int make_a_file(void)
{
	return result(open("/kosvm-attacker", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
}

static int climb_out(void)
{
	struct stat st;

	for (int i = 0; i < 20; i++)
		(void)!chdir("..");
	return result(stat("etc/passwd", &st));
}

static int remount(void)
{
	return result(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
}

static int make_a_device(void)
{
	(void)unlink("/tmp/kosvm-attacker");
	return result(mknod("/tmp/kosvm-attacker", S_IFCHR | 0600, 0x0103));
}

static int signal_a_process(void)
{
	return result(kill(order.victim, 0));
}

static int signal_another(void)
{
	return result(kill(order.other, 0));
}

static int trace_a_process(void)
{
	return result(ptrace(PTRACE_SEIZE, order.victim, NULL, NULL));
}

static int change_the_host_name(void)
{
	struct utsname u;

	/* To what it is: works without a trace. */
	return uname(&u) < 0 ? errno : result(sethostname(u.nodename, strlen(u.nodename)));
}

static int learn_the_host_name(void)
{
	struct utsname u;

	return uname(&u) < 0 ? errno : strcmp(u.nodename, "kosvm") == 0 ? ENOENT : 0;
}

static int connect_tcp(void)
{
	const struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(order.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? errno : result(connect(fd, (const struct sockaddr *)&to, sizeof(to)));
}

static int connect_unix(const char *name, bool abstract)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(to.sun_path + abstract, sizeof(to.sun_path) - 1, "%s", name);
	return fd < 0 ? errno : result(connect(fd, (struct sockaddr *)&to, sizeof(to)));
}

static int connect_abstract(void)
{
	return connect_unix(order.abstract, true);
}

static int connect_path(void)
{
	return connect_unix(order.socket, false);
}

/* Whatever the kernel would tell about the host's interfaces and routes. */
static int see_a_network(void)
{
	struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? errno : result(connect(fd, (struct sockaddr *)&to, sizeof(to)));
}

static int share_messages(void)
{
	return result(msgget(order.victim, 0));
}

static int be_root(void)
{
	return getuid() == 0 ? 0 : result(setuid(0));
}

static int join_groups(void)
{
	const gid_t disk = 6;

	return result(setgroups(1, &disk));
}

static int make_namespaces(void)
{
	return result(unshare(CLONE_NEWNS));
}

static int make_a_user_namespace(void)
{
	return result(unshare(CLONE_NEWUSER));
}

static int execute(void)
{
	char *const argv[] = { (char *)"true", NULL };

	return result(execve("/bin/true", argv, NULL));
}

static int fork_one(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return result(pid);
}

static int make_memory_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : result(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int map_executable(void)
{
	void *p = mmap(
		NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : 0;
}

static int use_io_uring(void)
{
	struct io_uring_params p = { 0 };

	return result(syscall(SYS_io_uring_setup, 4, &p));
}

static int use_userfaultfd(void)
{
	return result(syscall(SYS_userfaultfd, O_CLOEXEC));
}

static int use_bpf(void)
{
	/* BPF_MAP_CREATE: an array of one number */
	const uint32_t attr[18] = { 2, 4, 4, 1 };

	return result(syscall(SYS_bpf, 0, attr, sizeof(attr)));
}

static int use_keyrings(void)
{
	return result(syscall(SYS_add_key, "user", "kosvm-attacker", "x", 1, -2));
}

static int use_perf(void)
{
	struct perf_event_attr a = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(a), .config = PERF_COUNT_SW_TASK_CLOCK
	};

	return result(syscall(SYS_perf_event_open, &a, 0, -1, -1, 0));
}

static int read_other_memory(void)
{
	char byte;
	struct iovec here = { &byte, 1 };
	struct iovec there = { &order, 1 };

	/* Its own address there is one of ours as well: the static program of the victim. */
	return process_vm_readv(order.victim, &here, 1, &there, 1, 0) < 0 && errno != EFAULT ? errno
											     : 0;
}

static int open_another_kvm(void)
{
	return result(open("/dev/null", O_RDWR | O_CLOEXEC));
}

/* A descriptor that the parent has, and it was not given. */
static int use_other_descriptors(void)
{
	for (int fd = 5; fd < 1024; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			return 0;
	}
	return EBADF;
}

static int read_the_environment(void)
{
	extern char **environ;

	return environ && *environ ? 0 : ENOENT;
}

static int dump_core(void)
{
	struct rlimit rl = { RLIM_INFINITY, RLIM_INFINITY };

	return result(setrlimit(RLIMIT_CORE, &rl));
}

static int lock_memory(void)
{
	void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : result(mlock(p, 1 << 20));
}

static int open_many_files(void)
{
	for (uint64_t i = 0; i < order.pages; i++) {
		if (dup(2) < 0)
			return errno;
	}
	return 0;
}

static int make_many_processes(void)
{
	int err = 0;

	for (uint64_t i = 0; i < order.pages && !err; i++) {
		pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

		if (pid == 0) {
			(void)pause();
			_exit(0);
		}
		err = result(pid);
	}
	/* All of its group, but itself. */
	(void)signal(SIGTERM, SIG_IGN);
	(void)kill(0, SIGTERM);
	/* To the last one: the next attacker has the same uid, and its count. */
	while (waitpid(-1, NULL, 0) > 0)
		;
	return err;
}

static int take_memory(void)
{
	void *p = mmap(NULL, (size_t)order.pages * 65536, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? errno : 0;
}

/* Descriptor 2 is /dev/kvm. */
static int make_another_vm(void)
{
	return result(ioctl(2, KVM_CREATE_VM, 0));
}

static int write_a_big_file(void)
{
	return result(pwrite(2, "x", 1, (off_t)order.pages * 4096));
}

static const struct {
	const char *name;
	int (*fn)(void);
} deeds[] = {
	{ "open a path", open_a_path },
	{ "open another's file", open_anothers_file },
	{ "signal another", signal_another },
	{ "take memory", take_memory },
	{ "make another VM", make_another_vm },
	{ "read a user's file", read_a_users_file },
	{ "list processes", list_processes },
	{ "make a file", make_a_file },
	{ "climb out", climb_out },
	{ "remount", remount },
	{ "make a device", make_a_device },
	{ "signal a process", signal_a_process },
	{ "trace a process", trace_a_process },
	{ "read other memory", read_other_memory },
	{ "change the host name", change_the_host_name },
	{ "learn the host name", learn_the_host_name },
	{ "connect tcp", connect_tcp },
	{ "connect abstract", connect_abstract },
	{ "connect path", connect_path },
	{ "see a network", see_a_network },
	{ "share messages", share_messages },
	{ "be root", be_root },
	{ "join groups", join_groups },
	{ "make namespaces", make_namespaces },
	{ "make a user namespace", make_a_user_namespace },
	{ "execute", execute },
	{ "fork", fork_one },
	{ "make memory executable", make_memory_executable },
	{ "map executable", map_executable },
	{ "use io_uring", use_io_uring },
	{ "use userfaultfd", use_userfaultfd },
	{ "use bpf", use_bpf },
	{ "use keyrings", use_keyrings },
	{ "use perf", use_perf },
	{ "open a device", open_another_kvm },
	{ "use other descriptors", use_other_descriptors },
	{ "read the environment", read_the_environment },
	{ "dump core", dump_core },
	{ "lock memory", lock_memory },
	{ "open many files", open_many_files },
	{ "make many processes", make_many_processes },
	{ "write a big file", write_a_big_file },
};

int main(void)
{
	struct kerr e = { 0 };

	if (recv(VMM_PROTO_FD, &order, sizeof(order), 0) != sizeof(order))
		_exit(ATTACK_UNKNOWN);
	for (size_t i = 0; i < array_size(deeds); i++) {
		if (strcmp(deeds[i].name, order.deed) != 0)
			continue;
		if (order.confine &&
			(jail_lock_process(order.confine, &e) < 0 ||
				jail_lock_thread(order.confine, JAIL_THREAD_LOOP, &e) < 0))
			_exit(ATTACK_UNLOCKABLE);
		_exit(deeds[i].fn());
	}
	_exit(ATTACK_UNKNOWN);
}
