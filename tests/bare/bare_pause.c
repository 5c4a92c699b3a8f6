/* PAUSE, RESUME, STATS on guests that never rest. */
#include "bare_tests.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/clock.h>

#include "vmm_run.h"

static void start_and_wait(struct vmm_run *v, const char *line)
{
	struct vmm_msg msg;

	v->board.serial_limit = 64 << 20;
	vmm_run_start(v);
	vmm_run_expect(v, VMM_MSG_RUNNING, &msg);
	vmm_run_wait_serial(v, line);
}

static off_t printed(const struct vmm_run *v)
{
	return lseek(v->serial, 0, SEEK_END);
}

static void wait_for_more(const struct vmm_run *v, off_t than)
{
	for (int waited = 0; printed(v) <= than; waited += 5) {
		ck_assert_msg(waited < 60000, "the guest does not go on");
		(void)usleep(5000);
	}
}

START_TEST(pause_stops_the_guest)
{
	struct vmm_run v;
	struct vmm_reply r;
	uint64_t before;
	off_t at;

	vmm_run_init(&v, "run=tick");
	start_and_wait(&v, "tick\n");
	for (int i = 0; i < 5; i++) {
		r = vmm_run_request(&v, VMM_MSG_PAUSE);
		ck_assert_uint_eq(r.flags, VMM_F_RUNNING | VMM_F_PAUSED);
		at = printed(&v);
		before = vmm_run_request(&v, VMM_MSG_STATS).stats.vcpu_ns;
		ck_assert_uint_gt(before, 0);
		(void)usleep(100000);
		ck_assert_int_eq(printed(&v), at);
		/* What is paused may be paused; the thread wakes for nothing. */
		r = vmm_run_request(&v, VMM_MSG_PAUSE);
		ck_assert_uint_eq(r.flags, VMM_F_RUNNING | VMM_F_PAUSED);
		ck_assert_uint_lt(r.stats.vcpu_ns - before, 5000000);
		ck_assert_int_eq(printed(&v), at);
		r = vmm_run_request(&v, VMM_MSG_RESUME);
		ck_assert_uint_eq(r.flags, VMM_F_RUNNING);
		wait_for_more(&v, at);
		r = vmm_run_request(&v, VMM_MSG_RESUME);
		ck_assert_uint_eq(r.flags, VMM_F_RUNNING);
		ck_assert_uint_gt(r.stats.vcpu_ns, before);
	}
	vmm_run_done(&v);
}
END_TEST

