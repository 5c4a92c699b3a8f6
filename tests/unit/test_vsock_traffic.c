/* The vsock device under load: credit, fairness, floods, many streams, reset in full flight. */
#include <check.h>
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/clock.h>

#include "vsock_fixture.h"

#include "../../devices/vsock_dev.h"

static struct fixture f;
static uint8_t bulk[65536];

static void set_up(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < sizeof(bulk); i++)
		bulk[i] = (uint8_t)(i * 7 + (i >> 8));
	fix_init(&f, NULL, 64);
}

static void tear_down(void)
{
	fix_done(&f);
}

static struct vsock_conn *only_conn(void)
{
	return TAILQ_FIRST(&f.m.v->table.all);
}

START_TEST(guest_that_does_not_read)
{
	struct vsock_packet p = {
		.dst_cid = HOST_CID, .src_port = 2, .dst_port = 1, .op = VSOCK_OP_REQUEST
	};
	int fd, ours;
	uint32_t got = 0;

	/* No credit at all. */
	ck_assert(mock_vsock_send(&f.m, &p, NULL, 0));
	mock_vsock_run(&f.m, 0);
	fix_pair(&fd, &ours);
	virtio_vsock_accept(f.m.v, f.ask_id, fd);
	(void)fix_expect(&f, VSOCK_OP_RESPONSE, NULL);
	ck_assert_int_eq(write(ours, bulk, 20000), 20000);
	fix_expect_none(&f);

	/* Exactly what is allowed, then the question for more, once. */
	p.op = VSOCK_OP_CREDIT_UPDATE;
	p.buf_alloc = 5000;
	ck_assert(mock_vsock_send(&f.m, &p, NULL, 0));
	while (got < 5000)
		got += fix_expect(&f, VSOCK_OP_RW, NULL).len;
	ck_assert_uint_eq(got, 5000);
	(void)fix_expect(&f, VSOCK_OP_CREDIT_REQUEST, NULL);
	fix_expect_none(&f);
	ck_assert(mock_vsock_send(&f.m, &p, NULL, 0)); /* the answer: still nothing */
	fix_expect_none(&f);

	/* A shrunken buffer counts as full until what is on the way was read. */
	p.buf_alloc = 4000;
	p.fwd_cnt = 900;
	ck_assert(mock_vsock_send(&f.m, &p, NULL, 0));
	fix_expect_none(&f);
	p.fwd_cnt = 2000;
	ck_assert(mock_vsock_send(&f.m, &p, NULL, 0));
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_RW, NULL).len, 1000);
	(void)fix_expect(&f, VSOCK_OP_CREDIT_REQUEST, NULL);

	/* A lie about what it read opens nothing. */
	p.fwd_cnt = 1u << 31;
	ck_assert(mock_vsock_send(&f.m, &p, NULL, 0));
	fix_expect_none(&f);

	/* The end of the host's data comes after the data. */
	(void)close(ours);
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_SHUTDOWN, NULL).flags, VSOCK_SHUT_RCV);
	fix_expect_none(&f);
	p.buf_alloc = 1u << 20;
	p.fwd_cnt = 6000;
	ck_assert(mock_vsock_send(&f.m, &p, NULL, 0));
	for (got = 6000; got < 20000;)
		got += fix_expect(&f, VSOCK_OP_RW, NULL).len;
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_SHUTDOWN, NULL).flags, VSOCK_SHUT_BOTH);
}
END_TEST

static void shrink_buffers(int fd)
{
	const int small = 4096;

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
}

/* A stream whose host socket takes little, with the window of the given size. */
static int open_narrow(uint32_t guest_port)
{
	int fd, ours;

	fix_send(&f, VSOCK_OP_REQUEST, 1, guest_port, 0, NULL, 0);
	fix_pair(&fd, &ours);
	shrink_buffers(fd);
	virtio_vsock_accept(f.m.v, f.ask_id, fd);
	(void)fix_expect(&f, VSOCK_OP_RESPONSE, NULL);
	return ours;
}

