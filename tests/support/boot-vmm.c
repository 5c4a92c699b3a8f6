/*
 * boot-vmm: starts kosvm-vmm as the supervisor does (socket pair, BOOT with
 * a board and its descriptors), passes the guest's console on and says how
 * it ended. With a command behind "--" it starts that instead and reads the
 * console from its standard output: so another VMM is measured alike.
 */
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <fcntl.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>
#include <base/log.h>
#include <base/units.h>
#include <wire/board.h>
#include <wire/vmm_proto.h>

#include "memory-use.h"

enum { EXIT_RESET = 3, EXIT_ERROR = 5, EXIT_TIMEOUT = 124 };

struct options {
	const char *vmm, *kernel, *initrd, *mark;
	const char *disks[BOARD_MAX_SLOTS];
	unsigned disk_count;
	bool rng, memory_use;
	uint64_t cid, timeout_ns;
	char **command; /* NULL: kosvm-vmm */
	struct board board;
};

struct run {
	pid_t pid;
	int console; /* read end */
	int socket;  /* to kosvm-vmm, -1 with a command */
	uint64_t start_ns, mark_ns;
	struct memory_use use;
	char line[4096];
	size_t line_len;
	int code;
};

static const char usage[] =
	"usage: boot-vmm [OPTION]... [-- COMMAND [ARG]...]\n"
	"  --vmm FILE        kosvm-vmm\n"
	"  --kernel FILE     vmlinux\n"
	"  --initrd FILE     initramfs\n"
	"  --memory SIZE     guest memory (128M)\n"
	"  --cpus N          vCPUs (1)\n"
	"  --cmdline TEXT    of the kernel (BOARD_CMDLINE_DEFAULT)\n"
	"  --disk FILE       a virtio-blk slot; FILE,ro is read-only; may be repeated\n"
	"  --vsock CID       a virtio-vsock slot\n"
	"  --rng             a virtio-rng slot\n"
	"  --mark TEXT       says when the console first shows a line with TEXT\n"
	"  --memory-use      at that moment, the process's memory outside guest memory\n"
	"  --timeout TIME    kills it after that long (120s)\n"
	"exit code: 0 power-off or COMMAND's own, 3 reset, 5 error, 124 timeout\n";

static int parse(int argc, char **argv, struct options *o)
{
	enum { VMM = 1, KERNEL, INITRD, MEMORY, CPUS, CMDLINE, DISK, VSOCK, RNG, MARK, USE, TIME };
	static const struct option longs[] = {
		{ "vmm", 1, NULL, VMM },
		{ "kernel", 1, NULL, KERNEL },
		{ "initrd", 1, NULL, INITRD },
		{ "memory", 1, NULL, MEMORY },
		{ "cpus", 1, NULL, CPUS },
		{ "cmdline", 1, NULL, CMDLINE },
		{ "disk", 1, NULL, DISK },
		{ "vsock", 1, NULL, VSOCK },
		{ "rng", 0, NULL, RNG },
		{ "mark", 1, NULL, MARK },
		{ "memory-use", 0, NULL, USE },
		{ "timeout", 1, NULL, TIME },
		{ 0 },
	};
	uint64_t n = 0;
	int opt, r = 0;

	*o = (struct options){ .timeout_ns = 120 * CLOCK_NS_PER_S,
		.board = { .memory = 128 << 20, .vcpus = 1 } };
	(void)snprintf(o->board.cmdline, sizeof(o->board.cmdline), "%s", BOARD_CMDLINE_DEFAULT);
	while (r == 0 && (opt = getopt_long(argc, argv, "+", longs, NULL)) != -1) {
		switch (opt) {
		case VMM:
			o->vmm = optarg;
			break;
		case KERNEL:
			o->kernel = optarg;
			break;
		case INITRD:
			o->initrd = optarg;
			break;
		case MEMORY:
			r = units_parse_size(optarg, &o->board.memory);
			break;
		case CPUS:
			r = units_parse_u64(optarg, BOARD_MAX_VCPUS, &n);
			o->board.vcpus = (uint32_t)n;
			break;
		case CMDLINE:
			(void)snprintf(o->board.cmdline, sizeof(o->board.cmdline), "%s", optarg);
			break;
		case DISK:
			if (o->disk_count == array_size(o->disks))
				return -EINVAL;
			o->disks[o->disk_count++] = optarg;
			break;
		case VSOCK:
			r = units_parse_u64(optarg, UINT32_MAX, &o->cid);
			break;
		case RNG:
			o->rng = true;
			break;
		case MARK:
			o->mark = optarg;
			break;
		case USE:
			o->memory_use = true;
			break;
		case TIME:
			r = units_parse_duration(optarg, &o->timeout_ns);
			break;
		default:
			return -EINVAL;
		}
	}
	if (optind < argc)
		o->command = argv + optind;
	return r == 0 && (o->command || (o->vmm && o->kernel)) ? 0 : -EINVAL;
}

