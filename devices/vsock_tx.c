/* Packets from the guest. */
#include "vsock_dev.h"

#include <errno.h>

/* RST for a packet of no stream; the caller saw to it that there is room. */
static void reply_rst(struct virtio_vsock *v, const struct vsock_packet *p)
{
	unsigned at = (v->reply_first + v->reply_count) % VSOCK_REPLIES_MAX;

	v->replies[at] = (struct vsock_reply){
		.key = { p->dst_cid, p->dst_port, p->src_port },
		.type = p->type,
	};
	v->reply_count++;
	v->stats.resets++;
}

static void open_asked(
	struct virtio_vsock *v, const struct vsock_packet *p, const struct vsock_key *key)
{
	struct vsock_conn *c = vsock_table_add(&v->table, key, VSOCK_ASKED);

	if (!c) {
		reply_rst(v, p);
		return;
	}
	c->v = v;
	c->id = v->next_id++;
	vsock_rate_choose(&v->rate, c);
	vsock_credit_learn(&c->credit, p->buf_alloc, p->fwd_cnt);
	vsock_table_notice(&v->table, c, VSOCK_NOTICE_ASK);
	v->stats.conns_total++;
}

static void take_payload(struct virtio_vsock *v, struct vsock_conn *c, uint32_t len)
{
	int r = vsock_host_write(c, &v->chain, len, v->iov);

	v->stats.tx_bytes += len;
	vsock_host_failed(v, c, r, len > 0);
}

static void stream_packet(
	struct virtio_vsock *v, struct vsock_conn *c, const struct vsock_packet *p)
{
	uint32_t arg = p->op == VSOCK_OP_SHUTDOWN ? p->flags : p->len;
	unsigned fx = 0;

	vsock_credit_learn(&c->credit, p->buf_alloc, p->fwd_cnt);
	if (vsock_credit_free(&c->credit) > 0)
		c->asked_credit = false;
	if (!vsock_raise(v, c, (enum vsock_event)p->op, arg, &fx))
		return;
	if (p->op == VSOCK_OP_RESPONSE && c->state == VSOCK_OPEN && !vsock_opened(v, c))
		return;
	if (fx & VSOCK_FX_DISCARD)
		vsock_conn_forwarded(c, p->len);
	if (fx & VSOCK_FX_PAYLOAD)
		take_payload(v, c, p->len);
	else
		vsock_table_ready(&v->table, c);
}

/* At most one reply comes of it. */
static void handle(struct virtio_vsock *v)
{
	struct vsock_packet p;
	enum vsock_verdict verdict;
	struct vsock_conn *c;
	struct vsock_key key;

	if (vsock_packet_read(&p, &v->chain) < 0) {
		v->stats.dropped++;
		return;
	}
	verdict = vsock_packet_judge(&p, v->guest_cid, v->chain.out_bytes - VSOCK_HDR_LEN);
	if (verdict == VSOCK_VERDICT_DROP) {
		v->stats.dropped++;
		return;
	}
	if (verdict == VSOCK_VERDICT_UNKNOWN) {
		reply_rst(v, &p);
		return;
	}
	key = (struct vsock_key){ p.dst_cid, p.dst_port, p.src_port };
	c = vsock_table_find(&v->table, &key);
	if (c && verdict == VSOCK_VERDICT_BROKEN)
		(void)vsock_raise(v, c, VSOCK_EV_BROKEN, 0, NULL);
	else if (c)
		stream_packet(v, c, &p);
	else if (verdict == VSOCK_VERDICT_OK && p.op == VSOCK_OP_REQUEST)
		open_asked(v, &p, &key);
	else if (p.op != VSOCK_OP_RST)
		reply_rst(v, &p);
}

void vsock_tx_serve(struct virtio_vsock *v)
{
	struct virtq *q = &v->dev.queues[VSOCK_QUEUE_TX];
	bool pushed = false;

	v->tx_stalled = false;
	if (!v->active)
		return;
	virtq_disable_notify(q);
	for (;;) {
		int r;

		if (v->reply_count == VSOCK_REPLIES_MAX) {
			v->tx_stalled = true;
			break;
		}
		if (v->budget == 0) {
			v->again = true;
			break;
		}
		r = virtq_pop(q, &v->chain);
		if (r < 0) {
			vsock_broken(v, "vsock tx queue");
			return;
		}
		if (r == 0) {
			if (!virtq_enable_notify(q))
				break;
			virtq_disable_notify(q);
			continue;
		}
		v->budget--;
		handle(v);
		virtq_push(q, v->chain.head, 0);
		pushed = true;
	}
	if (pushed)
		virtio_dev_signal_used(&v->dev, q);
}