START_TEST(host_that_does_not_read)
{
	struct virtio_vsock_config cfg = { .buf_alloc = 100000 };
	struct vsock_packet p;
	uint32_t sent = 0, fwd, got = 0;
	unsigned wrong = 0;
	uint8_t buf[5000];
	int ours;

	fix_done(&f);
	fix_init(&f, &cfg, 64);
	ours = open_narrow(2);
	fix_send(&f, VSOCK_OP_CREDIT_REQUEST, 1, 2, 0, NULL, 0);
	p = fix_expect(&f, VSOCK_OP_CREDIT_UPDATE, NULL);
	ck_assert_uint_eq(p.buf_alloc, 100000);
	while (sent < p.buf_alloc - 1000) {
		fix_send(&f, VSOCK_OP_RW, 1, 2, 0, bulk + sent % 1000, 1000);
		sent += 1000;
	}
	ck_assert_uint_gt(only_conn()->ring.len, 10000);
	ck_assert_uint_le(only_conn()->ring.cap, 100000);
	while (mock_vsock_recv(&f.m, &p, NULL, 5)) /* what the socket took */
		ck_assert_uint_eq(p.op, VSOCK_OP_CREDIT_UPDATE);
	fix_send(&f, VSOCK_OP_CREDIT_REQUEST, 1, 2, 0, NULL, 0);
	fwd = fix_expect(&f, VSOCK_OP_CREDIT_UPDATE, NULL).fwd_cnt;
	ck_assert_uint_lt(fwd, sent);

	/* To the last byte of credit. */
	while (sent - fwd < 100000) {
		uint32_t n = 100000 - (sent - fwd) < 1000 ? 100000 - (sent - fwd) : 1000;

		fix_send(&f, VSOCK_OP_RW, 1, 2, 0, bulk + sent % 1000, n);
		sent += n;
	}
	fix_expect_none(&f);

	/* The host wakes: all of it in order, the memory is given back, the guest is told. */
	while (got < sent) {
		ssize_t n = read(ours, buf, sizeof(buf));

		for (ssize_t i = 0; i < n; i++)
			wrong += buf[i] != bulk[(got + (uint32_t)i) % 1000];
		if (n > 0)
			got += (uint32_t)n;
		mock_vsock_run(&f.m, 0);
	}
	ck_assert_uint_eq(wrong, 0);
	ck_assert_ptr_null(only_conn()->ring.data);
	fwd = 0;
	while (mock_vsock_recv(&f.m, &p, NULL, 5)) {
		ck_assert_uint_eq(p.op, VSOCK_OP_CREDIT_UPDATE);
		fwd = p.fwd_cnt;
	}
	ck_assert_uint_ge(fwd, sent - 50000);

	/* One byte more than the window: a reset. */
	fix_send(&f, VSOCK_OP_CREDIT_REQUEST, 1, 2, 0, NULL, 0);
	ck_assert_uint_eq(fix_expect(&f, VSOCK_OP_CREDIT_UPDATE, NULL).fwd_cnt, sent);
	for (uint32_t n = 0; n < 400000 && fix_conns(&f); n += 4096)
		fix_send(&f, VSOCK_OP_RW, 1, 2, 0, bulk, 4096);
	do
		ck_assert(mock_vsock_recv(&f.m, &p, NULL, 10000));
	while (p.op == VSOCK_OP_CREDIT_UPDATE);
	ck_assert_uint_eq(p.op, VSOCK_OP_RST);
	ck_assert_uint_eq(fix_conns(&f), 0);
	(void)close(ours);
}
END_TEST

