/* Devices driven by bare guests, well and badly. */
#include "bare_tests.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory-use.h"
#include "vmm_run.h"

static int new_disk(size_t size)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

START_TEST(slots_and_emptiness)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=slots slots=4");
	(void)vmm_run_add_blk(&v, new_disk(4096), 4096);
	(void)vmm_run_add_vsock(&v, 5);
	ck_assert_ptr_nonnull(board_add_slot(&v.board, BOARD_RNG));
	(void)vmm_run_add_blk(&v, new_disk(512), 512);
	vmm_run_start(&v);
	vmm_run_expect_ended(&v, VMM_END_POWEROFF, NULL);
	ck_assert_str_eq(
		vmm_run_serial(&v), "device 0x2\ndevice 0x13\ndevice 0x4\ndevice 0x2\nslots ok\n");
	vmm_run_done(&v);
}
END_TEST

START_TEST(every_slot_taken)
{
	struct vmm_run v;

	vmm_run_init(&v, "run=slots slots=16");
	for (unsigned i = 0; i < BOARD_MAX_SLOTS; i++)
		ck_assert_ptr_nonnull(board_add_slot(&v.board, BOARD_RNG));
	ck_assert_ptr_null(board_add_slot(&v.board, BOARD_RNG));
	vmm_run_start(&v);
	vmm_run_expect_ended(&v, VMM_END_POWEROFF, NULL);
	ck_assert_ptr_nonnull(strstr(vmm_run_serial(&v), "slots ok\n"));
	vmm_run_done(&v);
}
END_TEST

START_TEST(blk_read_and_write)
{
	struct vmm_run v;
	char sector[512] = "first sector";
	int disk = new_disk(1024);

	ck_assert_int_eq(pwrite(disk, sector, 512, 0), 512);
	vmm_run_init(&v, "run=blk");
	(void)vmm_run_add_blk(&v, dup(disk), 1024);
	vmm_run_start(&v);
	vmm_run_expect_ended(&v, VMM_END_POWEROFF, NULL);
	ck_assert_str_eq(vmm_run_serial(&v), "bare-disk\nblk ok\n");
	ck_assert_int_eq(pread(disk, sector, 512, 512), 512);
	ck_assert_str_eq(sector, "written by the guest");
	(void)close(disk);
	vmm_run_done(&v);
}
END_TEST

START_TEST(blk_trim)
{
	static const char zeroes[4096];
	struct vmm_run v;
	char half[4096];
	int disk = new_disk(8192);

	vmm_run_init(&v, "run=trim");
	(void)vmm_run_add_blk(&v, dup(disk), 8192);
	vmm_run_start(&v);
	vmm_run_expect_ended(&v, VMM_END_POWEROFF, NULL);
	ck_assert_str_eq(vmm_run_serial(&v), "trim ok\n");
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(pread(disk, half, sizeof(half), i * 4096), 4096);
		ck_assert_int_eq(memcmp(half, zeroes, sizeof(half)), 0);
	}
	(void)close(disk);
	vmm_run_done(&v);
}
END_TEST

/* Accepts the guest's dial with this descriptor, which stays ours as well. */
static void accept_with(struct vmm_run *v, int fd)
{
	struct vmm_msg_id answer;
	struct vmm_msg msg;

	vmm_run_expect(v, VMM_MSG_GUEST_CONNECT, &msg);
	answer.id = msg.u.guest_connect.id;
	ck_assert_int_eq(
		vmm_proto_send(v->sock, VMM_MSG_ACCEPT, &answer, sizeof(answer), &fd, 1), 0);
}

