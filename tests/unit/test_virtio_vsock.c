/* The vsock device on mock rings: opening, closing, refusing, hostile packets, reset. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "vsock_fixture.h"

static struct fixture f;

static void set_up(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	fix_init(&f, NULL, 32);
}

static void tear_down(void)
{
	fix_done(&f);
}

START_TEST(configuration_space)
{
	uint64_t cid = 0, more = 1;

	virtio_mmio_read(f.m.dev, VIRTIO_MMIO_CONFIG, &cid, 8);
	ck_assert_uint_eq(cid, MOCK_VSOCK_CID);
	virtio_mmio_read(f.m.dev, VIRTIO_MMIO_CONFIG + 8, &more, 8);
	ck_assert_uint_eq(more, 0);
	virtio_mmio_write(f.m.dev, VIRTIO_MMIO_CONFIG, &more, 8);
	virtio_mmio_read(f.m.dev, VIRTIO_MMIO_CONFIG, &cid, 8);
	ck_assert_uint_eq(cid, MOCK_VSOCK_CID);
	ck_assert_uint_eq(mock_reg_read(f.m.dev, VIRTIO_MMIO_DEVICE_ID), 19);
	mock_reg_write(f.m.dev, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	ck_assert_uint_eq(mock_reg_read(f.m.dev, VIRTIO_MMIO_DEVICE_FEATURES) & 3, 1);
}
END_TEST

START_TEST(reserved_cids_are_refused)
{
	static const uint64_t bad[] = { 0, 1, 2, UINT32_MAX, UINT64_C(1) << 32 };
	struct virtio_vsock_config cfg = { .guest_cid = bad[_i] };
	struct virtio_vsock *v;
	struct kerr e;

	ck_assert_int_eq(virtio_vsock_new(&v, &f.m.mem.gmem, f.m.loop, &cfg, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "CID"));
}
END_TEST

START_TEST(guest_connects_and_talks)
{
	char buf[MOCK_VSOCK_RXBUF];
	int ours = fix_open(&f, 1234, 5000);
	struct vsock_packet p;

	ck_assert_uint_eq(f.ask_cid, HOST_CID);
	fix_send(&f, VSOCK_OP_RW, 1234, 5000, 0, "hello", 5);
	ck_assert_int_eq(read(ours, buf, sizeof(buf)), 5);
	ck_assert_mem_eq(buf, "hello", 5);
	ck_assert_int_eq(write(ours, "there", 5), 5);
	p = fix_expect(&f, VSOCK_OP_RW, buf);
	ck_assert_uint_eq(p.len, 5);
	ck_assert_mem_eq(buf, "there", 5);
	ck_assert_uint_eq(p.src_port, 1234);
	ck_assert_uint_eq(p.dst_port, 5000);
	ck_assert_uint_eq(p.type, 1);
	ck_assert_uint_eq(p.fwd_cnt, 5);
	ck_assert_uint_eq(p.buf_alloc, 256 << 10);
	(void)close(ours);
}
END_TEST

START_TEST(refusals)
{
	int fd, ours;

	f.answer = FIX_REFUSE; /* from inside the callback */
	fix_send(&f, VSOCK_OP_REQUEST, 9, 10, 0, NULL, 0);
	(void)fix_expect(&f, VSOCK_OP_RST, NULL);
	f.answer = FIX_WAIT; /* later */
	fix_send(&f, VSOCK_OP_REQUEST, 9, 11, 0, NULL, 0);
	fix_expect_none(&f);
	virtio_vsock_refuse(f.m.v, f.ask_id);
	(void)fix_expect(&f, VSOCK_OP_RST, NULL);
	ck_assert_uint_eq(fix_conns(&f), 0);

	/* An answer to a request that is gone, or that never was. */
	fix_send(&f, VSOCK_OP_REQUEST, 9, 12, 0, NULL, 0);
	fix_send(&f, VSOCK_OP_RST, 9, 12, 0, NULL, 0);
	fix_pair(&fd, &ours);
	virtio_vsock_accept(f.m.v, f.ask_id, fd);
	ck_assert(fix_wait_end(&f, ours));
	(void)close(ours);
	virtio_vsock_refuse(f.m.v, 4711);
	fix_expect_none(&f);

	/* A descriptor that epoll cannot watch is a refusal. */
	fix_send(&f, VSOCK_OP_REQUEST, 9, 13, 0, NULL, 0);
	fd = open("/", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
	virtio_vsock_accept(f.m.v, f.ask_id, fd);
	(void)fix_expect(&f, VSOCK_OP_RST, NULL);
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	ck_assert_uint_eq(fix_conns(&f), 0);
}
END_TEST