/* The guest says all it has to say and closes; the slow host still gets everything. */
START_TEST(close_with_data_in_flight)
{
	int ours = open_narrow(2);
	unsigned wrong = 0;
	uint32_t got = 0;
	uint8_t buf[3000];
	bool end = false;

	for (int i = 0; i < 3; i++)
		fix_send(&f, VSOCK_OP_RW, 1, 2, 0, bulk, sizeof(bulk));
	fix_send(&f, VSOCK_OP_SHUTDOWN, 1, 2, VSOCK_SHUT_BOTH, NULL, 0);
	for (;;) {
		struct vsock_packet p;

		ck_assert(mock_vsock_recv(&f.m, &p, NULL, 10000));
		if (p.op == VSOCK_OP_RST)
			break;
	}
	ck_assert_uint_eq(fix_conns(&f), 1); /* lingers for the host */
	/* The guest may use the name again at once. */
	(void)close(fix_open(&f, 1, 2));
	while (!end) {
		ssize_t n = read(ours, buf, sizeof(buf));

		for (ssize_t i = 0; i < n; i++)
			wrong += buf[i] != bulk[(got + (uint32_t)i) % sizeof(bulk)];
		if (n > 0)
			got += (uint32_t)n;
		end = n == 0;
		mock_vsock_run(&f.m, 0);
	}
	ck_assert_uint_eq(got, 3 * sizeof(bulk));
	ck_assert_uint_eq(wrong, 0);
	(void)close(ours);
}
END_TEST

/* Many windows do not add up beyond the bound, and each stream has one. */
START_TEST(windows_share_a_pool)
{
	struct virtio_vsock_config cfg = { .buf_total = 1 << 20, .max_conns = 200 };
	uint64_t sum = 0;

	fix_done(&f);
	fix_init(&f, &cfg, 64);
	f.answer = FIX_ACCEPT;
	for (int round = 0; round < 2; round++) {
		sum = 0;
		for (uint32_t i = 0; i < 200; i++) {
			struct vsock_packet p;

			fix_send(&f, VSOCK_OP_REQUEST, 1, i, 0, NULL, 0);
			p = fix_expect(&f, VSOCK_OP_RESPONSE, NULL);
			ck_assert_uint_ge(p.buf_alloc, 8192);
			ck_assert_uint_le(p.buf_alloc, 256 << 10);
			sum += p.buf_alloc;
		}
		ck_assert_uint_le(sum, (1 << 20) + 200 * 8192);
		ck_assert_uint_ge(sum, 1 << 20);
		for (uint32_t i = 0; i < 200; i++) {
			fix_send(&f, VSOCK_OP_RST, 1, i, 0, NULL, 0);
			(void)close(f.ends[i]);
		}
		ck_assert_uint_eq(f.m.v->table.pool, 1 << 20);
	}
}
END_TEST

/* A guest that floods and gives no buffers is left waiting; then it gets every answer. */
START_TEST(flood_without_buffers)
{
	struct vsock_packet p = { .dst_cid = HOST_CID, .dst_port = 1, .op = VSOCK_OP_RW };
	unsigned sent = 0, answered = 0;

	fix_done(&f);
	fix_init(&f, NULL, 0);
	mock_vsock_start(&f.m, 0);
	f.m.rx_hold = true;
	while (sent < 1000) {
		p.src_port = sent;
		if (!mock_vsock_send(&f.m, &p, NULL, 0))
			break;
		sent++;
	}
	ck_assert_uint_eq(sent, VSOCK_REPLIES_MAX + MOCK_VSOCK_SLOTS);
	ck_assert_uint_eq(f.m.v->reply_count, VSOCK_REPLIES_MAX);
	while (answered < sent) {
		mock_vsock_give(&f.m, 3);
		while (mock_vsock_recv(&f.m, &p, NULL, 2)) {
			ck_assert_uint_eq(p.op, VSOCK_OP_RST);
			ck_assert_uint_eq(p.dst_port, answered++);
		}
	}
	ck_assert_uint_eq(f.m.v->reply_count, 0);
}
END_TEST

/* The same with requests the owner refuses: the table fills, not memory. */
START_TEST(flood_of_requests)
{
	struct virtio_vsock_config cfg = { .max_conns = 50 };
	struct vsock_packet p = { .dst_cid = HOST_CID, .dst_port = 1, .op = VSOCK_OP_REQUEST };
	unsigned sent = 0, answered = 0;

	fix_done(&f);
	fix_init(&f, &cfg, 0);
	mock_vsock_start(&f.m, 0);
	f.m.rx_hold = true;
	f.answer = FIX_REFUSE;
	while (sent < 1000) {
		p.src_port = sent;
		if (!mock_vsock_send(&f.m, &p, NULL, 0))
			break;
		sent++;
	}
	ck_assert_uint_eq(sent, 50 + VSOCK_REPLIES_MAX + MOCK_VSOCK_SLOTS);
	ck_assert_uint_eq(fix_conns(&f), 50);
	for (unsigned idle = 0; answered < sent && idle < 1000; idle++) {
		mock_vsock_give(&f.m, 5);
		while (mock_vsock_recv(&f.m, &p, NULL, 2)) {
			ck_assert_uint_eq(p.op, VSOCK_OP_RST);
			answered++;
		}
	}
	ck_assert_uint_eq(answered, sent);
	ck_assert_uint_eq(fix_conns(&f), 0);
}
END_TEST

