/* Packets to the guest: replies first, then the streams in turn. */
#include "vsock_dev.h"

#include <errno.h>

static bool send_reply(struct virtio_vsock *v)
{
	const struct vsock_reply *r = &v->replies[v->reply_first];
	const struct vsock_packet p = {
		.src_cid = r->key.local_cid,
		.dst_cid = v->guest_cid,
		.src_port = r->key.local_port,
		.dst_port = r->key.guest_port,
		.type = r->type,
		.op = VSOCK_OP_RST,
	};

	vsock_packet_write(&p, &v->chain);
	virtq_push(&v->dev.queues[VSOCK_QUEUE_RX], v->chain.head, VSOCK_HDR_LEN);
	v->reply_first = (v->reply_first + 1) % VSOCK_REPLIES_MAX;
	v->reply_count--;
	return true;
}

/*
 * Host data straight into the guest's buffer, behind the place of the
 * header: as much as buffer, credit and packet size allow. Bytes, or 0
 * when the socket had none; its end or error has then been raised.
 */
static uint32_t read_host(struct virtio_vsock *v, struct vsock_conn *c)
{
	uint32_t room = v->chain.in_bytes - VSOCK_HDR_LEN;
	uint32_t credit = vsock_credit_free(&c->credit);
	unsigned n;
	ssize_t r;

	if (room > credit)
		room = credit;
	if (room > VSOCK_PAYLOAD_MAX)
		room = VSOCK_PAYLOAD_MAX;
	room = vsock_rate_room(&v->rate, c, room);
	if (room == 0)
		return 0; /* its turn comes */
	n = vsock_packet_payload(
		v->chain.iov + v->chain.out_count, v->chain.in_count, 0, room, v->iov);
	r = vsock_host_read(c, v->iov, n);
	if (r == -EAGAIN)
		return 0;
	if (r == 0)
		(void)vsock_raise(v, c, VSOCK_EV_HOST_EOF, 0, NULL);
	else if (r < 0)
		(void)vsock_raise(v, c, VSOCK_EV_HOST_ERROR, 0, NULL);
	if (r <= 0)
		return 0;
	vsock_rate_spent(&v->rate, c, (uint32_t)r);
	c->credit.tx_cnt += (uint32_t)r;
	v->stats.rx_bytes += (uint64_t)r;
	/* The window is shut: some drivers open it only when asked (5.10.6.3). */
	if (vsock_credit_free(&c->credit) == 0 && !c->asked_credit) {
		c->asked_credit = true;
		c->due |= VSOCK_DUE_CREDIT_REQUEST;
	}
	return (uint32_t)r;
}

/* True when the chain was used for a packet of c; c may be gone afterwards. */
static bool send_packet(struct virtio_vsock *v, struct vsock_conn *c)
{
	struct vsock_packet p = {
		.src_cid = c->key.local_cid,
		.dst_cid = v->guest_cid,
		.src_port = c->key.local_port,
		.dst_port = c->key.guest_port,
		.type = VSOCK_TYPE_STREAM,
	};

	vsock_table_unready(&v->table, c);
	if (!vsock_conn_next_due(c, &p)) {
		if (!vsock_conn_can_read(c))
			return false;
		p.op = VSOCK_OP_RW;
		p.len = read_host(v, c);
		/* An end or an error put it back in the line, for the packet that tells. */
		if (p.len == 0)
			return false;
	}
	p.buf_alloc = c->credit.buf_alloc;
	p.fwd_cnt = c->credit.fwd_cnt;
	c->credit.told_fwd = p.fwd_cnt;
	vsock_packet_write(&p, &v->chain);
	virtq_push(&v->dev.queues[VSOCK_QUEUE_RX], v->chain.head, VSOCK_HDR_LEN + p.len);
	if (vsock_reap(v, c))
		vsock_table_ready(&v->table, c);
	return true;
}

/* The next buffer of the guest into v->chain: 1, 0 when there is none, -EPROTO. */
static int next_buffer(struct virtio_vsock *v)
{
	struct virtq *q = &v->dev.queues[VSOCK_QUEUE_RX];
	int r = virtq_pop(q, &v->chain);

	if (r == 0 && virtq_enable_notify(q))
		r = virtq_pop(q, &v->chain);
	if (r < 0)
		vsock_broken(v, "vsock rx queue");
	else if (r > 0 && v->chain.in_bytes <= VSOCK_HDR_LEN) {
		vsock_broken(v, "vsock rx buffer without room for a packet");
		r = -EPROTO;
	}
	return r;
}

void vsock_rx_serve(struct virtio_vsock *v)
{
	struct virtq *q = &v->dev.queues[VSOCK_QUEUE_RX];
	bool held = false;
	bool pushed = false;

	if (!v->active)
		return;
	virtq_disable_notify(q);
	while (v->reply_count || !TAILQ_EMPTY(&v->table.ready)) {
		bool used;

		if (v->budget == 0) {
			v->again = true;
			break;
		}
		if (!held) {
			int r = next_buffer(v);

			if (r < 0)
				return;
			if (r == 0)
				break;
		}
		v->budget--;
		if (v->reply_count)
			used = send_reply(v);
		else
			used = send_packet(v, TAILQ_FIRST(&v->table.ready));
		held = !used;
		pushed = pushed || used;
	}
	if (held)
		virtq_unpop(q);
	if (pushed)
		virtio_dev_signal_used(&v->dev, q);
}