START_TEST(host_connects)
{
	uint32_t port, port2;
	int a = fix_open_to_guest(&f, 22, &port);
	int b = fix_open_to_guest(&f, 22, &port2);
	char buf[MOCK_VSOCK_RXBUF];

	ck_assert_uint_ne(port, port2);
	ck_assert_int_eq(write(a, "a", 1), 1);
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_RW, NULL).src_port, port);
	fix_send(&f, VSOCK_OP_RW, port2, 22, 0, "b", 1);
	ck_assert_int_eq(read(b, buf, sizeof(buf)), 1);
	(void)close(a);
	(void)close(b);
}
END_TEST

START_TEST(host_connect_fails)
{
	struct virtio_vsock_config cfg = { .connect_timeout_ns = 300000000, .max_conns = 2 };
	struct vsock_packet p;
	int fd, ours[4];

	fix_done(&f);
	fix_init(&f, &cfg, 0);
	fix_pair(&fd, &ours[0]);
	ck_assert_int_eq(virtio_vsock_connect(f.m.v, 1, HOST_CID, 5, fd), -ENOTCONN);
	ck_assert(fix_wait_end(&f, ours[0]));
	mock_vsock_start(&f.m, 8);
	ck_assert_uint_eq(f.done, 0);

	fix_pair(&fd, &ours[1]);
	ck_assert_int_eq(virtio_vsock_connect(f.m.v, 2, HOST_CID, 5, fd), 0);
	p = fix_expect(&f, VSOCK_OP_REQUEST, NULL);
	fix_send(&f, VSOCK_OP_RST, p.src_port, 5, 0, NULL, 0);
	ck_assert_uint_eq(f.done, 1);
	ck_assert_int_eq(f.done_result, -ECONNREFUSED);
	ck_assert(fix_wait_end(&f, ours[1]));

	fix_pair(&fd, &ours[2]);
	ck_assert_int_eq(virtio_vsock_connect(f.m.v, 3, HOST_CID, 5, fd), 0);
	(void)fix_expect(&f, VSOCK_OP_REQUEST, NULL);
	fix_pair(&fd, &ours[3]);
	ck_assert_int_eq(virtio_vsock_connect(f.m.v, 4, HOST_CID, 5, fd), 0);
	fd = dup(ours[0]);
	ck_assert_int_eq(virtio_vsock_connect(f.m.v, 5, HOST_CID, 5, fd), -EMFILE);
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	(void)fix_expect(&f, VSOCK_OP_REQUEST, NULL);
	/* A full table answers the guest too. */
	fix_send(&f, VSOCK_OP_REQUEST, 1, 1, 0, NULL, 0);
	(void)fix_expect(&f, VSOCK_OP_RST, NULL);
	/* The guest never answers. */
	(void)fix_expect(&f, VSOCK_OP_RST, NULL);
	(void)fix_expect(&f, VSOCK_OP_RST, NULL);
	ck_assert_uint_eq(f.done, 3);
	ck_assert_int_eq(f.done_result, -ETIMEDOUT);
	ck_assert_uint_eq(fix_conns(&f), 0);
	for (int i = 0; i < 4; i++)
		(void)close(ours[i]);
}
END_TEST