/* Without buffers the host sockets are not read; with one at a time, everybody has a turn. */
/*
 * The owner refuses from inside its callback, and another vCPU makes new
 * requests in the meantime: one turn of the loop must end all the same.
 */
static unsigned refused, refused_in_turn;

static void refuse_and_be_asked_again(
	void *user, uint64_t id, uint64_t dst_cid, uint32_t dst_port, uint32_t src_port)
{
	struct vsock_packet p = { .dst_cid = dst_cid, .dst_port = dst_port };

	(void)user;
	refused++;
	refused_in_turn++;
	ck_assert_msg(refused_in_turn <= 2 * VSOCK_BUDGET, "the turn does not end");
	while (mock_ring_used(&f.m.tx, NULL, NULL)) {
	}
	while (mock_ring_used(&f.m.rx, NULL, NULL))
		f.m.rx_given--;
	/* As many strays as there are replies let go by two buffers, and a request. */
	mock_vsock_give(&f.m, 2);
	for (uint32_t i = 0; i < 3; i++) {
		p.op = i ? VSOCK_OP_RW : VSOCK_OP_REQUEST;
		p.src_port = i ? 1 : src_port + 1;
		if ((uint16_t)(le16toh(f.m.tx.avail->idx) - f.m.tx.last_used) < MOCK_VSOCK_SLOTS)
			ck_assert(mock_vsock_send(&f.m, &p, NULL, 0));
	}
	virtio_vsock_refuse(f.m.v, id);
}

START_TEST(answers_from_inside_do_not_hold_the_loop)
{
	static struct virtio_vsock_ops ops;
	struct vsock_packet p = { .dst_cid = HOST_CID, .dst_port = 9 };

	refused = refused_in_turn = 0;
	ops = *f.m.v->ops;
	ops.guest_connect = refuse_and_be_asked_again;
	fix_done(&f);
	fix_init(&f, NULL, 1);
	f.m.v->ops = &ops;
	/* Strays until the device has no room for another reply and leaves tx alone. */
	p.op = VSOCK_OP_RW;
	p.src_port = 1;
	for (unsigned i = 0; i < VSOCK_REPLIES_MAX + 1; i++) {
		ck_assert(mock_vsock_send(&f.m, &p, NULL, 0));
		mock_vsock_run(&f.m, 0);
	}
	ck_assert_uint_eq(f.m.v->reply_count, VSOCK_REPLIES_MAX);
	for (unsigned i = 0; i < 4; i++) {
		p.op = i ? VSOCK_OP_RW : VSOCK_OP_REQUEST;
		p.src_port = i ? 1 : 100;
		ck_assert(mock_vsock_send(&f.m, &p, NULL, 0));
	}
	mock_vsock_run(&f.m, 0);
	mock_vsock_give(&f.m, 2);
	for (unsigned turn = 0; turn < 400; turn++) {
		refused_in_turn = 0;
		ck_assert_int_eq(loop_step(f.m.loop, 0, NULL), 0);
	}
	ck_assert_uint_gt(refused, 10);
}
END_TEST

