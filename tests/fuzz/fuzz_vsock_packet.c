/*
 * Hostile packets and rings, and a host whose sockets do what they like.
 * The input is a program: each step is an op byte and its operands.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mock_vsock.h"

#include "../../devices/vsock_dev.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ENDS      16u
#define MAX_CONNS 8u
#define BUF_TOTAL 65536u
#define MAX_STEPS 400

static struct {
	const uint8_t *at;
	size_t left;
	struct mock_vsock m;
	int ends[ENDS];
	uint64_t asked[ENDS];
	unsigned asked_count;
	unsigned connects, dones;
	bool wild; /* rx slots are no longer the mock's */
} z;

static uint8_t bytes[65536];

static uint64_t take(unsigned n)
{
	uint64_t v = 0;

	for (; n && z.left; n--, z.left--)
		v = v << 8 | *z.at++;
	return v;
}

/* Small buffers: what does not fit must wait in the device. */
static int fresh_fd(unsigned at, unsigned kind)
{
	const int small = 1;
	int sv[2];

	at %= ENDS;
	if (z.ends[at] >= 0)
		(void)close(z.ends[at]);
	z.ends[at] = -1;
	if (kind % 8 == 7)
		return open("/", O_RDONLY | O_CLOEXEC);
	if (kind % 8 >= 5) {
		if (pipe2(sv, O_CLOEXEC | O_NONBLOCK) < 0)
			abort();
		(void)fcntl(sv[0], F_SETPIPE_SZ, 4096);
		z.ends[at] = sv[kind % 2];
		return sv[!(kind % 2)];
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0)
		abort();
	(void)setsockopt(sv[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	z.ends[at] = sv[0];
	return sv[1];
}

static void on_guest_connect(void *user, uint64_t id, uint64_t cid, uint32_t port, uint32_t src)
{
	(void)user;
	(void)cid;
	if (port % 4 == 1)
		virtio_vsock_refuse(z.m.v, id);
	else if (port % 4 == 2)
		virtio_vsock_accept(z.m.v, id, fresh_fd(src, port >> 2));
	else
		z.asked[z.asked_count++ % ENDS] = id;
}

static void on_connect_done(void *user, uint64_t id, int result)
{
	(void)user;
	assert(id < z.connects && result <= 0);
	z.dones++;
}

static const struct virtio_vsock_ops ops = {
	.guest_connect = on_guest_connect,
	.connect_done = on_connect_done,
};

static void check_invariants(void)
{
	struct virtio_vsock *v = z.m.v;
	struct vsock_conn *c;
	uint64_t held = 0, granted = 0;
	unsigned count = 0;

	assert(v->reply_count <= VSOCK_REPLIES_MAX);
	TAILQ_FOREACH(c, &v->table.all, all_link)
	{
		count++;
		held += c->ring.cap;
		granted += c->grant - VSOCK_GRANT_MIN;
		assert(c->ring.len <= c->ring.cap && c->ring.cap <= c->grant);
		assert((c->ring.len == 0) == (c->ring.data == NULL));
		/* Nobody waits for a turn that never comes, or lives on for nothing. */
		assert(c->ready || !vsock_conn_wants(c));
		assert(!vsock_conn_finished(c));
		assert((c->w.fd >= 0) == (c->fd >= 0));
		assert(c->fd < 0 || c->state == VSOCK_CONNECTING || c->state == VSOCK_OPEN ||
			(c->state == VSOCK_GONE && c->ring.len > 0));
	}
	assert(count == v->table.count && count <= MAX_CONNS);
	assert(granted + v->table.pool == BUF_TOTAL);
	assert(held <= BUF_TOTAL + MAX_CONNS * VSOCK_GRANT_MIN);
}

static void send_packet(void)
{
	uint8_t shape = (uint8_t)take(1);
	struct vsock_packet p = {
		.dst_cid = shape & 1 ? take(5) : 2,
		.src_port = (uint32_t)take(1) % 4,
		.dst_port = (uint32_t)take(1) % 32,
		.op = (uint16_t)(shape & 2 ? take(2) : take(1) % 9),
		.flags = (uint32_t)take(1),
		.buf_alloc = (uint32_t)(shape & 4 ? take(4) : take(1) << 8),
		.fwd_cnt = (uint32_t)(shape & 8 ? take(4) : take(2)),
	};
	uint32_t len = (uint32_t)take(2);
	struct vsock_conn *c;

	if (p.op != VSOCK_OP_RW && !(shape & 16))
		len = 0;
	p.len = shape & 32 ? (uint32_t)take(4) : len;
	if (shape & 64)
		p.type = (uint16_t)take(2);
	if ((shape & 192) == 192)
		p.src_cid = take(8);
	/* Answers reach their request: fresh ports cannot be guessed from the input. */
	c = TAILQ_FIRST(&z.m.v->table.all);
	if ((shape & 128) && c) {
		p.dst_port = c->key.local_port;
		p.src_port = c->key.guest_port;
	}
	(void)mock_vsock_send(&z.m, &p, bytes, len);
}

static void wild_descriptor(void)
{
	struct mock_ring *rings[] = { &z.m.tx, &z.m.rx, &z.m.ev };
	unsigned q = (unsigned)take(1) % 3;
	uint16_t i = (uint16_t)(take(1) % rings[q]->size);
	gpa_t addr = take(1) & 1 ? take(8) : MOCK_BASE + take(3) % z.m.mem.len;

	z.wild = z.wild || q == 1;
	mock_ring_desc(rings[q], i, addr, (uint32_t)take(3), (uint16_t)take(1), (uint16_t)take(1));
	mock_ring_publish(rings[q], (uint16_t)(take(1)));
	mock_driver_kick(z.m.dev, q == 0 ? 1 : q == 1 ? 0 : 2);
}

static void host_step(unsigned kind)
{
	unsigned at = (unsigned)take(1) % ENDS;
	int fd = z.ends[at];

	if (kind == 3) {
		(void)!write(fd, bytes, take(2));
	} else if (kind == 4) {
		static uint8_t sink[65536];

		(void)!read(fd, sink, sizeof(sink));
	} else if (kind == 5) {
		if (fd >= 0)
			(void)close(fd);
		z.ends[at] = -1;
	} else {
		(void)shutdown(fd, (int)(take(1) % 3));
	}
}

static void step(void)
{
	uint8_t op = (uint8_t)take(1);
	unsigned kind = (op & 127) % 14;
	struct vsock_packet p;
	unsigned n;

	/* Some steps pile up before the device sees them. */
	if (op < 128)
		(void)loop_step(z.m.loop, 0, NULL);
	switch (kind) {
	case 0:
	case 1:
		send_packet();
		break;
	case 2:
		mock_vsock_give(&z.m, (unsigned)take(1) % 16);
		break;
	case 3:
	case 4:
	case 5:
	case 6:
		host_step(kind);
		break;
	case 7:
		n = (unsigned)take(1);
		if (virtio_vsock_connect(z.m.v, z.connects, 2, n % 4, fresh_fd(n, n >> 4)) == 0)
			z.connects++;
		break;
	case 8:
		n = (unsigned)take(1);
		if (n & 1)
			virtio_vsock_refuse(z.m.v, z.asked[(n >> 1) % ENDS]);
		else
			virtio_vsock_accept(
				z.m.v, z.asked[(n >> 1) % ENDS], fresh_fd(n >> 2, n >> 4));
		break;
	case 9:
		mock_driver_reset(z.m.dev);
		if (take(1) & 1) {
			mock_vsock_start(&z.m, (unsigned)take(1) % 16);
			z.wild = false;
		}
		break;
	case 10:
		mock_vsock_run(&z.m, 0);
		check_invariants();
		break;
	case 11:
		wild_descriptor();
		break;
	case 12:
		virtio_vsock_transport_reset(z.m.v);
		break;
	default:
		z.m.rx_hold = take(1) & 1;
		while (!z.wild && mock_vsock_recv(&z.m, &p, NULL, 0))
			assert(p.op >= VSOCK_OP_REQUEST && p.op < VSOCK_OP_COUNT);
		break;
	}
}

/* Three open streams to begin with: most of what can go wrong needs one. */
static void open_streams(void)
{
	struct vsock_packet p = { .dst_cid = 2, .op = VSOCK_OP_REQUEST, .buf_alloc = 20000 };

	for (p.src_port = 0; p.src_port < 3; p.src_port++) {
		p.dst_port = 2 + 4 * (p.src_port % 2);
		(void)mock_vsock_send(&z.m, &p, NULL, 0);
	}
	mock_vsock_run(&z.m, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_vsock_config cfg = {
		.ops = &ops,
		.max_conns = MAX_CONNS,
		.buf_alloc = 32768,
		.buf_total = BUF_TOTAL,
		.connect_timeout_ns = 200000,
		.close_timeout_ns = 200000,
	};
	int before = dup(0), after;

	(void)close(before);
	(void)signal(SIGPIPE, SIG_IGN);
	memset(&z, 0, sizeof(z));
	z.at = data;
	z.left = size;
	for (unsigned i = 0; i < ENDS; i++)
		z.ends[i] = -1;
	mock_vsock_init(&z.m, &cfg);
	mock_vsock_start(&z.m, 8);
	open_streams();
	for (int i = 0; i < MAX_STEPS && z.left; i++)
		step();
	mock_vsock_run(&z.m, 0);
	check_invariants();
	/* A reset answers every request that is open. */
	mock_driver_reset(z.m.dev);
	mock_vsock_run(&z.m, 0);
	assert(z.m.v->table.count == 0);
	assert(z.dones == z.connects);
	mock_vsock_done(&z.m);
	for (unsigned i = 0; i < ENDS; i++) {
		if (z.ends[i] >= 0)
			(void)close(z.ends[i]);
	}
	after = dup(0);
	assert(after == before); /* no descriptor was left open */
	(void)close(after);
	return 0;
}