START_TEST(strays_get_a_reset)
{
	for (uint16_t op = 0; op <= 9; op++) {
		struct vsock_packet p;

		if (op == VSOCK_OP_REQUEST)
			continue;
		fix_send(&f, op, 700, 800, 0, NULL, 0);
		if (op == VSOCK_OP_RST) {
			fix_expect_none(&f);
			continue;
		}
		p = fix_expect(&f, VSOCK_OP_RST, NULL);
		ck_assert(p.src_cid == HOST_CID && p.src_port == 700 && p.dst_port == 800);
		ck_assert_uint_eq(p.type, 1);
	}
	ck_assert_uint_eq(f.asked, 0);
	ck_assert_uint_eq(fix_conns(&f), 0);
}
END_TEST

START_TEST(malformed_packets)
{
	struct vsock_packet p = { .dst_cid = HOST_CID,
		.src_port = 8,
		.dst_port = 9,
		.op = VSOCK_OP_RW,
		.len = 4,
		.buf_alloc = 1000 };
	struct virtio_vsock_stats s;
	char buf[8];
	int ours = fix_open(&f, 9, 8);

	/* Another's name: dropped, also where it would reset. */
	p.src_cid = 99;
	ck_assert(mock_vsock_send(&f.m, &p, "evil", 4));
	p.op = VSOCK_OP_RST;
	ck_assert(mock_vsock_send(&f.m, &p, NULL, 0));
	p.src_cid = 0;
	/* Another type: a reset of that type, and the stream stays. */
	p.type = 2;
	ck_assert(mock_vsock_send(&f.m, &p, NULL, 0));
	fix_expect_none(&f);
	p.op = VSOCK_OP_RW;
	ck_assert(mock_vsock_send(&f.m, &p, "evil", 4));
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_RST, NULL).type, 2);
	virtio_vsock_get_stats(f.m.v, &s);
	ck_assert_uint_eq(s.dropped, 3);
	ck_assert_int_eq(read(ours, buf, sizeof(buf)), -1);
	p.type = 0;
	ck_assert(mock_vsock_send(&f.m, &p, "good", 4));
	mock_vsock_run(&f.m, 0);
	ck_assert_int_eq(read(ours, buf, sizeof(buf)), 4);
	(void)close(ours);
}
END_TEST

/* Each of these ends the stream it names. */
static const struct {
	uint16_t op;
	uint32_t len;     /* claimed */
	uint32_t carried; /* sent */
} killers[] = {
	{ VSOCK_OP_INVALID, 0, 0 },
	{ VSOCK_OP_COUNT, 0, 0 },
	{ 0xffff, 0, 0 },
	{ VSOCK_OP_RW, 5, 4 },
	{ VSOCK_OP_RW, UINT32_MAX, 4 },
	{ VSOCK_OP_RW, 65537, 4 },
	{ VSOCK_OP_CREDIT_UPDATE, 4, 4 },
	{ VSOCK_OP_SHUTDOWN, 1, 0 },
	{ VSOCK_OP_REQUEST, 0, 0 },
	{ VSOCK_OP_RESPONSE, 0, 0 },
};

START_TEST(a_breach_kills_its_stream)
{
	struct vsock_packet p = { .dst_cid = HOST_CID,
		.src_port = 8,
		.dst_port = 9,
		.op = killers[_i].op,
		.len = killers[_i].len,
		.buf_alloc = 1000 };
	int other = fix_open(&f, 9, 7);
	int ours = fix_open(&f, 9, 8);

	ck_assert(mock_vsock_send(&f.m, &p, "abcd", killers[_i].carried));
	(void)fix_expect(&f, VSOCK_OP_RST, NULL);
	ck_assert(fix_wait_end(&f, ours));
	ck_assert_uint_eq(fix_conns(&f), 1);
	ck_assert_uint_eq(f.asked, 2);
	/* The name is free again. */
	(void)close(ours);
	ours = fix_open(&f, 9, 8);
	(void)close(ours);
	(void)close(other);
}
END_TEST