START_TEST(descriptor_starvation_is_fair)
{
	enum { STREAMS = 20 };
	uint32_t got[STREAMS] = { 0 };
	int ends[STREAMS];
	struct vsock_packet p;

	for (uint32_t i = 0; i < STREAMS; i++)
		ends[i] = fix_open(&f, 1, i);
	f.m.rx_hold = true;
	while (f.m.rx_given) { /* one greedy stream takes every buffer */
		ck_assert_int_gt(write(ends[0], bulk, 40000), 0);
		while (mock_vsock_recv(&f.m, &p, NULL, 5))
			ck_assert_uint_eq(p.dst_port, 0);
	}
	for (uint32_t i = 0; i < STREAMS; i++)
		ck_assert_int_eq(write(ends[i], bulk, 40000), 40000);
	fix_expect_none(&f);
	for (uint32_t turn = 0; turn < 3 * STREAMS; turn++) {
		mock_vsock_give(&f.m, 1);
		got[fix_expect(&f, VSOCK_OP_RW, NULL).dst_port]++;
	}
	for (uint32_t i = 0; i < STREAMS; i++) {
		/* The greedy one had half a packet left and may be a turn ahead or behind. */
		ck_assert_uint_ge(got[i], 2);
		ck_assert_uint_le(got[i], 4);
		(void)close(ends[i]);
	}
}
END_TEST

static uint32_t sum_bytes(uint32_t h, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 16777619u;
	return h;
}

enum { MANY = 500, EACH = 60000 };

struct stream {
	uint32_t to_guest, from_guest; /* bytes so far, at the receiver */
	uint32_t host_put, guest_put;
	uint32_t guest_sum, host_sum;
	uint32_t window, fwd; /* what the device offers */
	uint8_t salt;
};

static struct stream streams[MANY];

static void fill(uint8_t *buf, uint8_t salt, uint32_t at, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		buf[i] = (uint8_t)((at + i) * 31 + salt + ((at + i) >> 8));
}

static void host_turn(uint32_t i)
{
	struct stream *s = &streams[i];
	uint8_t buf[3000];
	ssize_t n;

	if (s->host_put < EACH) {
		uint32_t len = EACH - s->host_put < sizeof(buf) ? EACH - s->host_put : sizeof(buf);

		fill(buf, s->salt, s->host_put, len);
		n = write(f.ends[i], buf, len);
		if (n > 0)
			s->host_put += (uint32_t)n;
	}
	n = read(f.ends[i], buf, sizeof(buf));
	if (n > 0) {
		s->host_sum = sum_bytes(s->host_sum, buf, (size_t)n);
		s->from_guest += (uint32_t)n;
	}
}

static void guest_turn(uint32_t i)
{
	struct stream *s = &streams[i];
	struct vsock_packet p = { .dst_cid = HOST_CID,
		.dst_port = 7,
		.src_port = i,
		.op = VSOCK_OP_RW,
		.buf_alloc = 10000,
		.fwd_cnt = s->to_guest };
	uint32_t room = s->window - (s->guest_put - s->fwd);
	uint8_t buf[2500];

	p.len = EACH - s->guest_put < sizeof(buf) ? EACH - s->guest_put : sizeof(buf);
	if (p.len > room)
		p.len = room;
	fill(buf, (uint8_t)(s->salt + 1), s->guest_put, p.len);
	if (p.len == 0)
		p.op = VSOCK_OP_CREDIT_UPDATE;
	if (mock_vsock_send(&f.m, &p, buf, p.len))
		s->guest_put += p.len;
}

static void guest_receive(void)
{
	uint8_t buf[MOCK_VSOCK_RXBUF];
	struct vsock_packet p;

	while (mock_vsock_recv(&f.m, &p, buf, 0)) {
		struct stream *s = &streams[p.dst_port];

		ck_assert_uint_lt(p.dst_port, MANY);
		ck_assert(p.op == VSOCK_OP_RW || p.op == VSOCK_OP_CREDIT_UPDATE ||
			p.op == VSOCK_OP_CREDIT_REQUEST || p.op == VSOCK_OP_RESPONSE);
		s->window = p.buf_alloc;
		s->fwd = p.fwd_cnt;
		s->guest_sum = sum_bytes(s->guest_sum, buf, p.len);
		s->to_guest += p.len;
	}
}

