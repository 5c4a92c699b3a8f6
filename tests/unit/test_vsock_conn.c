/* The state table, the credit arithmetic, the ring and the header of vsock. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../devices/vsock_conn.h"

#define ALLOC 65536u

static struct vsock_conn conn_in(enum vsock_state state)
{
	struct vsock_conn c = {
		.state = state,
		.fd = -1,
		.credit = { .buf_alloc = ALLOC, .peer_alloc = ALLOC },
	};

	if (state == VSOCK_CLOSING)
		c.host_shut = VSOCK_SHUT_BOTH;
	if (state == VSOCK_GONE)
		c.due = VSOCK_DUE_RST;
	return c;
}

/* Written down a second time, from virtio 1.2, 5.10.6.5 and our contract, not from the table. */
static const struct {
	enum vsock_state from;
	enum vsock_event ev;
	uint32_t arg;
	enum vsock_state to;
	unsigned due;
	unsigned fx;
} steps[] = {
	{ VSOCK_ASKED, VSOCK_EV_REQUEST, 0, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
	{ VSOCK_ASKED, VSOCK_EV_RESPONSE, 0, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
	{ VSOCK_ASKED, VSOCK_EV_RST, 0, VSOCK_GONE, 0, VSOCK_FX_CLOSE },
	{ VSOCK_ASKED, VSOCK_EV_SHUTDOWN, 3, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
	{ VSOCK_ASKED, VSOCK_EV_RW, 1, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
	{ VSOCK_ASKED, VSOCK_EV_CREDIT_UPDATE, 0, VSOCK_ASKED, 0, 0 },
	{ VSOCK_ASKED, VSOCK_EV_CREDIT_REQUEST, 0, VSOCK_ASKED, 0, 0 },
	{ VSOCK_ASKED, VSOCK_EV_BROKEN, 0, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
	{ VSOCK_ASKED, VSOCK_EV_ACCEPT, 0, VSOCK_OPEN, VSOCK_DUE_RESPONSE, 0 },
	{ VSOCK_ASKED, VSOCK_EV_REFUSE, 0, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },

	{ VSOCK_CONNECTING, VSOCK_EV_REQUEST, 0, VSOCK_GONE, VSOCK_DUE_RST,
		VSOCK_FX_CLOSE | VSOCK_FX_FAILED },
	{ VSOCK_CONNECTING, VSOCK_EV_RESPONSE, 0, VSOCK_OPEN, 0, VSOCK_FX_CONNECTED },
	{ VSOCK_CONNECTING, VSOCK_EV_RST, 0, VSOCK_GONE, 0, VSOCK_FX_CLOSE | VSOCK_FX_FAILED },
	{ VSOCK_CONNECTING, VSOCK_EV_SHUTDOWN, 3, VSOCK_GONE, VSOCK_DUE_RST,
		VSOCK_FX_CLOSE | VSOCK_FX_FAILED },
	{ VSOCK_CONNECTING, VSOCK_EV_RW, 1, VSOCK_GONE, VSOCK_DUE_RST,
		VSOCK_FX_CLOSE | VSOCK_FX_FAILED },
	{ VSOCK_CONNECTING, VSOCK_EV_CREDIT_UPDATE, 0, VSOCK_GONE, VSOCK_DUE_RST,
		VSOCK_FX_CLOSE | VSOCK_FX_FAILED },
	{ VSOCK_CONNECTING, VSOCK_EV_CREDIT_REQUEST, 0, VSOCK_GONE, VSOCK_DUE_RST,
		VSOCK_FX_CLOSE | VSOCK_FX_FAILED },
	{ VSOCK_CONNECTING, VSOCK_EV_BROKEN, 0, VSOCK_GONE, VSOCK_DUE_RST,
		VSOCK_FX_CLOSE | VSOCK_FX_FAILED },
	{ VSOCK_CONNECTING, VSOCK_EV_TIMEOUT, 0, VSOCK_GONE, VSOCK_DUE_RST,
		VSOCK_FX_CLOSE | VSOCK_FX_FAILED },

	{ VSOCK_OPEN, VSOCK_EV_REQUEST, 0, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
	{ VSOCK_OPEN, VSOCK_EV_RESPONSE, 0, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
	{ VSOCK_OPEN, VSOCK_EV_RST, 0, VSOCK_GONE, 0, VSOCK_FX_CLOSE },
	{ VSOCK_OPEN, VSOCK_EV_SHUTDOWN, 0, VSOCK_OPEN, 0, 0 },
	{ VSOCK_OPEN, VSOCK_EV_SHUTDOWN, 1, VSOCK_OPEN, 0, VSOCK_FX_SHUT_RD },
	{ VSOCK_OPEN, VSOCK_EV_SHUTDOWN, 2, VSOCK_OPEN, 0, VSOCK_FX_SHUT_WR },
	{ VSOCK_OPEN, VSOCK_EV_SHUTDOWN, 3, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
	{ VSOCK_OPEN, VSOCK_EV_SHUTDOWN, 0xfffffffc, VSOCK_OPEN, 0, 0 },
	{ VSOCK_OPEN, VSOCK_EV_RW, 0, VSOCK_OPEN, 0, VSOCK_FX_PAYLOAD },
	{ VSOCK_OPEN, VSOCK_EV_RW, ALLOC, VSOCK_OPEN, 0, VSOCK_FX_PAYLOAD },
	{ VSOCK_OPEN, VSOCK_EV_RW, ALLOC + 1, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
	{ VSOCK_OPEN, VSOCK_EV_CREDIT_UPDATE, 0, VSOCK_OPEN, 0, 0 },
	{ VSOCK_OPEN, VSOCK_EV_CREDIT_REQUEST, 0, VSOCK_OPEN, VSOCK_DUE_CREDIT_UPDATE, 0 },
	{ VSOCK_OPEN, VSOCK_EV_BROKEN, 0, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
	{ VSOCK_OPEN, VSOCK_EV_HOST_EOF, 0, VSOCK_OPEN, VSOCK_DUE_SHUTDOWN, 0 },
	{ VSOCK_OPEN, VSOCK_EV_HOST_DEAF, 0, VSOCK_OPEN, VSOCK_DUE_SHUTDOWN, 0 },
	{ VSOCK_OPEN, VSOCK_EV_HOST_ERROR, 0, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
	{ VSOCK_OPEN, VSOCK_EV_DRAINED, 0, VSOCK_OPEN, 0, 0 },

	{ VSOCK_CLOSING, VSOCK_EV_REQUEST, 0, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
	{ VSOCK_CLOSING, VSOCK_EV_RESPONSE, 0, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
	{ VSOCK_CLOSING, VSOCK_EV_RST, 0, VSOCK_GONE, 0, VSOCK_FX_CLOSE },
	{ VSOCK_CLOSING, VSOCK_EV_SHUTDOWN, 1, VSOCK_CLOSING, 0, 0 },
	{ VSOCK_CLOSING, VSOCK_EV_SHUTDOWN, 3, VSOCK_GONE, VSOCK_DUE_RST, 0 },
	{ VSOCK_CLOSING, VSOCK_EV_RW, 5, VSOCK_CLOSING, 0, VSOCK_FX_DISCARD },
	{ VSOCK_CLOSING, VSOCK_EV_CREDIT_UPDATE, 0, VSOCK_CLOSING, 0, 0 },
	{ VSOCK_CLOSING, VSOCK_EV_CREDIT_REQUEST, 0, VSOCK_CLOSING, VSOCK_DUE_CREDIT_UPDATE, 0 },
	{ VSOCK_CLOSING, VSOCK_EV_BROKEN, 0, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
	{ VSOCK_CLOSING, VSOCK_EV_TIMEOUT, 0, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },

	{ VSOCK_GONE, VSOCK_EV_REQUEST, 0, VSOCK_GONE, VSOCK_DUE_RST, 0 },
	{ VSOCK_GONE, VSOCK_EV_RESPONSE, 0, VSOCK_GONE, VSOCK_DUE_RST, 0 },
	{ VSOCK_GONE, VSOCK_EV_RST, 0, VSOCK_GONE, 0, 0 },
	{ VSOCK_GONE, VSOCK_EV_SHUTDOWN, 3, VSOCK_GONE, VSOCK_DUE_RST, 0 },
	{ VSOCK_GONE, VSOCK_EV_RW, 9, VSOCK_GONE, VSOCK_DUE_RST, 0 },
	{ VSOCK_GONE, VSOCK_EV_CREDIT_UPDATE, 0, VSOCK_GONE, VSOCK_DUE_RST, 0 },
	{ VSOCK_GONE, VSOCK_EV_CREDIT_REQUEST, 0, VSOCK_GONE, VSOCK_DUE_RST, 0 },
	{ VSOCK_GONE, VSOCK_EV_BROKEN, 0, VSOCK_GONE, VSOCK_DUE_RST, 0 },
	{ VSOCK_GONE, VSOCK_EV_HOST_DEAF, 0, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
	{ VSOCK_GONE, VSOCK_EV_HOST_ERROR, 0, VSOCK_GONE, VSOCK_DUE_RST, VSOCK_FX_CLOSE },
};

START_TEST(each_step)
{
	struct vsock_conn c = conn_in(steps[_i].from);
	unsigned fx = vsock_conn_step(&c, steps[_i].ev, steps[_i].arg);

	ck_assert_msg(c.state == steps[_i].to && c.due == steps[_i].due && fx == steps[_i].fx,
		"step %d: state %s due %x fx %x", _i, vsock_state_name(c.state), c.due, fx);
}
END_TEST

/* Whatever the guest sends in whatever state has an entry: none of it ends the program. */
START_TEST(guest_events_are_all_there)
{
	for (unsigned s = 0; s < VSOCK_STATE_COUNT; s++) {
		for (unsigned ev = VSOCK_EV_REQUEST; ev <= VSOCK_EV_BROKEN; ev++) {
			bool listed = false;

			for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
				listed = listed || (steps[i].from == s && steps[i].ev == ev);
			ck_assert_msg(listed, "state %u event %u", s, ev);
		}
	}
}
END_TEST

START_TEST(connect_results)
{
	struct vsock_conn c = conn_in(VSOCK_CONNECTING);

	(void)vsock_conn_step(&c, VSOCK_EV_RST, 0);
	ck_assert_int_eq(c.result, -ECONNREFUSED);
	c = conn_in(VSOCK_CONNECTING);
	(void)vsock_conn_step(&c, VSOCK_EV_TIMEOUT, 0);
	ck_assert_int_eq(c.result, -ETIMEDOUT);
	c = conn_in(VSOCK_CONNECTING);
	(void)vsock_conn_step(&c, VSOCK_EV_RW, 1);
	ck_assert_int_eq(c.result, -ECONNRESET);
	/* A guest that never saw the REQUEST gets no RST. */
	c = conn_in(VSOCK_CONNECTING);
	c.due = VSOCK_DUE_REQUEST;
	(void)vsock_conn_step(&c, VSOCK_EV_TIMEOUT, 0);
	ck_assert_uint_eq(c.due, 0);
	ck_assert(vsock_conn_finished(&c));
}
END_TEST

START_TEST(half_closes_add_up)
{
	struct vsock_conn c = conn_in(VSOCK_OPEN);

	/* The guest stops sending, then the host does: we close. */
	ck_assert_uint_eq(vsock_conn_step(&c, VSOCK_EV_SHUTDOWN, 2), VSOCK_FX_SHUT_WR);
	ck_assert_uint_eq(vsock_conn_step(&c, VSOCK_EV_SHUTDOWN, 2), 0);
	ck_assert_uint_eq(vsock_conn_step(&c, VSOCK_EV_HOST_EOF, 0), VSOCK_FX_CLOSE);
	ck_assert_int_eq(c.state, VSOCK_CLOSING);
	ck_assert_uint_eq(c.host_shut, VSOCK_SHUT_BOTH);
	ck_assert_uint_eq(c.due, VSOCK_DUE_SHUTDOWN);

	/* The guest closes in two steps: it gets its RST. */
	c = conn_in(VSOCK_OPEN);
	(void)vsock_conn_step(&c, VSOCK_EV_SHUTDOWN, 1);
	(void)vsock_conn_step(&c, VSOCK_EV_SHUTDOWN, 2);
	ck_assert_int_eq(c.state, VSOCK_GONE);
	ck_assert_uint_eq(c.due, VSOCK_DUE_RST);

	/* The host closes both ways. */
	c = conn_in(VSOCK_OPEN);
	(void)vsock_conn_step(&c, VSOCK_EV_HOST_DEAF, 0);
	ck_assert_uint_eq(c.host_shut, VSOCK_SHUT_RCV);
	(void)vsock_conn_step(&c, VSOCK_EV_HOST_EOF, 0);
	ck_assert_int_eq(c.state, VSOCK_CLOSING);

	/* Data after the guest's own SHUTDOWN(SEND) is a breach. */
	c = conn_in(VSOCK_OPEN);
	(void)vsock_conn_step(&c, VSOCK_EV_SHUTDOWN, 2);
	(void)vsock_conn_step(&c, VSOCK_EV_RW, 1);
	ck_assert_int_eq(c.state, VSOCK_GONE);
}
END_TEST

static void fill_ring(struct vsock_conn *c, uint32_t len)
{
	uint8_t *bytes = calloc(1, len);
	struct iovec iov = { .iov_base = bytes, .iov_len = len };

	ck_assert_ptr_nonnull(bytes);
	ck_assert_int_eq(vsock_ring_put(&c->ring, &iov, 1, 0, len, ALLOC), 0);
	free(bytes);
}

START_TEST(data_in_flight_is_delivered_first)
{
	struct vsock_conn c = conn_in(VSOCK_OPEN);

	fill_ring(&c, 100);
	ck_assert_uint_eq(vsock_conn_step(&c, VSOCK_EV_SHUTDOWN, 2), 0);
	vsock_ring_skip(&c.ring, 100);
	ck_assert_uint_eq(vsock_conn_step(&c, VSOCK_EV_DRAINED, 0), VSOCK_FX_SHUT_WR);

	/* Full close: the RST is due at once, the host gets the rest. */
	c = conn_in(VSOCK_OPEN);
	fill_ring(&c, 100);
	ck_assert_uint_eq(vsock_conn_step(&c, VSOCK_EV_SHUTDOWN, 3), VSOCK_FX_FINISH);
	ck_assert_uint_eq(c.due, VSOCK_DUE_RST);
	c.due = 0;
	ck_assert(!vsock_conn_finished(&c));
	vsock_ring_skip(&c.ring, 100);
	ck_assert_uint_eq(vsock_conn_step(&c, VSOCK_EV_DRAINED, 0), VSOCK_FX_CLOSE);
	ck_assert(vsock_conn_finished(&c));

	/* A host that turned deaf with data in the ring: no clean end for the guest. */
	c = conn_in(VSOCK_OPEN);
	fill_ring(&c, 100);
	c.credit.rx_cnt = 100;
	(void)vsock_conn_step(&c, VSOCK_EV_HOST_DEAF, 0);
	ck_assert(c.lost);
	ck_assert_uint_eq(c.ring.len, 0);
	ck_assert_uint_eq(c.credit.fwd_cnt, 100);
	ck_assert_uint_eq(vsock_conn_step(&c, VSOCK_EV_RW, 10), VSOCK_FX_DISCARD);
	(void)vsock_conn_step(&c, VSOCK_EV_HOST_EOF, 0);
	ck_assert_int_eq(c.state, VSOCK_GONE);
	ck_assert_uint_eq(c.due, VSOCK_DUE_RST);
}
END_TEST

START_TEST(control_packets_in_order)
{
	static const uint16_t ops[] = { VSOCK_OP_RESPONSE, VSOCK_OP_CREDIT_UPDATE,
		VSOCK_OP_SHUTDOWN, VSOCK_OP_CREDIT_REQUEST };
	struct vsock_conn c = conn_in(VSOCK_OPEN);
	struct vsock_packet p = { 0 };

	c.host_shut = VSOCK_SHUT_RCV;
	c.due = VSOCK_DUE_CREDIT_REQUEST | VSOCK_DUE_SHUTDOWN | VSOCK_DUE_CREDIT_UPDATE |
		VSOCK_DUE_RESPONSE;
	for (unsigned i = 0; i < 4; i++) {
		ck_assert(vsock_conn_next_due(&c, &p));
		ck_assert_uint_eq(p.op, ops[i]);
		ck_assert_uint_eq(p.flags, p.op == VSOCK_OP_SHUTDOWN ? VSOCK_SHUT_RCV : 0);
	}
	ck_assert(!vsock_conn_next_due(&c, &p));
}
END_TEST

/* The same sums from counters that start anywhere, also just below 2^32. */
static const uint32_t bases[] = { 0, 1, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff };

START_TEST(credit_to_the_guest)
{
	uint32_t b = bases[_i];
	struct vsock_credit k = { .tx_cnt = b, .peer_fwd = b };

	vsock_credit_learn(&k, 1000, b);
	ck_assert_uint_eq(vsock_credit_free(&k), 1000);
	k.tx_cnt += 600;
	ck_assert_uint_eq(vsock_credit_free(&k), 400);
	k.tx_cnt += 400;
	ck_assert_uint_eq(vsock_credit_free(&k), 0);
	vsock_credit_learn(&k, 1000, b + 250);
	ck_assert_uint_eq(vsock_credit_free(&k), 250);
	/* Out of order: an older count takes nothing back. */
	vsock_credit_learn(&k, 1000, b + 100);
	ck_assert_uint_eq(vsock_credit_free(&k), 250);
	/* More than was ever sent: a lie makes no credit. */
	vsock_credit_learn(&k, 1000, b + 1001);
	ck_assert_uint_eq(vsock_credit_free(&k), 250);
	vsock_credit_learn(&k, 1000, b + 0x80000000u);
	ck_assert_uint_eq(vsock_credit_free(&k), 250);
	/* A buffer that shrinks below what is on the way, to nothing, and grows again. */
	vsock_credit_learn(&k, 700, b + 250);
	ck_assert_uint_eq(vsock_credit_free(&k), 0);
	vsock_credit_learn(&k, 0, b + 1000);
	ck_assert_uint_eq(vsock_credit_free(&k), 0);
	vsock_credit_learn(&k, UINT32_MAX, b + 1000);
	ck_assert_uint_eq(vsock_credit_free(&k), UINT32_MAX);
}
END_TEST

START_TEST(credit_from_the_guest)
{
	uint32_t b = bases[_i];
	struct vsock_credit k = { .buf_alloc = 1000, .rx_cnt = b, .fwd_cnt = b, .told_fwd = b };

	ck_assert(vsock_credit_take(&k, 500));
	ck_assert(!vsock_credit_stale(&k)); /* nothing new to tell */
	ck_assert(!vsock_credit_take(&k, 501));
	ck_assert(!vsock_credit_take(&k, UINT32_MAX));
	ck_assert(vsock_credit_take(&k, 500));
	ck_assert(!vsock_credit_take(&k, 1));
	ck_assert(vsock_credit_take(&k, 0));
	k.fwd_cnt += 1;
	ck_assert(vsock_credit_stale(&k));
	ck_assert(vsock_credit_take(&k, 1));
	ck_assert(!vsock_credit_take(&k, 1));
	k.fwd_cnt += 1000;
	k.told_fwd = k.fwd_cnt;
	ck_assert(!vsock_credit_stale(&k));
	ck_assert_uint_eq(k.rx_cnt, b + 1001);
	ck_assert(vsock_credit_take(&k, 500));
	k.fwd_cnt += 500;
	ck_assert(!vsock_credit_stale(&k)); /* half of the window is left */
	ck_assert(vsock_credit_take(&k, 1));
	ck_assert(vsock_credit_stale(&k));
}
END_TEST

START_TEST(ring_wraps_and_gives_back)
{
	struct vsock_ring r = { 0 };
	uint8_t in = 0, out = 0;
	unsigned wrong = 0;

	srand(7);
	for (int i = 0; i < 20000; i++) {
		uint8_t buf[300];
		struct iovec iov[2] = { { .iov_base = buf, .iov_len = 100 },
			{ .iov_base = buf + 100, .iov_len = 200 } };
		uint32_t n = (uint32_t)rand() % 300;

		for (unsigned k = 0; k < sizeof(buf); k++)
			buf[k] = (uint8_t)(in + k);
		if (n <= 5000 - r.len) {
			ck_assert_int_eq(vsock_ring_put(&r, iov, 2, 0, n, 5000), 0);
			in = (uint8_t)(in + n);
		} else {
			ck_assert_int_eq(vsock_ring_put(&r, iov, 2, 0, n, 5000), -ENOBUFS);
		}
		ck_assert_uint_le(r.cap, 5000);
		n = (uint32_t)rand() % 300;
		if (n > r.len)
			n = r.len;
		for (uint32_t done = 0; done < n;) {
			struct iovec got[2];
			uint32_t take;

			ck_assert_uint_ge(vsock_ring_peek(&r, got), 1);
			take = got[0].iov_len < n - done ? (uint32_t)got[0].iov_len : n - done;
			for (uint32_t k = 0; k < take; k++)
				wrong += ((uint8_t *)got[0].iov_base)[k] != out++;
			vsock_ring_skip(&r, take);
			done += take;
		}
		ck_assert((r.len == 0) == (r.data == NULL));
	}
	ck_assert_uint_eq(wrong, 0);
	vsock_ring_clear(&r);
}
END_TEST

START_TEST(header_is_judged)
{
	const struct vsock_packet good = {
		.src_cid = 3, .dst_cid = 2, .type = 1, .op = 5, .len = 9
	};
	struct vsock_packet p = good;

	ck_assert_int_eq(vsock_packet_judge(&p, 3, 9), VSOCK_VERDICT_OK);
	ck_assert_int_eq(vsock_packet_judge(&p, 3, 10), VSOCK_VERDICT_OK);
	ck_assert_int_eq(vsock_packet_judge(&p, 3, 8), VSOCK_VERDICT_BROKEN);
	ck_assert_int_eq(vsock_packet_judge(&p, 4, 9), VSOCK_VERDICT_DROP);
	p.src_cid = 3 | UINT64_C(1) << 32;
	ck_assert_int_eq(vsock_packet_judge(&p, 3, 9), VSOCK_VERDICT_DROP);
	p = good;
	p.dst_cid |= UINT64_C(1) << 40;
	ck_assert_int_eq(vsock_packet_judge(&p, 3, 9), VSOCK_VERDICT_BROKEN);
	p = good;
	p.len = VSOCK_PAYLOAD_MAX;
	ck_assert_int_eq(vsock_packet_judge(&p, 3, UINT32_MAX), VSOCK_VERDICT_OK);
	p.len++;
	ck_assert_int_eq(vsock_packet_judge(&p, 3, UINT32_MAX), VSOCK_VERDICT_BROKEN);
	p = good;
	p.type = 2;
	ck_assert_int_eq(vsock_packet_judge(&p, 3, 9), VSOCK_VERDICT_UNKNOWN);
	p.op = VSOCK_OP_RST;
	ck_assert_int_eq(vsock_packet_judge(&p, 3, 9), VSOCK_VERDICT_DROP);
	for (unsigned op = 0; op < 65536; op++) {
		enum vsock_verdict want = VSOCK_VERDICT_BROKEN;

		p = good;
		p.op = (uint16_t)op;
		if (op == VSOCK_OP_RW || op == VSOCK_OP_RST)
			want = VSOCK_VERDICT_OK;
		ck_assert_int_eq(vsock_packet_judge(&p, 3, 9), want);
	}
}
END_TEST

START_TEST(header_and_payload_in_pieces)
{
	uint8_t bytes[60];
	struct virtq_chain c = { .out_count = 5, .out_bytes = sizeof(bytes) };
	struct iovec dst[5];
	struct vsock_packet p;
	unsigned n;

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	for (unsigned i = 0; i < 5; i++)
		c.iov[i] = (struct iovec){ .iov_base = bytes + 12 * i, .iov_len = 12 };
	ck_assert_int_eq(vsock_packet_read(&p, &c), 0);
	ck_assert(p.src_cid == 0x0706050403020100 && p.dst_cid == 0x0f0e0d0c0b0a0908);
	ck_assert(p.src_port == 0x13121110 && p.dst_port == 0x17161514 && p.len == 0x1b1a1918);
	ck_assert(p.type == 0x1d1c && p.op == 0x1f1e && p.flags == 0x23222120);
	ck_assert(p.buf_alloc == 0x27262524 && p.fwd_cnt == 0x2b2a2928);
	n = vsock_packet_payload(c.iov, 5, 0, 16, dst);
	ck_assert_uint_eq(n, 2);
	ck_assert(dst[0].iov_base == bytes + 44 && dst[0].iov_len == 4);
	ck_assert(dst[1].iov_base == bytes + 48 && dst[1].iov_len == 12);
	n = vsock_packet_payload(c.iov, 5, 5, 3, dst);
	ck_assert_uint_eq(n, 1);
	ck_assert(dst[0].iov_base == bytes + 49 && dst[0].iov_len == 3);
	ck_assert_uint_eq(vsock_packet_payload(c.iov, 5, 0, 0, dst), 0);
	c.out_count = 3;
	ck_assert_int_eq(vsock_packet_read(&p, &c), -EBADMSG);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vsock_conn");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, each_step, 0, sizeof(steps) / sizeof(steps[0]));
	tcase_add_test(t, guest_events_are_all_there);
	tcase_add_test(t, connect_results);
	tcase_add_test(t, half_closes_add_up);
	tcase_add_test(t, data_in_flight_is_delivered_first);
	tcase_add_test(t, control_packets_in_order);
	tcase_add_loop_test(t, credit_to_the_guest, 0, sizeof(bases) / sizeof(bases[0]));
	tcase_add_loop_test(t, credit_from_the_guest, 0, sizeof(bases) / sizeof(bases[0]));
	tcase_add_test(t, ring_wraps_and_gives_back);
	tcase_add_test(t, header_is_judged);
	tcase_add_test(t, header_and_payload_in_pieces);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