START_TEST(guest_half_closes)
{
	int ours = fix_open(&f, 1, 2);
	char buf[16];

	/* No more sending: end of file for the host, which may go on. */
	fix_send(&f, VSOCK_OP_RW, 1, 2, 0, "last", 4);
	fix_send(&f, VSOCK_OP_SHUTDOWN, 1, 2, VSOCK_SHUT_SEND, NULL, 0);
	ck_assert_int_eq(read(ours, buf, sizeof(buf)), 4);
	ck_assert_int_eq(read(ours, buf, sizeof(buf)), 0);
	ck_assert_int_eq(write(ours, "reply", 5), 5);
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_RW, NULL).len, 5);
	/* The host is done as well: both ways, and the guest confirms. */
	(void)close(ours);
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_SHUTDOWN, NULL).flags, VSOCK_SHUT_BOTH);
	ck_assert_uint_eq(fix_conns(&f), 1);
	fix_send(&f, VSOCK_OP_RST, 1, 2, 0, NULL, 0);
	fix_expect_none(&f);
	ck_assert_uint_eq(fix_conns(&f), 0);

	/* No more receiving: the host gets EPIPE, the guest may go on. */
	ours = fix_open(&f, 1, 3);
	fix_send(&f, VSOCK_OP_SHUTDOWN, 1, 3, VSOCK_SHUT_RCV, NULL, 0);
	ck_assert_int_eq(write(ours, "x", 1), -1);
	ck_assert_int_eq(errno, EPIPE);
	fix_send(&f, VSOCK_OP_RW, 1, 3, 0, "more", 4);
	ck_assert_int_eq(read(ours, buf, sizeof(buf)), 4);
	fix_send(&f, VSOCK_OP_SHUTDOWN, 1, 3, VSOCK_SHUT_SEND, NULL, 0);
	(void)fix_expect(&f, VSOCK_OP_RST, NULL);
	ck_assert_int_eq(read(ours, buf, sizeof(buf)), 0);
	ck_assert_uint_eq(fix_conns(&f), 0);
	(void)close(ours);
}
END_TEST

START_TEST(host_half_closes)
{
	int ours = fix_open(&f, 1, 2);
	char buf[16];

	ck_assert_int_eq(write(ours, "bye", 3), 3);
	ck_assert_int_eq(shutdown(ours, SHUT_WR), 0);
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_RW, NULL).len, 3);
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_SHUTDOWN, NULL).flags, VSOCK_SHUT_SEND);
	fix_send(&f, VSOCK_OP_RW, 1, 2, 0, "still", 5);
	ck_assert_int_eq(read(ours, buf, sizeof(buf)), 5);
	fix_send(&f, VSOCK_OP_SHUTDOWN, 1, 2, VSOCK_SHUT_BOTH, NULL, 0);
	(void)fix_expect(&f, VSOCK_OP_RST, NULL);
	ck_assert_int_eq(read(ours, buf, sizeof(buf)), 0);
	ck_assert_uint_eq(fix_conns(&f), 0);
	(void)close(ours);

	/* The host reads no more: the guest learns it, the other way goes on. */
	ours = fix_open(&f, 1, 3);
	ck_assert_int_eq(shutdown(ours, SHUT_RD), 0);
	fix_send(&f, VSOCK_OP_RW, 1, 3, 0, "lost", 4);
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_SHUTDOWN, NULL).flags, VSOCK_SHUT_RCV);
	ck_assert_int_eq(write(ours, "heard", 5), 5);
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_RW, NULL).len, 5);
	/* It ends with a reset, because something was lost. */
	(void)close(ours);
	(void)fix_expect(&f, VSOCK_OP_RST, NULL);
	ck_assert_uint_eq(fix_conns(&f), 0);
}
END_TEST