/* No kick is lost, however close pause and resume come. */
START_TEST(pause_and_resume_in_haste)
{
	struct vmm_run v;
	off_t at;

	vmm_run_init(&v, "run=tick");
	v.board.vcpus = 4;
	start_and_wait(&v, "tick\n");
	for (int i = 0; i < 500; i++) {
		(void)vmm_run_request(&v, VMM_MSG_PAUSE);
		(void)vmm_run_request(&v, VMM_MSG_RESUME);
	}
	at = printed(&v);
	wait_for_more(&v, at);
	ck_assert_int_eq(vmm_proto_send(v.sock, VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
	vmm_run_expect_ended(&v, VMM_END_QUIT, "as told");
	vmm_run_done(&v);
}
END_TEST

/* Loop test: the guest spins or sleeps; QUIT, SIGTERM or the end of the socket. */
START_TEST(ends_while_paused)
{
	static const char *const guests[] = { "run=spin", "run=halt" };
	struct vmm_run v;
	struct vmm_msg msg;

	for (int i = 0; i < 6; i++) {
		vmm_run_init(&v, guests[i % 2]);
		v.board.vcpus = 3;
		(void)vmm_run_add_vsock(&v, 4);
		start_and_wait(&v, i % 2 ? "halted\n" : "spinning\n");
		(void)vmm_run_request(&v, VMM_MSG_PAUSE);
		if (i / 2 == 0)
			ck_assert_int_eq(vmm_proto_send(v.sock, VMM_MSG_QUIT, NULL, 0, NULL, 0), 0);
		else if (i / 2 == 1)
			ck_assert_int_eq(kill(v.pid, SIGTERM), 0);
		else
			vmm_run_leave(&v);
		if (i / 2 < 2) {
			vmm_run_expect(&v, VMM_MSG_ENDED, &msg);
			ck_assert_uint_eq(msg.u.ended.reason, VMM_END_QUIT);
		}
		vmm_run_wait_exit(&v);
		ck_assert_int_eq(v.exit_code, 0);
		vmm_run_done(&v);
	}
}
END_TEST

START_TEST(stays_paused_without_a_master)
{
	struct vmm_run v;
	off_t at;

	vmm_run_init(&v, "run=tick");
	vmm_run_detachable(&v);
	start_and_wait(&v, "tick\n");
	(void)vmm_run_request(&v, VMM_MSG_PAUSE);
	at = printed(&v);
	ck_assert_uint_eq(vmm_run_attach(&v), VMM_F_RUNNING | VMM_F_PAUSED);
	(void)usleep(50000);
	ck_assert_int_eq(printed(&v), at);
	(void)vmm_run_request(&v, VMM_MSG_RESUME);
	wait_for_more(&v, at);
	ck_assert_uint_eq(vmm_run_attach(&v), VMM_F_RUNNING);
	vmm_run_done(&v);
}
END_TEST

/* What the host sends to a paused guest waits, and none of it is lost. */
START_TEST(vsock_waits_while_paused)
{
	struct vmm_run v;
	struct vmm_msg msg;
	struct vmm_msg_id answer;
	struct pollfd p = { .events = POLLIN };
	struct vmm_stats before;
	struct vmm_stats after;
	char text[64] = "";
	int pair[2];

	vmm_run_init(&v, "run=talk");
	(void)vmm_run_add_vsock(&v, 42);
	vmm_run_start(&v);
	vmm_run_expect(&v, VMM_MSG_RUNNING, &msg);
	vmm_run_expect(&v, VMM_MSG_GUEST_CONNECT, &msg);
	answer.id = msg.u.guest_connect.id;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(
		vmm_proto_send(v.sock, VMM_MSG_ACCEPT, &answer, sizeof(answer), &pair[1], 1), 0);
	(void)close(pair[1]);
	vmm_run_wait_serial(&v, "talking\n");
	before = vmm_run_request(&v, VMM_MSG_PAUSE).stats;
	ck_assert_uint_eq(before.vsock_open, 1);
	ck_assert_uint_eq(before.vsock_total, 1);
	p.fd = pair[0];
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(write(pair[0], "eheld back", 10), 10);
		ck_assert_int_eq(poll(&p, 1, 100), 0);
		after = vmm_run_request(&v, VMM_MSG_STATS).stats;
		ck_assert_uint_eq(after.vsock_rx_bytes, before.vsock_rx_bytes);
		(void)vmm_run_request(&v, VMM_MSG_RESUME);
		ck_assert_int_eq(poll(&p, 1, 30000), 1);
		memset(text, 0, sizeof(text));
		ck_assert_int_eq(read(pair[0], text, sizeof(text) - 1), 9);
		ck_assert_str_eq(text, "held back");
		before = vmm_run_request(&v, VMM_MSG_PAUSE).stats;
		ck_assert_uint_eq(before.vsock_rx_bytes, (uint64_t)(i + 1) * 10);
		ck_assert_uint_eq(before.vsock_tx_bytes, (uint64_t)(i + 1) * 9);
	}
	(void)close(pair[0]);
	vmm_run_done(&v);
}
END_TEST

/* Requests in flight at each pause: none is lost, none is done by half, and all are counted. */
START_TEST(disk_waits_while_paused)
{
	struct vmm_run v;
	struct vmm_stats first;
	struct vmm_stats s;
	int disk = memfd_create("disk", MFD_CLOEXEC);
	unsigned pauses = 0;

	ck_assert_int_eq(ftruncate(disk, 4096), 0);
	vmm_run_init(&v, "run=mill rounds=300");
	(void)vmm_run_add_blk(&v, disk, 4096);
	vmm_run_detachable(&v);
	start_and_wait(&v, "grinding\n");
	while (!strstr(vmm_run_serial(&v), "mill ok\n")) {
		struct vmm_msg_id id = { .id = 1000000 + pauses };
		struct vmm_msg msg;

		/* It may end at any moment. */
		if (vmm_proto_send(v.sock, VMM_MSG_PAUSE, &id, sizeof(id), NULL, 0) < 0 ||
			vmm_proto_recv(v.sock, &msg) != 1 || msg.type != VMM_MSG_REPLY)
			break;
		first = msg.u.reply.stats;
		(void)usleep(1000);
		if (strstr(vmm_run_serial(&v), "mill ok\n"))
			break;
		s = vmm_run_request(&v, VMM_MSG_STATS).stats;
		ck_assert_mem_eq(&s.blk_read_bytes, &first.blk_read_bytes, 4 * sizeof(uint64_t));
		ck_assert_uint_eq(s.blk_read_bytes, s.blk_read_ops * 512);
		ck_assert_uint_eq(s.blk_write_bytes, s.blk_write_ops * 512);
		(void)vmm_run_request(&v, VMM_MSG_RESUME);
		pauses++;
		(void)usleep(2000);
	}
	ck_assert_uint_gt(pauses, 3);
	if (v.sock >= 0)
		(void)vmm_proto_send(v.sock, VMM_MSG_RESUME, &(struct vmm_msg_id){ 0 },
			sizeof(struct vmm_msg_id), NULL, 0);
	vmm_run_wait_exit(&v);
	vmm_run_expect_record(&v, VMM_END_POWEROFF, "powered off");
	ck_assert_ptr_nonnull(strstr(vmm_run_serial(&v), "mill ok\n"));
	vmm_run_done(&v);
}
END_TEST

static struct vmm_reply set_limits(struct vmm_run *v, const struct vmm_msg_limits *m)
{
	struct vmm_msg msg;

	ck_assert_int_eq(vmm_proto_send(v->sock, VMM_MSG_LIMITS, m, sizeof(*m), NULL, 0), 0);
	vmm_run_expect(v, VMM_MSG_REPLY, &msg);
	ck_assert_uint_eq(msg.u.reply.id, m->id);
	ck_assert_int_eq(msg.u.reply.result, 0);
	return msg.u.reply;
}

/* By the board at first; then by word, while it waits; it is paused and ends all the same. */
START_TEST(disk_under_a_limit)
{
	const struct vmm_msg_limits none = { .id = 12 };
	const struct vmm_msg_limits little = { .id = 13, .disk = { .ops = 1 } };
	struct vmm_run v;
	struct vmm_reply r;
	int disk = memfd_create("disk", MFD_CLOEXEC);
	uint64_t start;

	ck_assert_int_eq(ftruncate(disk, 4096), 0);
	vmm_run_init(&v, "run=mill rounds=400");
	(void)vmm_run_add_blk(&v, disk, 4096);
	v.board.disk_rate.ops = 10;
	start = clock_mono_ns();
	start_and_wait(&v, "grinding\n");
	for (int i = 0; i < 10; i++) {
		(void)usleep(100000);
		r = vmm_run_request(&v, i % 2 ? VMM_MSG_PAUSE : VMM_MSG_RESUME);
		ck_assert_uint_le(r.stats.blk_read_ops + r.stats.blk_write_ops,
			10 + 10 * (clock_mono_ns() - start) / CLOCK_NS_PER_S + 1);
	}
	ck_assert_uint_ge(r.stats.blk_read_ops + r.stats.blk_write_ops, 10);
	(void)vmm_run_request(&v, VMM_MSG_RESUME);
	(void)set_limits(&v, &little);
	(void)set_limits(&v, &none);
	vmm_run_expect_ended(&v, VMM_END_POWEROFF, NULL);
	ck_assert_ptr_nonnull(strstr(vmm_run_serial(&v), "mill ok\n"));
	vmm_run_done(&v);
}
END_TEST

/* Who is stopped and goes on waits for as long as before, and by the calls that its filters have.
 */
START_TEST(stopped_and_continued)
{
	struct vmm_run v;
	int disk = memfd_create("disk", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(disk, 4096), 0);
	vmm_run_init(&v, "run=mill rounds=100");
	v.board.vcpus = 2;
	(void)vmm_run_add_blk(&v, disk, 4096);
	(void)vmm_run_add_vsock(&v, 7);
	v.board.disk_rate.ops = 50;
	start_and_wait(&v, "grinding\n");
	for (int i = 0; i < 50; i++) {
		ck_assert_int_eq(kill(v.pid, SIGSTOP), 0);
		(void)usleep(1000);
		ck_assert_int_eq(kill(v.pid, SIGCONT), 0);
		(void)usleep(10000);
	}
	vmm_run_expect_ended(&v, VMM_END_POWEROFF, NULL);
	ck_assert_ptr_nonnull(strstr(vmm_run_serial(&v), "mill ok\n"));
	vmm_run_done(&v);
}
END_TEST

const struct bare_test bare_pause_tests[] = {
	{ "pause_stops_the_guest", &pause_stops_the_guest, NEEDS_KVM },
	{ "pause_and_resume_in_haste", &pause_and_resume_in_haste, NEEDS_KVM },
	{ "ends_while_paused", &ends_while_paused, NEEDS_KVM },
	{ "stays_paused_without_a_master", &stays_paused_without_a_master, NEEDS_KVM },
	{ "vsock_waits_while_paused", &vsock_waits_while_paused, NEEDS_KVM },
	{ "disk_waits_while_paused", &disk_waits_while_paused, NEEDS_KVM },
	{ "disk_under_a_limit", &disk_under_a_limit, NEEDS_KVM },
	{ "stopped_and_continued", &stopped_and_continued, NEEDS_KVM },
	{ 0 },
};
