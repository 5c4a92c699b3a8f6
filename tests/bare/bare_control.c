/* The control socket: what kosvmd may say when, and what a broken one gets. */
#include "bare_tests.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/cleanup.h>

#include "vmm_run.h"

static void start_and_wait(struct vmm_run *v, const char *cmdline, const char *line)
{
	struct vmm_msg msg;

	vmm_run_init(v, cmdline);
	vmm_run_start(v);
	vmm_run_expect(v, VMM_MSG_RUNNING, &msg);
	vmm_run_wait_serial(v, line);
}

START_TEST(quit_while_spinning)
{
	struct vmm_run v;

	start_and_wait(&v, "run=spin", "spinning\n");
	ck_assert_int_eq(vmm_proto_send(v.sock, VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
	vmm_run_expect_ended(&v, VMM_END_QUIT, "as told");
	vmm_run_done(&v);
}
END_TEST

START_TEST(quit_while_halted)
{
	struct vmm_run v;

	start_and_wait(&v, "run=halt", "halted\n");
	ck_assert_int_eq(vmm_proto_send(v.sock, VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
	vmm_run_expect_ended(&v, VMM_END_QUIT, "as told");
	vmm_run_done(&v);
}
END_TEST

START_TEST(quit_before_the_guest_gets_far)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=spin");
	v.board.vcpus = 3;
	vmm_run_start(&v);
	ck_assert_int_eq(vmm_proto_send(v.sock, VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
	vmm_run_expect_ended(&v, VMM_END_QUIT, "as told");
	vmm_run_done(&v);
}
END_TEST

START_TEST(sigterm_is_quit)
{
	struct vmm_run v;

	start_and_wait(&v, "run=spin", "spinning\n");
	ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
	vmm_run_expect_ended(&v, VMM_END_QUIT, "SIGTERM");
	vmm_run_done(&v);
}
END_TEST

START_TEST(end_of_stream_is_quit)
{
	struct vmm_run v;

	start_and_wait(&v, "run=spin", "spinning\n");
	close_fd(&v.sock);
	vmm_run_wait_exit(&v);
	ck_assert_int_eq(v.exit_code, 0);
	vmm_run_done(&v);
}
END_TEST

START_TEST(end_of_stream_before_boot)
{
	struct vmm_run v;

	vmm_run_init_no_kvm(&v, "");
	vmm_run_spawn(&v);
	close_fd(&v.sock);
	vmm_run_wait_exit(&v);
	ck_assert_int_lt(v.exit_code, 128);
	vmm_run_done(&v);
}
END_TEST

/* Closed right behind BOOT: whatever it was doing then, it goes without a word. */
START_TEST(end_of_stream_behind_boot)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=spin");
	vmm_run_start(&v);
	close_fd(&v.sock);
	vmm_run_wait_exit(&v);
	ck_assert_int_eq(v.exit_code, 0);
	vmm_run_done(&v);
}
END_TEST

START_TEST(second_boot)
{
	struct vmm_run v;

	start_and_wait(&v, "run=spin", "spinning\n");
	vmm_run_send_board(&v);
	vmm_run_expect_ended(&v, VMM_END_ERROR, "type 1 ");
	vmm_run_done(&v);
}
END_TEST

/* Raw datagrams: first the ones before BOOT, with no machine yet. */
struct raw {
	struct vmm_msg_hdr hdr;
	uint8_t payload[64];
};

static void send_raw(struct vmm_run *v, const struct raw *raw, size_t len)
{
	ck_assert_int_eq(send(v->sock, raw, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void refuse_first(const struct raw *raw, size_t len)
{
	struct vmm_run v;

	vmm_run_init_no_kvm(&v, "");
	vmm_run_spawn(&v);
	send_raw(&v, raw, len);
	vmm_run_expect_ended(&v, VMM_END_ERROR, "first message");
	vmm_run_done(&v);
}

START_TEST(malformed_first_messages)
{
	struct raw short_hdr = { 0 };
	struct raw version = { .hdr = { VMM_PROTO_VERSION - 1, VMM_MSG_QUIT, 0 } };
	struct raw type = { .hdr = { VMM_PROTO_VERSION, 999, 0 } };
	struct raw length = { .hdr = { VMM_PROTO_VERSION, VMM_MSG_QUIT, 7 } };
	struct raw quit = { .hdr = { VMM_PROTO_VERSION, VMM_MSG_QUIT, 0 } };
	struct raw no_fd = { .hdr = { VMM_PROTO_VERSION, VMM_MSG_CONNECT,
				     sizeof(struct vmm_msg_connect) } };

	refuse_first(&short_hdr, 3);
	refuse_first(&version, sizeof(version.hdr));
	refuse_first(&type, sizeof(type.hdr));
	refuse_first(&length, sizeof(length.hdr));
	refuse_first(&quit, sizeof(quit.hdr));
	refuse_first(&no_fd, sizeof(no_fd.hdr) + sizeof(struct vmm_msg_connect));
}
END_TEST

static void refuse_later(const struct raw *raw, size_t len)
{
	struct vmm_run v;

	start_and_wait(&v, "run=spin", "spinning\n");
	send_raw(&v, raw, len);
	vmm_run_expect_ended(&v, VMM_END_ERROR, "control socket");
	vmm_run_done(&v);
}

START_TEST(malformed_later_messages)
{
	struct raw type = { .hdr = { VMM_PROTO_VERSION, 999, 0 } };
	struct raw ours = { .hdr = { VMM_PROTO_VERSION, VMM_MSG_RUNNING, 0 } };

	refuse_later(&type, sizeof(type.hdr));
	refuse_later(&ours, sizeof(ours.hdr));
	refuse_later(&ours, 2);
}
END_TEST

/* One at a time: who asks on and on and reads no answer is not listened to for ever. */
START_TEST(answers_that_nobody_reads)
{
	struct vmm_msg_id id = { 0 };
	struct vmm_run v;
	struct vmm_msg msg;
	uint64_t answered = 0;

	start_and_wait(&v, "run=spin", "spinning\n");
	ck_assert_int_eq(fcntl(v.sock, F_SETFL, O_NONBLOCK), 0);
	for (int r = 0; r == 0;) {
		struct pollfd p = { .fd = v.sock, .events = POLLOUT };

		id.id++;
		ck_assert_uint_lt(id.id, 100000);
		r = vmm_proto_send(v.sock, VMM_MSG_STATS, &id, sizeof(id), NULL, 0);
		/* Full: it is slow, or takes no more; its last word waits for a second. */
		if (r == -EAGAIN && poll(&p, 1, 300) == 1) {
			id.id--;
			r = 0;
		}
	}
	ck_assert_int_eq(fcntl(v.sock, F_SETFL, 0), 0);
	/* What was answered was answered right; then comes its last word. */
	while (vmm_proto_recv(v.sock, &msg) == 1 && msg.type == VMM_MSG_REPLY)
		ck_assert_uint_eq(msg.u.reply.id, ++answered);
	ck_assert_uint_gt(answered, 0);
	ck_assert_uint_lt(answered, id.id);
	ck_assert_uint_eq(msg.type, VMM_MSG_ENDED);
	ck_assert_uint_eq(msg.u.ended.reason, VMM_END_ERROR);
	ck_assert_ptr_nonnull(strstr(msg.u.ended.text, "before the reply"));
	vmm_run_wait_exit(&v);
	vmm_run_done(&v);
}
END_TEST

/* A board that is cut, or flipped in one byte, never brings the program down. */
static void try_board(const uint8_t *fdt, size_t len, enum vmm_end want)
{
	struct vmm_run v;

	vmm_run_init_no_kvm(&v, "");
	vmm_run_spawn(&v);
	ck_assert_int_eq(vmm_proto_send(v.sock, VMM_MSG_BOOT, fdt, len, v.fds, v.nfds), 0);
	vmm_run_expect_ended(&v, want, NULL);
	vmm_run_done(&v);
}

START_TEST(broken_boards)
{
	static _Alignas(8) uint8_t fdt[BOARD_FDT_MAX];
	struct vmm_run v;
	struct kerr e;
	int len;

	vmm_run_init_no_kvm(&v, "run=hello");
	(void)vmm_run_add_vsock(&v, 9);
	len = board_encode(&v.board, fdt, sizeof(fdt), &e);
	ck_assert_int_gt(len, 0);
	vmm_run_done(&v);
	for (size_t cut = 1; cut < (size_t)len; cut += 97)
		try_board(fdt, cut, VMM_END_ERROR);
	/* /dev/null is no KVM, so that even a board still sound ends with an error. */
	for (size_t at = 0; at < (size_t)len; at += 61) {
		fdt[at] ^= 0xff;
		try_board(fdt, (size_t)len, VMM_END_ERROR);
		fdt[at] ^= 0xff;
	}
}
END_TEST

START_TEST(descriptor_that_did_not_come)
{
	struct vmm_run v;

	vmm_run_init_no_kvm(&v, "");
	v.board.serial_fd = 12;
	vmm_run_start(&v);
	vmm_run_expect_ended(&v, VMM_END_ERROR, "serial: property kosvm,fd = 12");
	vmm_run_done(&v);
}
END_TEST

/* A board that promises more than there is: nothing runs, and the file stays as it is. */
START_TEST(disk_that_is_smaller_than_its_board)
{
	struct vmm_run v;
	int disk = memfd_create("disk", MFD_CLOEXEC);
	int ours = fcntl(disk, F_DUPFD_CLOEXEC, 0);

	ck_assert_int_eq(ftruncate(disk, 4096), 0);
	vmm_run_init(&v, "run=mill rounds=1");
	(void)vmm_run_add_blk(&v, disk, 8192);
	vmm_run_start(&v);
	vmm_run_expect_ended(&v, VMM_END_ERROR, "at least 8192 bytes");
	ck_assert_int_eq(lseek(ours, 0, SEEK_END), 4096);
	(void)close(ours);
	vmm_run_done(&v);
}
END_TEST

START_TEST(not_kvm)
{
	struct vmm_run v;

	vmm_run_init_no_kvm(&v, "");
	vmm_run_start(&v);
	vmm_run_expect_ended(&v, VMM_END_ERROR, "not KVM");
	vmm_run_done(&v);
}
END_TEST

START_TEST(not_a_socket)
{
	const char *program = getenv("KOSVM_VMM");
	int pipes[2];
	char text[512] = "";
	int status;
	pid_t pid;

	ck_assert_ptr_nonnull(program);
	ck_assert_int_eq(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		(void)dup2(pipes[1], STDERR_FILENO);
		(void)close(VMM_PROTO_FD);
		(void)execl(program, "kosvm-vmm", (char *)NULL);
		_exit(127);
	}
	(void)close(pipes[1]);
	ck_assert_int_gt(read(pipes[0], text, sizeof(text) - 1), 0);
	(void)close(pipes[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 2);
	ck_assert_msg(strstr(text, "kosvmd") != NULL, "%s", text);
}
END_TEST

START_TEST(connect_without_vsock)
{
	struct vmm_msg_connect req = { .id = 77, .src_cid = 2, .port = 1 };
	struct vmm_run v;
	struct vmm_msg msg;
	int pair[2];

	start_and_wait(&v, "run=spin", "spinning\n");
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(
		vmm_proto_send(v.sock, VMM_MSG_CONNECT, &req, sizeof(req), &pair[1], 1), 0);
	(void)close(pair[1]);
	vmm_run_expect(&v, VMM_MSG_CONNECTED, &msg);
	ck_assert_uint_eq(msg.u.connected.id, 77);
	ck_assert_int_lt(msg.u.connected.result, 0);
	/* Nothing of ours is kept over there. */
	ck_assert_int_eq(read(pair[0], &msg, 1), 0);
	(void)close(pair[0]);
	vmm_run_done(&v);
}
END_TEST

const struct bare_test bare_control_tests[] = {
	{ "answers_that_nobody_reads", &answers_that_nobody_reads, NEEDS_KVM },
	{ "quit_while_spinning", &quit_while_spinning, NEEDS_KVM },
	{ "quit_while_halted", &quit_while_halted, NEEDS_KVM },
	{ "quit_before_the_guest_gets_far", &quit_before_the_guest_gets_far, NEEDS_KVM },
	{ "sigterm_is_quit", &sigterm_is_quit, NEEDS_KVM },
	{ "end_of_stream_is_quit", &end_of_stream_is_quit, NEEDS_KVM },
	{ "end_of_stream_before_boot", &end_of_stream_before_boot, 0 },
	{ "end_of_stream_behind_boot", &end_of_stream_behind_boot, NEEDS_KVM },
	{ "second_boot", &second_boot, NEEDS_KVM },
	{ "malformed_first_messages", &malformed_first_messages, 0 },
	{ "malformed_later_messages", &malformed_later_messages, NEEDS_KVM },
	{ "broken_boards", &broken_boards, 0 },
	{ "descriptor_that_did_not_come", &descriptor_that_did_not_come, 0 },
	{ "disk_that_is_smaller_than_its_board", &disk_that_is_smaller_than_its_board, NEEDS_KVM },
	{ "not_kvm", &not_kvm, 0 },
	{ "not_a_socket", &not_a_socket, 0 },
	{ "connect_without_vsock", &connect_without_vsock, NEEDS_KVM },
	{ 0 },
};