START_TEST(host_closes)
{
	int ours = fix_open(&f, 1, 2);
	unsigned flags = 0;
	bool data = false;

	ck_assert_int_eq(write(ours, "answer", 6), 6);
	(void)close(ours);
	while (flags != VSOCK_SHUT_BOTH) {
		struct vsock_packet p;

		ck_assert(mock_vsock_recv(&f.m, &p, NULL, 10000));
		ck_assert(p.op == VSOCK_OP_RW || p.op == VSOCK_OP_SHUTDOWN);
		if (p.op == VSOCK_OP_SHUTDOWN)
			flags = p.flags;
		data = data || p.op == VSOCK_OP_RW;
		/* No end of sending before the data. */
		ck_assert(data || !(flags & VSOCK_SHUT_SEND));
	}
	/* Late data does no harm; the guest's close is answered. */
	fix_send(&f, VSOCK_OP_RW, 1, 2, 0, "late", 4);
	fix_expect_none(&f);
	fix_send(&f, VSOCK_OP_SHUTDOWN, 1, 2, VSOCK_SHUT_BOTH, NULL, 0);
	(void)fix_expect(&f, VSOCK_OP_RST, NULL);
	ck_assert_uint_eq(fix_conns(&f), 0);
}
END_TEST

START_TEST(close_times_out)
{
	struct virtio_vsock_config cfg = { .close_timeout_ns = 300000000 };
	unsigned flags = 0;
	int ours;

	fix_done(&f);
	fix_init(&f, &cfg, 8);
	ours = fix_open(&f, 1, 2);
	(void)close(ours);
	while (flags != VSOCK_SHUT_BOTH)
		flags = fix_expect(&f, VSOCK_OP_SHUTDOWN, NULL).flags;
	ck_assert_uint_eq(fix_conns(&f), 1);
	(void)fix_expect(&f, VSOCK_OP_RST, NULL);
	ck_assert_uint_eq(fix_conns(&f), 0);
}
END_TEST

START_TEST(resets)
{
	int ours = fix_open(&f, 1, 2);
	char buf[4];

	fix_send(&f, VSOCK_OP_RST, 1, 2, 0, NULL, 0);
	ck_assert_int_eq(read(ours, buf, sizeof(buf)), 0);
	fix_expect_none(&f);
	(void)close(ours);

	/* The host closes with data of the guest unread: ECONNRESET. */
	ours = fix_open(&f, 1, 3);
	fix_send(&f, VSOCK_OP_RW, 1, 3, 0, "unread", 6);
	(void)close(ours);
	for (;;) {
		struct vsock_packet p;

		ck_assert(mock_vsock_recv(&f.m, &p, NULL, 10000));
		if (p.op == VSOCK_OP_RST)
			break;
		ck_assert(p.op == VSOCK_OP_SHUTDOWN && p.flags == VSOCK_SHUT_RCV);
	}
	ck_assert_uint_eq(fix_conns(&f), 0);
}
END_TEST