START_TEST(vsock_into_a_pipe)
{
	struct vmm_run v;
	struct vmm_msg msg;
	char text[64] = "";
	int p[2];

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	vmm_run_init(&v, "run=vsock");
	(void)vmm_run_add_vsock(&v, 42);
	vmm_run_start(&v);
	vmm_run_expect(&v, VMM_MSG_RUNNING, &msg);
	accept_with(&v, p[1]);
	ck_assert_int_eq(read(p[0], text, sizeof(text) - 1), 14);
	ck_assert_str_eq(text, "from the guest");
	ck_assert_int_eq(vmm_proto_send(v.sock, VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
	vmm_run_expect_ended(&v, VMM_END_QUIT, "as told");
	(void)close(p[0]);
	(void)close(p[1]);
	vmm_run_done(&v);
}
END_TEST

/* The guest reads no more of a stream: who writes to it is told. */
START_TEST(vsock_half_closed)
{
	struct vmm_run v;
	struct vmm_msg msg;
	char text[8] = "";
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	vmm_run_init(&v, "run=talk");
	(void)vmm_run_add_vsock(&v, 42);
	vmm_run_start(&v);
	vmm_run_expect(&v, VMM_MSG_RUNNING, &msg);
	accept_with(&v, pair[1]);
	(void)close(pair[1]);
	ck_assert_int_eq(send(pair[0], "h", 1, MSG_NOSIGNAL), 1);
	ck_assert_int_eq(read(pair[0], text, 4), 4);
	ck_assert_str_eq(text, "deaf");
	ck_assert_int_eq(send(pair[0], "e", 1, MSG_NOSIGNAL), -1);
	ck_assert_int_eq(errno, EPIPE);
	ck_assert_int_eq(vmm_proto_send(v.sock, VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
	vmm_run_expect_ended(&v, VMM_END_QUIT, "as told");
	(void)close(pair[0]);
	vmm_run_done(&v);
}
END_TEST

START_TEST(vsock_stream)
{
	struct vmm_run v;
	struct vmm_msg msg;
	struct vmm_msg_id answer;
	char text[64] = "";
	int pair[2];

	vmm_run_init(&v, "run=vsock");
	(void)vmm_run_add_vsock(&v, 42);
	vmm_run_start(&v);
	vmm_run_expect(&v, VMM_MSG_RUNNING, &msg);
	vmm_run_expect(&v, VMM_MSG_GUEST_CONNECT, &msg);
	ck_assert_uint_eq(msg.u.guest_connect.dst_cid, 2);
	ck_assert_uint_eq(msg.u.guest_connect.dst_port, 99);
	ck_assert_uint_eq(msg.u.guest_connect.src_port, 1000);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	answer.id = msg.u.guest_connect.id;
	ck_assert_int_eq(
		vmm_proto_send(v.sock, VMM_MSG_ACCEPT, &answer, sizeof(answer), &pair[1], 1), 0);
	(void)close(pair[1]);
	ck_assert_int_eq(read(pair[0], text, sizeof(text) - 1), 14);
	ck_assert_str_eq(text, "from the guest");
	ck_assert_int_eq(write(pair[0], "from the host\n", 14), 14);
	vmm_run_expect_ended(&v, VMM_END_POWEROFF, NULL);
	ck_assert_str_eq(vmm_run_serial(&v), "from the host\nvsock ok\n");
	(void)close(pair[0]);
	vmm_run_done(&v);
}
END_TEST

static int connect_to_guest(struct vmm_run *v, uint64_t id, uint32_t port)
{
	struct vmm_msg_connect req = { .id = id, .src_cid = 2, .port = port };
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(
		vmm_proto_send(v->sock, VMM_MSG_CONNECT, &req, sizeof(req), &pair[1], 1), 0);
	(void)close(pair[1]);
	return pair[0];
}

START_TEST(vsock_from_the_host)
{
	struct vmm_run v;
	struct vmm_msg msg;
	char text[64] = "";
	int refused;
	int fd;

	vmm_run_init(&v, "run=listen");
	(void)vmm_run_add_vsock(&v, 42);
	vmm_run_start(&v);
	vmm_run_expect(&v, VMM_MSG_RUNNING, &msg);
	vmm_run_wait_serial(&v, "listening\n");
	refused = connect_to_guest(&v, 1, 7);
	vmm_run_expect(&v, VMM_MSG_CONNECTED, &msg);
	ck_assert_uint_eq(msg.u.connected.id, 1);
	ck_assert_int_eq(msg.u.connected.result, -ECONNREFUSED);
	ck_assert_int_eq(read(refused, text, 1), 0);
	(void)close(refused);
	fd = connect_to_guest(&v, 2, 8);
	vmm_run_expect(&v, VMM_MSG_CONNECTED, &msg);
	ck_assert_uint_eq(msg.u.connected.id, 2);
	ck_assert_int_eq(msg.u.connected.result, 0);
	ck_assert_int_eq(write(fd, "hello guest\n", 12), 12);
	ck_assert_int_eq(read(fd, text, sizeof(text) - 1), 5);
	ck_assert_str_eq(text, "heard");
	(void)close(fd);
	vmm_run_expect_ended(&v, VMM_END_POWEROFF, NULL);
	ck_assert_str_eq(vmm_run_serial(&v), "listening\nhello guest\nlisten ok\n");
	vmm_run_done(&v);
}
END_TEST

/* Nobody reads the control socket: the guest is refused, and kosvmd still heard. */
START_TEST(vsock_flood_of_requests)
{
	struct vmm_run v;
	struct vmm_msg msg;
	unsigned asked = 0;

	vmm_run_init(&v, "run=flood wanted=20");
	(void)vmm_run_add_vsock(&v, 42);
	vmm_run_start(&v);
	vmm_run_wait_serial(&v, "refused; asked");
	ck_assert_int_eq(vmm_proto_send(v.sock, VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
	vmm_run_expect(&v, VMM_MSG_RUNNING, &msg);
	for (;;) {
		struct pollfd p = { .fd = v.sock, .events = POLLIN };

		ck_assert_int_eq(poll(&p, 1, 30000), 1);
		ck_assert_int_eq(vmm_proto_recv(v.sock, &msg), 1);
		if (msg.type != VMM_MSG_GUEST_CONNECT)
			break;
		asked++;
	}
	ck_assert_uint_eq(msg.type, VMM_MSG_ENDED);
	ck_assert_uint_eq(msg.u.ended.reason, VMM_END_QUIT);
	ck_assert_uint_gt(asked, 100);
	ck_assert_uint_lt(asked, 1024);
	vmm_run_wait_exit(&v);
	ck_assert_int_eq(v.exit_code, 0);
	vmm_run_done(&v);
}
END_TEST

/* The guest opens streams without end: it runs out of them before the VMM runs out of descriptors.
 */
START_TEST(vsock_more_streams_than_descriptors)
{
	struct vmm_run v;
	struct vmm_msg msg;
	int ours[256];
	unsigned open = 0;

	vmm_run_init(&v, "run=many");
	v.open_files = 256;
	(void)vmm_run_add_vsock(&v, 42);
	vmm_run_start(&v);
	vmm_run_expect(&v, VMM_MSG_RUNNING, &msg);
	for (;;) {
		struct vmm_msg_id answer;
		struct pollfd p = { .fd = v.sock, .events = POLLIN };
		int pair[2];

		ck_assert_int_eq(poll(&p, 1, 30000), 1);
		ck_assert_int_eq(vmm_proto_recv(v.sock, &msg), 1);
		if (msg.type != VMM_MSG_GUEST_CONNECT)
			break;
		ck_assert_uint_lt(open, 256);
		answer.id = msg.u.guest_connect.id;
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		ck_assert_int_eq(vmm_proto_send(v.sock, VMM_MSG_ACCEPT, &answer, sizeof(answer),
					 &pair[1], 1),
			0);
		(void)close(pair[1]);
		ours[open++] = pair[0];
	}
	ck_assert_uint_eq(msg.type, VMM_MSG_ENDED);
	ck_assert_msg(msg.u.ended.reason == VMM_END_POWEROFF, "%s", msg.u.ended.text);
	ck_assert_uint_eq(open, 64);
	ck_assert_str_eq(vmm_run_serial(&v), "open 0x40\n");
	vmm_run_wait_exit(&v);
	while (open > 0)
		(void)close(ours[--open]);
	vmm_run_done(&v);
}
END_TEST

/* Nobody reads the console any more: what is left to say at the end kills nobody. */
START_TEST(console_without_a_reader)
{
	struct vmm_run v;
	int *console;
	int p[2];

	vmm_run_init(&v, "run=hello");
	console = &v.fds[v.board.serial_fd];
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	(void)close(*console);
	*console = p[1];
	(void)close(p[0]);
	vmm_run_start(&v);
	vmm_run_expect_ended(&v, VMM_END_POWEROFF, NULL);
	ck_assert_int_eq(v.exit_code, 0);
	vmm_run_done(&v);
}
END_TEST

/*
 * Garbage in every register and ring. The guest may be hurt by it, since
 * its own memory is what it gave away: a triple fault is an orderly end.
 */
START_TEST(garbage)
{
	struct vmm_run v;
	struct vmm_msg msg;
	char cmdline[64];

	(void)snprintf(cmdline, sizeof(cmdline), "run=garbage slots=5 rounds=400 seed=%d", _i);
	vmm_run_init(&v, cmdline);
	(void)vmm_run_add_blk(&v, new_disk(65536), 65536);
	vmm_run_add_blk(&v, new_disk(4096), 4096)->read_only = true;
	(void)vmm_run_add_vsock(&v, 3);
	ck_assert_ptr_nonnull(board_add_slot(&v.board, BOARD_RNG));
	(void)vmm_run_add_blk(&v, new_disk(512), 512);
	vmm_run_start(&v);
	vmm_run_expect(&v, VMM_MSG_RUNNING, &msg);
	vmm_run_expect_ended(&v, VMM_END_POWEROFF, NULL);
	ck_assert_ptr_nonnull(strstr(vmm_run_serial(&v), "garbage done\n"));
	vmm_run_done(&v);
}
END_TEST

/* What one agent costs beside its own memory: with two disks, vsock and rng, 1 MiB at most. */
#define FOOTPRINT_KIB 1024

START_TEST(small_footprint)
{
	struct memory_use use;
	struct vmm_run v;

	vmm_run_init(&v, "run=halt");
	v.board.memory = 128 << 20;
	(void)vmm_run_add_blk(&v, new_disk(4096), 4096);
	(void)vmm_run_add_blk(&v, new_disk(4096), 4096);
	(void)vmm_run_add_vsock(&v, 5);
	ck_assert_ptr_nonnull(board_add_slot(&v.board, BOARD_RNG));
	vmm_run_start(&v);
	vmm_run_wait_serial(&v, "halted\n");
	ck_assert_int_eq(memory_use_read(v.pid, v.board.memory, &use), 0);
	ck_assert_msg(use.rss_kib <= FOOTPRINT_KIB, "%llu KiB resident beside guest memory",
		(unsigned long long)use.rss_kib);
	vmm_run_done(&v);
}
END_TEST

const struct bare_test bare_device_tests[] = {
	{ "slots_and_emptiness", &slots_and_emptiness, NEEDS_KVM },
	{ "every_slot_taken", &every_slot_taken, NEEDS_KVM },
	{ "blk_read_and_write", &blk_read_and_write, NEEDS_KVM },
	{ "blk_trim", &blk_trim, NEEDS_KVM },
	{ "vsock_into_a_pipe", &vsock_into_a_pipe, NEEDS_KVM },
	{ "vsock_half_closed", &vsock_half_closed, NEEDS_KVM },
	{ "vsock_stream", &vsock_stream, NEEDS_KVM },
	{ "vsock_from_the_host", &vsock_from_the_host, NEEDS_KVM },
	{ "vsock_flood_of_requests", &vsock_flood_of_requests, NEEDS_KVM },
	{ "vsock_more_streams_than_descriptors", &vsock_more_streams_than_descriptors, NEEDS_KVM },
	{ "console_without_a_reader", &console_without_a_reader, NEEDS_KVM },
	{ "small_footprint", &small_footprint, NEEDS_KVM | NEEDS_STATIC },
	{ "garbage", &garbage, NEEDS_KVM },
	{ 0 },
};
