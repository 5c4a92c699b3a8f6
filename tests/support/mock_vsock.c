#include "mock_vsock.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_ring.h>

#include <base/clock.h>

/* An assert whose expression is evaluated in every kind of build. */
static void must(bool ok)
{
	if (!ok)
		abort();
}

/* Fields are written one by one: the codec under test is not used to test it. */
static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)at[i] << (8 * i);
	return value;
}

void mock_vsock_init(struct mock_vsock *m, struct virtio_vsock_config *cfg)
{
	*m = (struct mock_vsock){ 0 };
	cfg->guest_cid = MOCK_VSOCK_CID;
	mock_mem_init(&m->mem, (size_t)8 << 20);
	mock_ring_init(&m->rx, &m->mem, 2 * MOCK_VSOCK_SLOTS);
	mock_ring_init(&m->tx, &m->mem, MOCK_VSOCK_SLOTS);
	mock_ring_init(&m->ev, &m->mem, 4);
	m->rx_at = mock_alloc(
		&m->mem, (size_t)MOCK_VSOCK_SLOTS * (VSOCK_HDR_LEN + MOCK_VSOCK_RXBUF), 16);
	m->tx_at = mock_alloc(&m->mem, (size_t)MOCK_VSOCK_SLOTS * MOCK_VSOCK_TXBUF, 16);
	m->ev_at = mock_alloc(&m->mem, 16, 16);
	must(loop_new(&m->loop, NULL) == 0);
	must(virtio_vsock_new(&m->v, &m->mem.gmem, m->loop, cfg, NULL) == 0);
	m->dev = virtio_vsock_dev(m->v);
}

void mock_vsock_done(struct mock_vsock *m)
{
	virtio_vsock_free(m->v);
	loop_free(m->loop);
	mock_mem_done(&m->mem);
	*m = (struct mock_vsock){ 0 };
}

static gpa_t rx_slot(const struct mock_vsock *m, unsigned slot)
{
	return m->rx_at + (gpa_t)slot * (VSOCK_HDR_LEN + MOCK_VSOCK_RXBUF);
}

/* Header and data in descriptors of their own, as Linux drivers do. */
static void give_slot(struct mock_vsock *m, unsigned slot)
{
	uint16_t head = (uint16_t)(2 * slot);

	mock_ring_desc(&m->rx, head, rx_slot(m, slot), VSOCK_HDR_LEN,
		VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, (uint16_t)(head + 1));
	mock_ring_desc(&m->rx, (uint16_t)(head + 1), rx_slot(m, slot) + VSOCK_HDR_LEN,
		MOCK_VSOCK_RXBUF, VRING_DESC_F_WRITE, 0);
	mock_ring_publish(&m->rx, head);
	m->rx_given++;
}

void mock_vsock_start(struct mock_vsock *m, unsigned buffers)
{
	mock_ring_clear(&m->rx);
	mock_ring_clear(&m->tx);
	mock_ring_clear(&m->ev);
	m->rx_given = 0;
	must(mock_driver_negotiate(m->dev, 0));
	must(mock_driver_queue(m->dev, 0, &m->rx));
	must(mock_driver_queue(m->dev, 1, &m->tx));
	must(mock_driver_queue(m->dev, 2, &m->ev));
	must(mock_driver_ok(m->dev));
	mock_vsock_give(m, buffers);
	mock_vsock_run(m, 0);
}

void mock_vsock_give(struct mock_vsock *m, unsigned n)
{
	/* Buffers come back in order, so the next free one follows the given ones. */
	while (n-- && m->rx_given < MOCK_VSOCK_SLOTS)
		give_slot(m, le16toh(m->rx.avail->idx) % MOCK_VSOCK_SLOTS);
	mock_driver_kick(m->dev, 0);
}

void mock_vsock_run(struct mock_vsock *m, int idle_ms)
{
	for (int i = 0; i < 32; i++)
		must(loop_step(m->loop, i ? 0 : idle_ms, NULL) == 0);
}

bool mock_vsock_send(
	struct mock_vsock *m, const struct vsock_packet *p, const void *data, uint32_t len)
{
	uint16_t idx = le16toh(m->tx.avail->idx);
	uint16_t slot = idx % MOCK_VSOCK_SLOTS;
	gpa_t at = m->tx_at + (gpa_t)slot * MOCK_VSOCK_TXBUF;
	uint8_t *w;

	must(VSOCK_HDR_LEN + len <= MOCK_VSOCK_TXBUF);
	for (int tries = 0; (uint16_t)(idx - m->tx.last_used) >= MOCK_VSOCK_SLOTS; tries++) {
		if (tries > 64)
			return false;
		must(loop_step(m->loop, tries > 32, NULL) == 0);
		while (mock_ring_used(&m->tx, NULL, NULL)) {
		}
	}
	w = mock_ptr(&m->mem, at, VSOCK_HDR_LEN + len);
	put(w, p->src_cid ? p->src_cid : MOCK_VSOCK_CID, 8);
	put(w + 8, p->dst_cid, 8);
	put(w + 16, p->src_port, 4);
	put(w + 20, p->dst_port, 4);
	put(w + 24, p->len, 4);
	put(w + 28, p->type ? p->type : 1, 2);
	put(w + 30, p->op, 2);
	put(w + 32, p->flags, 4);
	put(w + 36, p->buf_alloc, 4);
	put(w + 40, p->fwd_cnt, 4);
	if (len)
		memcpy(w + VSOCK_HDR_LEN, data, len);
	mock_ring_desc(&m->tx, slot, at, VSOCK_HDR_LEN + len, 0, 0);
	mock_ring_publish(&m->tx, slot);
	mock_driver_kick(m->dev, 1);
	return true;
}

bool mock_vsock_recv(struct mock_vsock *m, struct vsock_packet *p, void *data, int timeout_ms)
{
	uint64_t end = clock_mono_ns() + (uint64_t)timeout_ms * CLOCK_NS_PER_MS;
	uint32_t id, written;
	const uint8_t *w;

	while (!mock_ring_used(&m->rx, &id, &written)) {
		if (clock_mono_ns() > end)
			return false;
		must(loop_step(m->loop, 1, NULL) == 0);
	}
	m->rx_given--;
	must(id < 2 * MOCK_VSOCK_SLOTS && id % 2 == 0);
	must(written >= VSOCK_HDR_LEN && written <= VSOCK_HDR_LEN + MOCK_VSOCK_RXBUF);
	w = mock_ptr(&m->mem, rx_slot(m, id / 2), VSOCK_HDR_LEN + MOCK_VSOCK_RXBUF);
	*p = (struct vsock_packet){
		.src_cid = get(w, 8),
		.dst_cid = get(w + 8, 8),
		.src_port = (uint32_t)get(w + 16, 4),
		.dst_port = (uint32_t)get(w + 20, 4),
		.len = (uint32_t)get(w + 24, 4),
		.type = (uint16_t)get(w + 28, 2),
		.op = (uint16_t)get(w + 30, 2),
		.flags = (uint32_t)get(w + 32, 4),
		.buf_alloc = (uint32_t)get(w + 36, 4),
		.fwd_cnt = (uint32_t)get(w + 40, 4),
	};
	must(p->dst_cid == MOCK_VSOCK_CID);
	must(written == VSOCK_HDR_LEN + p->len);
	if (data)
		memcpy(data, w + VSOCK_HDR_LEN, p->len);
	if (!m->rx_hold)
		mock_vsock_give(m, 1);
	return true;
}