/* Opens a file for the board: returns its index in the table, exits with a message. */
static int add_file(int *fds, size_t *n, const char *path, int flags, uint64_t *ret_size)
{
	struct stat st;
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0 || *n == FDPASS_MAX_FDS) {
		log_error("%s: %s", path, strerror(errno));
		exit(EXIT_ERROR);
	}
	if (ret_size)
		*ret_size = (uint64_t)st.st_size;
	fds[*n] = fd;
	return (int)(*n)++;
}

static void add_disk(struct board *b, const char *arg, int *fds, size_t *n)
{
	char path[4096];
	struct board_slot *slot = board_add_slot(b, BOARD_BLK);
	char *comma;

	(void)snprintf(path, sizeof(path), "%s", arg);
	comma = strrchr(path, ',');
	if (comma && strcmp(comma, ",ro") == 0) {
		*comma = '\0';
		slot->read_only = true;
	}
	slot->fd = add_file(fds, n, path, slot->read_only ? O_RDONLY : O_RDWR, &slot->size);
}

/* Sends BOOT; console_fd is handed over as the serial line. */
static int send_boot(struct options *o, int sock, int console_fd, struct kerr *e)
{
	static uint8_t fdt[BOARD_FDT_MAX] __attribute__((aligned(8)));
	struct board *b = &o->board;
	int fds[FDPASS_MAX_FDS];
	size_t n = 0;
	int len, r;

	b->kvm_fd = add_file(fds, &n, "/dev/kvm", O_RDWR, NULL);
	b->kernel_fd = add_file(fds, &n, o->kernel, O_RDONLY, &b->kernel_size);
	b->initrd_fd = BOARD_NO_FD;
	b->listen_fd = BOARD_NO_FD;
	b->end_fd = BOARD_NO_FD;
	if (o->initrd)
		b->initrd_fd = add_file(fds, &n, o->initrd, O_RDONLY, &b->initrd_size);
	b->serial_fd = (int)n;
	b->serial_limit = 64 << 20;
	fds[n++] = console_fd;
	for (unsigned i = 0; i < o->disk_count; i++)
		add_disk(b, o->disks[i], fds, &n);
	if (o->cid)
		board_add_slot(b, BOARD_VSOCK)->cid = o->cid;
	if (o->rng)
		(void)board_add_slot(b, BOARD_RNG);
	len = board_encode(b, fdt, sizeof(fdt), e);
	if (len < 0)
		return len;
	r = vmm_proto_send(sock, VMM_MSG_BOOT, fdt, (size_t)len, fds, n);
	if (r < 0)
		return kerr_errno(e, -r, "cannot send BOOT");
	while (n > 0)
		(void)close(fds[--n]);
	return 0;
}

/* In the child: only the standard descriptors and, for kosvm-vmm, its socket are left. */
static void exec_vmm(const struct options *o, int sock, int console_fd)
{
	char *vmm_argv[] = { (char *)o->vmm, NULL };
	char **argv = o->command ? o->command : vmm_argv;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (o->command ? dup2(console_fd, STDOUT_FILENO) < 0 : dup2(sock, VMM_PROTO_FD) < 0)
		_exit(126);
	if (!o->command && sock == VMM_PROTO_FD)
		(void)fcntl(sock, F_SETFD, 0);
	(void)execvp(argv[0], argv);
	log_error("%s: %s", argv[0], strerror(errno));
	_exit(127);
}

static int start(struct options *o, struct run *run, struct kerr *e)
{
	int sock[2] = { -1, -1 }, pipes[2], r = 0;

	if (pipe2(pipes, O_CLOEXEC) < 0 ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) < 0)
		return kerr_errno(e, errno, "pipe or socket pair");
	run->console = pipes[0];
	run->socket = sock[0];
	run->start_ns = clock_mono_ns();
	run->pid = fork();
	if (run->pid < 0)
		return kerr_errno(e, errno, "fork");
	if (run->pid == 0)
		exec_vmm(o, sock[1], pipes[1]);
	close_fd(&sock[1]);
	if (o->command)
		close_fd(&pipes[1]);
	else
		r = send_boot(o, sock[0], pipes[1], e);
	return r;
}

