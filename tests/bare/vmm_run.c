#include "vmm_run.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <base/cleanup.h>

/* Long: the emulated host is a hundred times slower than a machine. */
#define DEADLINE_MS 60000

static int open_bare(const char *file)
{
	char path[4096];
	const char *dir = getenv("KOSVM_BARE");
	int fd;

	ck_assert_msg(dir != NULL, "KOSVM_BARE is not set: use tests/bare/run");
	(void)snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

int vmm_run_add_fd(struct vmm_run *v, int fd)
{
	ck_assert_int_ge(fd, 0);
	ck_assert_uint_lt(v->nfds, FDPASS_MAX_FDS);
	v->fds[v->nfds] = fd;
	return (int)v->nfds++;
}

void vmm_run_set_guest(struct vmm_run *v, const char *file)
{
	int fd = open_bare(file);
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	v->board.kernel_size = (uint64_t)st.st_size;
	close_fd(&v->fds[v->board.kernel_fd]);
	v->fds[v->board.kernel_fd] = fd;
}

#ifdef BARE_SANITIZED
#define BARE_FILTERS 0
#else
#define BARE_FILTERS (BOARD_CONFINE_PROCESS | BOARD_CONFINE_SECCOMP)
#endif

static void init(struct vmm_run *v, const char *kvm, const char *cmdline)
{
	*v = (struct vmm_run){ .sock = -1, .door = -1, .ended = -1 };
	v->board = (struct board){
		.memory = 16 << 20,
		.vcpus = 1,
		.initrd_fd = BOARD_NO_FD,
		.listen_fd = BOARD_NO_FD,
		.end_fd = BOARD_NO_FD,
		.serial_limit = 1 << 20,
		/* Each test is one that the filters are wide enough; the sanitizers' need more. */
		.confine = BARE_FILTERS,
	};
	(void)snprintf(v->board.cmdline, sizeof(v->board.cmdline), "%s", cmdline);
	v->board.kvm_fd = vmm_run_add_fd(v, open(kvm, O_RDWR | O_CLOEXEC));
	v->board.kernel_fd = vmm_run_add_fd(v, open("/dev/null", O_RDONLY | O_CLOEXEC));
	vmm_run_set_guest(v, "guest.elf");
	v->serial = memfd_create("serial", MFD_CLOEXEC);
	v->board.serial_fd = vmm_run_add_fd(v, fcntl(v->serial, F_DUPFD_CLOEXEC, 0));
}

void vmm_run_init(struct vmm_run *v, const char *cmdline)
{
	init(v, "/dev/kvm", cmdline);
}

void vmm_run_init_no_kvm(struct vmm_run *v, const char *cmdline)
{
	init(v, "/dev/null", cmdline);
}

struct board_slot *vmm_run_add_blk(struct vmm_run *v, int fd, uint64_t size)
{
	struct board_slot *s = board_add_slot(&v->board, BOARD_BLK);

	ck_assert_ptr_nonnull(s);
	s->fd = vmm_run_add_fd(v, fd);
	s->size = size;
	(void)snprintf(s->serial, sizeof(s->serial), "bare-disk");
	return s;
}

struct board_slot *vmm_run_add_vsock(struct vmm_run *v, uint64_t cid)
{
	struct board_slot *s = board_add_slot(&v->board, BOARD_VSOCK);

	ck_assert_ptr_nonnull(s);
	s->cid = cid;
	return s;
}

/* In the child: from here on every way to open a path kills the process. */
static void forbid_open(void)
{
#define FORBID(call)                                                                               \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1),                                     \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		FORBID(open),
		FORBID(openat),
		FORBID(openat2),
		FORBID(creat),
		FORBID(socket),
		FORBID(fork),
		FORBID(vfork),
		FORBID(unlink),
		FORBID(rename),
		FORBID(mkdir),
		FORBID(mount),
		FORBID(ptrace),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {
		.len = sizeof(filter) / sizeof(filter[0]),
		.filter = filter,
	};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		_exit(126);
}

static void exec_vmm(const struct vmm_run *v, const char *program, int sock)
{
	char name[] = "kosvm-vmm";
	char *argv[] = { name, NULL };
	struct rlimit limit = { v->address_space, v->address_space };
	struct rlimit files = { v->open_files, v->open_files };
	int high = fcntl(sock, F_DUPFD, 100);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (high < 0 || dup2(high, VMM_PROTO_FD) < 0 || close(high) < 0)
		_exit(126);
	if (v->address_space > 0 && setrlimit(RLIMIT_AS, &limit) < 0)
		_exit(126);
	if (v->open_files > 0 && setrlimit(RLIMIT_NOFILE, &files) < 0)
		_exit(126);
	if (v->no_open)
		forbid_open();
	(void)execv(program, argv);
	_exit(127);
}

void vmm_run_spawn(struct vmm_run *v)
{
	const char *program = getenv("KOSVM_VMM");
	int pair[2];

	ck_assert_msg(program != NULL, "KOSVM_VMM is not set: use tests/bare/run");
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	v->pid = fork();
	ck_assert_int_ge(v->pid, 0);
	if (v->pid == 0)
		exec_vmm(v, program, pair[1]);
	(void)close(pair[1]);
	v->sock = pair[0];
}

void vmm_run_send_board(struct vmm_run *v)
{
	static _Alignas(8) uint8_t fdt[BOARD_FDT_MAX];
	struct kerr e;
	int len = board_encode(&v->board, fdt, sizeof(fdt), &e);

	ck_assert_msg(len > 0, "%s", e.msg);
	ck_assert_int_eq(
		vmm_proto_send(v->sock, VMM_MSG_BOOT, fdt, (size_t)len, v->fds, v->nfds), 0);
}

void vmm_run_start(struct vmm_run *v)
{
	vmm_run_spawn(v);
	vmm_run_send_board(v);
}

static void next_message(struct vmm_run *v, struct vmm_msg *ret)
{
	struct pollfd p = { .fd = v->sock, .events = POLLIN };
	int r;

	ck_assert_msg(
		poll(&p, 1, DEADLINE_MS) == 1, "no message in time; serial: %s", vmm_run_serial(v));
	r = vmm_proto_recv(v->sock, ret);
	if (r == 0)
		vmm_run_wait_exit(v);
	ck_assert_msg(r == 1, "control socket: %d; exit code %d; serial: %s", r, v->exit_code,
		vmm_run_serial(v));
}

void vmm_run_expect(struct vmm_run *v, enum vmm_msg_type type, struct vmm_msg *ret)
{
	next_message(v, ret);
	ck_assert_msg(ret->type == type, "message %u in the place of %u: %s; serial: %s", ret->type,
		type, ret->type == VMM_MSG_ENDED ? ret->u.ended.text : "", vmm_run_serial(v));
}

void vmm_run_wait_exit(struct vmm_run *v)
{
	int status;

	for (int waited = 0; waited < DEADLINE_MS; waited += 5) {
		pid_t r = waitpid(v->pid, &status, WNOHANG);

		ck_assert_int_ge(r, 0);
		if (r > 0) {
			v->pid = 0;
			v->exit_code =
				WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
			return;
		}
		(void)usleep(5000);
	}
	ck_abort_msg("kosvm-vmm does not end; serial: %s", vmm_run_serial(v));
}

void vmm_run_expect_ended(struct vmm_run *v, enum vmm_end reason, const char *text)
{
	struct vmm_msg msg;
	struct vmm_msg_ended *ended = &msg.u.ended;

	do
		next_message(v, &msg);
	while (msg.type == VMM_MSG_RUNNING);
	ck_assert_uint_eq(msg.type, VMM_MSG_ENDED);
	ck_assert_msg(ended->reason == reason, "ended for reason %u, not %u: %s; serial: %s",
		ended->reason, reason, ended->text, vmm_run_serial(v));
	ck_assert_msg(!text || strstr(ended->text, text), "ENDED says: %s", ended->text);
	vmm_run_wait_exit(v);
	ck_assert_int_eq(v->exit_code, reason == VMM_END_ERROR ? 1 : 0);
}

const char *vmm_run_serial(struct vmm_run *v)
{
	static char text[65536];
	ssize_t n = pread(v->serial, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

void vmm_run_wait_serial(struct vmm_run *v, const char *text)
{
	for (int waited = 0; waited < DEADLINE_MS; waited += 5) {
		if (strstr(vmm_run_serial(v), text))
			return;
		(void)usleep(5000);
	}
	ck_abort_msg("the guest did not print \"%s\" but: %s", text, vmm_run_serial(v));
}

void vmm_run_done(struct vmm_run *v)
{
	if (v->pid > 0) {
		(void)kill(v->pid, SIGKILL);
		(void)waitpid(v->pid, NULL, 0);
	}
	for (size_t i = 0; i < v->nfds; i++)
		close_fd(&v->fds[i]);
	close_fd(&v->serial);
	close_fd(&v->sock);
	close_fd(&v->door);
	close_fd(&v->ended);
}