START_TEST(pipes)
{
	char buf[16];
	int p[2];

	/* The device has the reading end: the guest only listens. */
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	fix_send(&f, VSOCK_OP_REQUEST, 1, 2, 0, NULL, 0);
	virtio_vsock_accept(f.m.v, f.ask_id, p[0]);
	(void)fix_expect(&f, VSOCK_OP_RESPONSE, NULL);
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_SHUTDOWN, NULL).flags, VSOCK_SHUT_RCV);
	ck_assert_int_eq(write(p[1], "piped", 5), 5);
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_RW, NULL).len, 5);
	(void)close(p[1]);
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_SHUTDOWN, NULL).flags, VSOCK_SHUT_BOTH);
	fix_send(&f, VSOCK_OP_RST, 1, 2, 0, NULL, 0);

	/* The writing end: the guest only talks. */
	ck_assert_int_eq(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	fix_send(&f, VSOCK_OP_REQUEST, 1, 3, 0, NULL, 0);
	virtio_vsock_accept(f.m.v, f.ask_id, p[1]);
	(void)fix_expect(&f, VSOCK_OP_RESPONSE, NULL);
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_SHUTDOWN, NULL).flags, VSOCK_SHUT_SEND);
	fix_send(&f, VSOCK_OP_RW, 1, 3, 0, "talk", 4);
	ck_assert_int_eq(read(p[0], buf, sizeof(buf)), 4);
	fix_send(&f, VSOCK_OP_SHUTDOWN, 1, 3, VSOCK_SHUT_SEND, NULL, 0);
	ck_assert_int_eq(read(p[0], buf, sizeof(buf)), 0);
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_SHUTDOWN, NULL).flags, VSOCK_SHUT_BOTH);
	fix_send(&f, VSOCK_OP_RST, 1, 3, 0, NULL, 0);
	(void)close(p[0]);

	/* Its reader goes away. */
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	fix_send(&f, VSOCK_OP_REQUEST, 1, 4, 0, NULL, 0);
	virtio_vsock_accept(f.m.v, f.ask_id, p[1]);
	(void)fix_expect(&f, VSOCK_OP_RESPONSE, NULL);
	(void)fix_expect(&f, VSOCK_OP_SHUTDOWN, NULL);
	(void)close(p[0]);
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_SHUTDOWN, NULL).flags, VSOCK_SHUT_BOTH);
	fix_send(&f, VSOCK_OP_RST, 1, 4, 0, NULL, 0);
	ck_assert_uint_eq(fix_conns(&f), 0);
}
END_TEST

START_TEST(reset_by_the_driver)
{
	uint32_t port;
	int a = fix_open(&f, 1, 2);
	int b = fix_open_to_guest(&f, 3, &port);
	int c, fd;

	fix_pair(&fd, &c);
	ck_assert_int_eq(virtio_vsock_connect(f.m.v, 5, HOST_CID, 4, fd), 0);
	fix_send(&f, VSOCK_OP_REQUEST, 9, 9, 0, NULL, 0);
	ck_assert_uint_eq(fix_conns(&f), 4);
	mock_driver_reset(f.m.dev);
	ck_assert(fix_wait_end(&f, a) && fix_wait_end(&f, b) && fix_wait_end(&f, c));
	ck_assert_uint_eq(f.done, 2);
	ck_assert_uint_eq(f.done_id, 5);
	ck_assert_int_eq(f.done_result, -ECONNRESET);
	ck_assert_uint_eq(fix_conns(&f), 0);
	virtio_vsock_refuse(f.m.v, f.ask_id);
	(void)close(a);
	(void)close(b);
	(void)close(c);

	mock_vsock_start(&f.m, 32);
	a = fix_open(&f, 1, 2);
	/* Reset and up again before the loop has looked: the old stream is not taken over. */
	mock_driver_reset(f.m.dev);
	mock_vsock_start(&f.m, 32);
	ck_assert(fix_wait_end(&f, a));
	fix_send(&f, VSOCK_OP_RW, 1, 2, 0, "x", 1);
	(void)fix_expect(&f, VSOCK_OP_RST, NULL);
	(void)close(a);
}
END_TEST

START_TEST(transport_reset)
{
	int ours = fix_open(&f, 1, 2);
	uint32_t len = 0;
	const struct mock_seg seg = { .addr = f.m.ev_at, .len = 4, .write = true };

	memset(mock_ptr(&f.m.mem, f.m.ev_at, 4), 0xff, 4);
	virtio_vsock_transport_reset(f.m.v);
	ck_assert(fix_wait_end(&f, ours));
	fix_expect_none(&f);
	/* The event waits for a buffer. */
	(void)mock_ring_add(&f.m.ev, &seg, 1);
	mock_driver_kick(f.m.dev, 2);
	mock_vsock_run(&f.m, 1);
	ck_assert(mock_ring_used(&f.m.ev, NULL, &len));
	ck_assert_uint_eq(len, 4);
	ck_assert_mem_eq(mock_ptr(&f.m.mem, f.m.ev_at, 4), "\0\0\0\0", 4);
	/* Once only. */
	(void)mock_ring_add(&f.m.ev, &seg, 1);
	mock_driver_kick(f.m.dev, 2);
	mock_vsock_run(&f.m, 1);
	ck_assert(!mock_ring_used(&f.m.ev, NULL, NULL));
	(void)close(ours);
}
END_TEST