START_TEST(hundreds_of_streams)
{
	struct virtio_vsock_stats stats;
	uint8_t *want = malloc(EACH);
	unsigned unfinished = MANY;

	ck_assert_ptr_nonnull(want);
	f.answer = FIX_ACCEPT;
	for (uint32_t i = 0; i < MANY; i++) {
		streams[i].salt = (uint8_t)(i * 13);
		fix_send(&f, VSOCK_OP_REQUEST, 7, i, 0, NULL, 0);
		guest_receive();
	}
	ck_assert_uint_eq(fix_conns(&f), MANY);
	while (unfinished) {
		unfinished = 0;
		for (uint32_t i = 0; i < MANY; i++) {
			host_turn(i);
			guest_turn(i);
			guest_receive();
			unfinished += streams[i].to_guest < EACH || streams[i].from_guest < EACH;
		}
		mock_vsock_run(&f.m, 0);
		guest_receive();
	}
	for (uint32_t i = 0; i < MANY; i++) {
		fill(want, streams[i].salt, 0, EACH);
		ck_assert_uint_eq(streams[i].guest_sum, sum_bytes(0, want, EACH));
		fill(want, (uint8_t)(streams[i].salt + 1), 0, EACH);
		ck_assert_uint_eq(streams[i].host_sum, sum_bytes(0, want, EACH));
		(void)close(f.ends[i]);
	}
	virtio_vsock_get_stats(f.m.v, &stats);
	ck_assert_uint_eq(stats.rx_bytes, (uint64_t)MANY * EACH);
	ck_assert_uint_eq(stats.tx_bytes, (uint64_t)MANY * EACH);
	ck_assert_uint_eq(stats.resets, 0);
	free(want);
}
END_TEST

static atomic_bool stop_vcpu;

/* Another thread resets the device and brings it up again, as vCPUs do. */
static void *vcpu(void *arg)
{
	const struct timespec pause = { .tv_nsec = 300000 };

	(void)arg;
	while (!atomic_load(&stop_vcpu)) {
		mock_driver_reset(f.m.dev);
		if (!mock_driver_negotiate(f.m.dev, ~0ULL) ||
			!mock_driver_queue(f.m.dev, 0, &f.m.rx) ||
			!mock_driver_queue(f.m.dev, 1, &f.m.tx) || !mock_driver_ok(f.m.dev))
			abort();
		mock_driver_kick(f.m.dev, 1);
		(void)nanosleep(&pause, NULL);
	}
	return NULL;
}

START_TEST(reset_in_full_flight)
{
	uint64_t end = clock_mono_ns() + CLOCK_NS_PER_S;
	pthread_t thread;
	unsigned rounds = 0, opened = 0;
	int ours[8];

	memset(ours, -1, sizeof(ours));
	ck_assert_int_eq(pthread_create(&thread, NULL, vcpu, NULL), 0);
	while (clock_mono_ns() < end) {
		unsigned i = rounds++ % 8;
		int fd;

		if (ours[i] >= 0)
			(void)close(ours[i]);
		fix_pair(&fd, &ours[i]);
		(void)!write(ours[i], bulk, 30000);
		opened += virtio_vsock_connect(f.m.v, rounds, HOST_CID, i, fd) == 0;
		ck_assert_int_eq(loop_step(f.m.loop, 0, NULL), 0);
	}
	atomic_store(&stop_vcpu, true);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	mock_driver_reset(f.m.dev);
	mock_vsock_run(&f.m, 1);
	ck_assert_uint_eq(fix_conns(&f), 0);
	ck_assert_uint_gt(opened, 10);
	ck_assert_uint_eq(f.done, opened); /* each has been answered, once */
	for (unsigned i = 0; i < 8; i++)
		(void)close(ours[i]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vsock_traffic");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 100);
	tcase_add_test(t, guest_that_does_not_read);
	tcase_add_test(t, host_that_does_not_read);
	tcase_add_test(t, close_with_data_in_flight);
	tcase_add_test(t, windows_share_a_pool);
	tcase_add_test(t, flood_without_buffers);
	tcase_add_test(t, flood_of_requests);
	tcase_add_test(t, answers_from_inside_do_not_hold_the_loop);
	tcase_add_test(t, descriptor_starvation_is_fair);
	tcase_add_test(t, hundreds_of_streams);
	tcase_add_test(t, reset_in_full_flight);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
