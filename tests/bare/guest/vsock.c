#include "virtio.h"

#define HOST_CID   2
#define HOST_PORT  99
#define GUEST_PORT 1000

enum { OP_REQUEST = 1, OP_RESPONSE, OP_RST, OP_SHUTDOWN, OP_RW, OP_CREDIT_UPDATE };

struct packet {
	struct {
		uint64_t src_cid;
		uint64_t dst_cid;
		uint32_t src_port;
		uint32_t dst_port;
		uint32_t len;
		uint16_t type;
		uint16_t op;
		uint32_t flags;
		uint32_t buf_alloc;
		uint32_t fwd_cnt;
	} __attribute__((packed)) h;
	uint8_t data[84];
};

static struct ring rx, tx, event;
static struct packet in[RING_SIZE];
static struct packet out;
static uint64_t cid;

static uint32_t local_port = GUEST_PORT;
static uint32_t peer_port = HOST_PORT;

static void send(uint16_t op, uint64_t src, uint32_t len)
{
	out.h.src_cid = src;
	out.h.dst_cid = HOST_CID;
	out.h.src_port = local_port;
	out.h.dst_port = peer_port;
	out.h.len = len;
	out.h.type = 1;
	out.h.op = op;
	out.h.buf_alloc = 4096;
	tx.desc[0] = (struct desc){ (uint64_t)&out, (uint32_t)sizeof(out.h) + len, 0, 0 };
	ring_submit(&tx, 0);
	(void)ring_wait(&tx, NULL);
}

/* The next packet with this operation; others in between are passed over. */
static struct packet *receive(uint16_t op)
{
	for (;;) {
		uint32_t id;

		(void)ring_wait(&rx, &id);
		if (in[id].h.op == op)
			return &in[id];
		expect(in[id].h.op == OP_CREDIT_UPDATE, "operation", in[id].h.op);
		ring_submit(&rx, (uint16_t)id);
	}
}

static void begin(void)
{
	uint64_t base = VIRTIO_SLOT(0);

	map_8g();
	expect(mmio_read32(base + VIRTIO_DEVICE_ID) == 19, "device", 0);
	cid = mmio_read32(base + VIRTIO_CONFIG);
	virtio_begin(base);
	virtio_set_queue(&rx, base, 0);
	virtio_set_queue(&tx, base, 1);
	virtio_set_queue(&event, base, 2);
	virtio_go(base);
	for (uint16_t i = 0; i < RING_SIZE; i++) {
		rx.desc[i] = (struct desc){ (uint64_t)&in[i], sizeof(in[i]), DESC_WRITE, 0 };
		ring_submit(&rx, i);
	}
}

static void print_data(struct packet *p)
{
	p->data[p->h.len < 80 ? p->h.len : 80] = 0;
	put_string((const char *)p->data);
}

/* Connects to the host, sends a line, prints the answer, and closes. */
void run_vsock(void)
{
	struct packet *p;

	begin();
	send(OP_REQUEST, cid + 1, 0); /* somebody else's name: nothing may come of it */
	send(OP_REQUEST, cid, 0);
	p = receive(OP_RESPONSE);
	expect(p->h.src_cid == HOST_CID && p->h.dst_cid == cid, "source", p->h.src_cid);
	memcpy(out.data, "from the guest", 14);
	send(OP_RW, cid, 14);
	print_data(receive(OP_RW));
	put_string("vsock ok\n");
	send(OP_RST, cid, 0);
}

/* Takes two connections from the host: refuses the first, answers on the second. */
void run_listen(void)
{
	struct packet *p;

	begin();
	put_string("listening\n");
	p = receive(OP_REQUEST);
	expect(p->h.dst_port == 7 && p->h.dst_cid == cid, "port", p->h.dst_port);
	local_port = 7;
	peer_port = p->h.src_port;
	send(OP_RST, cid, 0);
	p = receive(OP_REQUEST);
	local_port = p->h.dst_port;
	peer_port = p->h.src_port;
	send(OP_RESPONSE, cid, 0);
	print_data(receive(OP_RW));
	memcpy(out.data, "heard", 5);
	send(OP_RW, cid, 5);
	(void)receive(OP_SHUTDOWN);
	send(OP_RST, cid, 0);
	put_string("listen ok\n");
}

/* Asks for the host without end, as fast as it can, and counts the refusals. */
void run_flood(void)
{
	uint64_t wanted = option("wanted", 1);
	uint64_t refused = 0;

	begin();
	while (refused < wanted) {
		local_port++;
		send(OP_REQUEST, cid, 0);
		while (rx.used_idx != rx.seen) {
			uint32_t id;

			(void)ring_wait(&rx, &id);
			expect(in[id].h.op == OP_RST, "operation", in[id].h.op);
			refused++;
			ring_submit(&rx, (uint16_t)id);
		}
	}
	put_line("refused; asked", local_port - GUEST_PORT);
	for (;;)
		;
}

/* Opens stream after stream to the host until one is refused. */
void run_many(void)
{
	uint64_t open = 0;
	uint32_t id;

	begin();
	for (;;) {
		local_port++;
		send(OP_REQUEST, cid, 0);
		(void)ring_wait(&rx, &id);
		if (in[id].h.op != OP_RESPONSE)
			break;
		open++;
		ring_submit(&rx, (uint16_t)id);
	}
	expect(in[id].h.op == OP_RST, "operation", in[id].h.op);
	put_line("open", open);
}

/* True: the host took it. */
static bool dial(uint32_t port)
{
	uint32_t before = local_port;
	uint32_t id;
	bool taken;

	local_port = port;
	send(OP_REQUEST, cid, 0);
	while (ring_wait(&rx, &id), in[id].h.op == OP_CREDIT_UPDATE)
		ring_submit(&rx, (uint16_t)id);
	taken = in[id].h.op == OP_RESPONSE;
	expect(taken || in[id].h.op == OP_RST, "operation", in[id].h.op);
	ring_submit(&rx, (uint16_t)id);
	local_port = before;
	return taken;
}

static void say(const char *text)
{
	uint32_t n = 0;

	for (; text[n]; n++)
		out.data[n] = (uint8_t)text[n];
	send(OP_RW, cid, n);
}

/*
 * One stream to the host, on which it does as it is told: 'e' and it says the
 * rest again, 'd' and it dials another port and says what came of it, 'h' and it
 * reads no more, 'o' and it switches off.
 */
void run_talk(void)
{
	uint32_t port = GUEST_PORT + 1;

	begin();
	expect(dial(local_port), "refused", 0);
	put_string("talking\n");
	for (;;) {
		struct packet *p = receive(OP_RW);
		char what = (char)p->data[0];

		p->data[p->h.len < 80 ? p->h.len : 80] = 0;
		if (what == 'e')
			say((const char *)p->data + 1);
		ring_submit(&rx, (uint16_t)(p - in));
		if (what == 'd')
			say(dial(port++) ? "taken" : "refused");
		if (what == 'h') {
			out.h.flags = 1; /* VIRTIO_VSOCK_SHUTDOWN_RCV */
			send(OP_SHUTDOWN, cid, 0);
			out.h.flags = 0;
			say("deaf");
			put_string("deaf\n");
		}
		if (what == 'o')
			power_off();
	}
}