static bool needs_reset(void)
{
	return mock_reg_read(f.m.dev, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

START_TEST(broken_queues)
{
	int ours = fix_open(&f, 1, 2);

	ck_assert(!needs_reset());
	if (_i == 0) { /* a tx descriptor outside of memory */
		mock_ring_desc(&f.m.tx, 5, 0xdead00000000, 64, 0, 0);
		mock_ring_publish(&f.m.tx, 5);
		mock_driver_kick(f.m.dev, 1);
	} else if (_i == 1) { /* an rx buffer that holds a header and no byte more */
		fix_done(&f);
		fix_init(&f, NULL, 0);
		mock_vsock_start(&f.m, 0);
		mock_ring_desc(&f.m.rx, 0, f.m.rx_at, VSOCK_HDR_LEN, 2, 0);
		mock_ring_publish(&f.m.rx, 0);
		mock_driver_kick(f.m.dev, 0);
		fix_send(&f, VSOCK_OP_RW, 1, 2, 0, NULL, 0);
	} else { /* a head beyond the ring */
		mock_ring_publish(&f.m.tx, 999);
		mock_driver_kick(f.m.dev, 1);
	}
	mock_vsock_run(&f.m, 1);
	ck_assert(needs_reset());
	ck_assert(fix_wait_end(&f, ours));
	ck_assert_uint_eq(fix_conns(&f), 0);
	(void)close(ours);
	mock_vsock_start(&f.m, 8);
	ck_assert(!needs_reset());
	ours = fix_open(&f, 1, 2);
	(void)close(ours);
}
END_TEST

START_TEST(packet_without_header)
{
	struct virtio_vsock_stats s;

	for (uint32_t len = 1; len < VSOCK_HDR_LEN; len++) {
		mock_ring_desc(&f.m.tx, 0, f.m.tx_at, len, 0, 0);
		mock_ring_publish(&f.m.tx, 0);
		mock_driver_kick(f.m.dev, 1);
		mock_vsock_run(&f.m, 1);
		ck_assert(mock_ring_used(&f.m.tx, NULL, NULL));
	}
	fix_expect_none(&f);
	virtio_vsock_get_stats(f.m.v, &s);
	ck_assert_uint_eq(s.dropped, VSOCK_HDR_LEN - 1);
	ck_assert(!needs_reset());
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_vsock");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, configuration_space);
	tcase_add_loop_test(t, reserved_cids_are_refused, 0, 5);
	tcase_add_test(t, guest_connects_and_talks);
	tcase_add_test(t, refusals);
	tcase_add_test(t, host_connects);
	tcase_add_test(t, host_connect_fails);
	tcase_add_test(t, strays_get_a_reset);
	tcase_add_test(t, malformed_packets);
	tcase_add_loop_test(t, a_breach_kills_its_stream, 0, sizeof(killers) / sizeof(killers[0]));
	tcase_add_test(t, guest_half_closes);
	tcase_add_test(t, host_half_closes);
	tcase_add_test(t, host_closes);
	tcase_add_test(t, close_times_out);
	tcase_add_test(t, resets);
	tcase_add_test(t, pipes);
	tcase_add_test(t, reset_by_the_driver);
	tcase_add_test(t, transport_reset);
	tcase_add_loop_test(t, broken_queues, 0, 3);
	tcase_add_test(t, packet_without_header);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