static void line_done(const struct options *o, struct run *run)
{
	run->line[run->line_len] = '\0';
	run->line_len = 0;
	if (run->mark_ns || !o->mark || !strstr(run->line, o->mark))
		return;
	run->mark_ns = clock_mono_ns();
	if (o->memory_use && memory_use_read(run->pid, o->board.memory, &run->use) < 0)
		log_warn("cannot tell guest memory from the rest of process %d", run->pid);
}

/* False at the end of the stream. */
static bool pass_console(const struct options *o, struct run *run)
{
	char buf[4096];
	ssize_t n = read(run->console, buf, sizeof(buf));

	if (n <= 0)
		return n < 0 && errno == EINTR;
	(void)io_write_full(STDOUT_FILENO, buf, (size_t)n);
	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] == '\n' || run->line_len == sizeof(run->line) - 1)
			line_done(o, run);
		else
			run->line[run->line_len++] = buf[i];
	}
	return true;
}

/* False when nothing more will come. */
static bool take_message(struct run *run)
{
	static struct vmm_msg msg;
	static const int codes[] = { [VMM_END_POWEROFF] = 0,
		[VMM_END_RESET] = EXIT_RESET,
		[VMM_END_QUIT] = 0,
		[VMM_END_ERROR] = EXIT_ERROR };
	int r = vmm_proto_recv(run->socket, &msg);

	if (r <= 0)
		return r == -EAGAIN;
	if (msg.type == VMM_MSG_GUEST_CONNECT) {
		struct vmm_msg_id refuse = { .id = msg.u.guest_connect.id };

		(void)vmm_proto_send(run->socket, VMM_MSG_REFUSE, &refuse, sizeof(refuse), NULL, 0);
	} else if (msg.type == VMM_MSG_ENDED) {
		log_info("ended: %s", msg.u.ended.text);
		run->code = msg.u.ended.reason < array_size(codes) ? codes[msg.u.ended.reason]
								   : EXIT_ERROR;
	}
	return true;
}

static int watch(const struct options *o, struct run *run)
{
	struct pollfd p[] = { { .fd = run->console, .events = POLLIN },
		{ .fd = run->socket, .events = POLLIN } };
	uint64_t deadline = run->start_ns + o->timeout_ns;

	while (p[0].fd >= 0 || p[1].fd >= 0) {
		uint64_t now = clock_mono_ns();

		if (now >= deadline) {
			(void)kill(run->pid, SIGKILL);
			return -ETIMEDOUT;
		}
		if (poll(p, 2, (int)((deadline - now) / CLOCK_NS_PER_MS) + 1) <= 0)
			continue;
		if (p[0].revents && !pass_console(o, run))
			p[0].fd = -1;
		if (p[1].revents && !take_message(run))
			p[1].fd = -1;
	}
	return 0;
}

static void report(const struct options *o, const struct run *run)
{
	if (run->mark_ns)
		log_info("mark after %.1f ms",
			(double)(run->mark_ns - run->start_ns) / (double)CLOCK_NS_PER_MS);
	else if (o->mark)
		log_warn("no line with \"%s\"", o->mark);
	if (run->use.guest_kib)
		log_info("outside guest memory: Rss %llu KiB, Pss %llu KiB; guest Rss %llu KiB",
			(unsigned long long)run->use.rss_kib, (unsigned long long)run->use.pss_kib,
			(unsigned long long)run->use.guest_rss_kib);
}

int main(int argc, char **argv)
{
	static struct options o;
	static struct run run = { .console = -1, .socket = -1, .code = EXIT_ERROR };
	struct kerr e = { 0 };
	int status = 0, r;

	log_init("boot-vmm", LOG_LEVEL_INFO);
	if (parse(argc, argv, &o) < 0) {
		(void)fputs(usage, stderr);
		return 2;
	}
	r = start(&o, &run, &e);
	if (r < 0) {
		log_error("%s", e.msg);
		return EXIT_ERROR;
	}
	r = watch(&o, &run);
	(void)waitpid(run.pid, &status, 0);
	report(&o, &run);
	if (r == -ETIMEDOUT) {
		log_error("killed after its time was up");
		return EXIT_TIMEOUT;
	}
	if (WIFSIGNALED(status)) {
		log_error("killed by signal %d", WTERMSIG(status));
		return EXIT_ERROR;
	}
	return o.command ? WEXITSTATUS(status) : run.code;
}
