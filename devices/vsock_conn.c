#include "vsock_conn.h"

#include <assert.h>
#include <errno.h>

#include <base/log.h>

/* What a move does beside changing the state. Zero: our own bug. */
enum act {
	ACT_IMPOSSIBLE = 0,
	ACT_IGNORE,
	ACT_ABORT,   /* RST to the guest, the host socket closed */
	ACT_DROP,    /* the same without RST: the guest said it */
	ACT_SETTLED, /* the guest knows: no RST is due any more */
	ACT_ACCEPT,
	ACT_CONNECTED,
	ACT_SHUT,
	ACT_DATA,
	ACT_DISCARD,
	ACT_ANSWER_CREDIT,
	ACT_EOF,
	ACT_DEAF,
	ACT_DRAINED,
	ACT_LOSE, /* GONE, and the host takes no more: the rest is dropped */
};

struct move {
	uint8_t next;
	uint8_t act;
};

static const struct move moves[VSOCK_STATE_COUNT][VSOCK_EV_COUNT] = {
	[VSOCK_ASKED] = {
		[VSOCK_EV_REQUEST] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_RESPONSE] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_RST] = { VSOCK_GONE, ACT_DROP },
		[VSOCK_EV_SHUTDOWN] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_RW] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_CREDIT_UPDATE] = { VSOCK_ASKED, ACT_IGNORE },
		[VSOCK_EV_CREDIT_REQUEST] = { VSOCK_ASKED, ACT_IGNORE },
		[VSOCK_EV_BROKEN] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_ACCEPT] = { VSOCK_OPEN, ACT_ACCEPT },
		[VSOCK_EV_REFUSE] = { VSOCK_GONE, ACT_ABORT },
	},
	[VSOCK_CONNECTING] = {
		[VSOCK_EV_REQUEST] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_RESPONSE] = { VSOCK_OPEN, ACT_CONNECTED },
		[VSOCK_EV_RST] = { VSOCK_GONE, ACT_DROP },
		[VSOCK_EV_SHUTDOWN] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_RW] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_CREDIT_UPDATE] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_CREDIT_REQUEST] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_BROKEN] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_TIMEOUT] = { VSOCK_GONE, ACT_ABORT },
	},
	[VSOCK_OPEN] = {
		[VSOCK_EV_REQUEST] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_RESPONSE] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_RST] = { VSOCK_GONE, ACT_DROP },
		[VSOCK_EV_SHUTDOWN] = { VSOCK_OPEN, ACT_SHUT },
		[VSOCK_EV_RW] = { VSOCK_OPEN, ACT_DATA },
		[VSOCK_EV_CREDIT_UPDATE] = { VSOCK_OPEN, ACT_IGNORE },
		[VSOCK_EV_CREDIT_REQUEST] = { VSOCK_OPEN, ACT_ANSWER_CREDIT },
		[VSOCK_EV_BROKEN] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_HOST_EOF] = { VSOCK_OPEN, ACT_EOF },
		[VSOCK_EV_HOST_DEAF] = { VSOCK_OPEN, ACT_DEAF },
		[VSOCK_EV_HOST_ERROR] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_DRAINED] = { VSOCK_OPEN, ACT_DRAINED },
	},
	[VSOCK_CLOSING] = {
		[VSOCK_EV_REQUEST] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_RESPONSE] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_RST] = { VSOCK_GONE, ACT_DROP },
		[VSOCK_EV_SHUTDOWN] = { VSOCK_CLOSING, ACT_SHUT },
		[VSOCK_EV_RW] = { VSOCK_CLOSING, ACT_DISCARD },
		[VSOCK_EV_CREDIT_UPDATE] = { VSOCK_CLOSING, ACT_IGNORE },
		[VSOCK_EV_CREDIT_REQUEST] = { VSOCK_CLOSING, ACT_ANSWER_CREDIT },
		[VSOCK_EV_BROKEN] = { VSOCK_GONE, ACT_ABORT },
		[VSOCK_EV_TIMEOUT] = { VSOCK_GONE, ACT_ABORT },
	},
	/* The RST that is due answers whatever else the guest still sends. */
	[VSOCK_GONE] = {
		[VSOCK_EV_REQUEST] = { VSOCK_GONE, ACT_IGNORE },
		[VSOCK_EV_RESPONSE] = { VSOCK_GONE, ACT_IGNORE },
		[VSOCK_EV_RST] = { VSOCK_GONE, ACT_SETTLED },
		[VSOCK_EV_SHUTDOWN] = { VSOCK_GONE, ACT_IGNORE },
		[VSOCK_EV_RW] = { VSOCK_GONE, ACT_IGNORE },
		[VSOCK_EV_CREDIT_UPDATE] = { VSOCK_GONE, ACT_IGNORE },
		[VSOCK_EV_CREDIT_REQUEST] = { VSOCK_GONE, ACT_IGNORE },
		[VSOCK_EV_BROKEN] = { VSOCK_GONE, ACT_IGNORE },
		[VSOCK_EV_HOST_DEAF] = { VSOCK_GONE, ACT_LOSE },
		[VSOCK_EV_HOST_ERROR] = { VSOCK_GONE, ACT_LOSE },
		[VSOCK_EV_DRAINED] = { VSOCK_GONE, ACT_LOSE }, /* nothing left to lose */
	},
};

const char *vsock_state_name(enum vsock_state s)
{
	static const char *const names[VSOCK_STATE_COUNT] = {
		[VSOCK_ASKED] = "asked",
		[VSOCK_CONNECTING] = "connecting",
		[VSOCK_OPEN] = "open",
		[VSOCK_CLOSING] = "closing",
		[VSOCK_GONE] = "gone",
	};

	return names[s];
}

static unsigned conn_end(struct vsock_conn *c, unsigned due, unsigned fx)
{
	c->state = VSOCK_GONE;
	c->due = (uint8_t)due;
	return fx;
}

/*
 * Looks at what is left of both directions of an open stream. A clean
 * close is SHUTDOWN with both flags, answered by RST (5.10.6.5).
 */
static unsigned conn_settle(struct vsock_conn *c)
{
	bool drained = c->ring.len == 0;
	bool guest_sends = !(c->guest_shut & VSOCK_SHUT_SEND);
	bool to_host_done = c->host_deaf || (!guest_sends && drained);
	bool to_guest_done = c->host_eof || (c->guest_shut & VSOCK_SHUT_RCV);
	uint8_t shut = 0;
	unsigned fx = 0;

	/*
	 * The guest closed: all it sent is in our hands, so it gets its
	 * answer now and the host the rest in its own time.
	 */
	if (c->guest_shut == VSOCK_SHUT_BOTH)
		return conn_end(c, VSOCK_DUE_RST, drained ? VSOCK_FX_CLOSE : VSOCK_FX_FINISH);
	/* A clean end would be a lie to the guest. */
	if (c->lost && to_guest_done)
		return conn_end(c, VSOCK_DUE_RST, VSOCK_FX_CLOSE);
	if (to_host_done && to_guest_done) {
		c->state = VSOCK_CLOSING;
		c->host_shut = VSOCK_SHUT_BOTH;
		c->due = (uint8_t)((c->due & VSOCK_DUE_RESPONSE) | VSOCK_DUE_SHUTDOWN);
		return VSOCK_FX_CLOSE;
	}
	if (!guest_sends && drained && !c->told_eof) {
		c->told_eof = true;
		fx |= VSOCK_FX_SHUT_WR;
	}
	if (c->host_eof)
		shut |= VSOCK_SHUT_SEND;
	if (c->host_deaf)
		shut |= VSOCK_SHUT_RCV;
	if (shut != c->host_shut) {
		c->host_shut = shut;
		c->due |= VSOCK_DUE_SHUTDOWN;
	}
	return fx;
}

static unsigned conn_shut(struct vsock_conn *c, uint32_t flags)
{
	uint8_t before = c->guest_shut;
	unsigned fx;

	c->guest_shut |= (uint8_t)(flags & VSOCK_SHUT_BOTH);
	if (c->state == VSOCK_CLOSING) {
		if (c->guest_shut == VSOCK_SHUT_BOTH)
			return conn_end(c, VSOCK_DUE_RST, 0);
		return 0;
	}
	fx = conn_settle(c);
	if (c->state == VSOCK_OPEN && (c->guest_shut & ~before & VSOCK_SHUT_RCV))
		fx |= VSOCK_FX_SHUT_RD;
	return fx;
}

static unsigned conn_data(struct vsock_conn *c, uint32_t len)
{
	if ((c->guest_shut & VSOCK_SHUT_SEND) || !vsock_credit_take(&c->credit, len))
		return conn_end(c, VSOCK_DUE_RST, VSOCK_FX_CLOSE);
	if (c->host_deaf) {
		c->lost = c->lost || len > 0;
		return VSOCK_FX_DISCARD;
	}
	return VSOCK_FX_PAYLOAD;
}

static unsigned conn_act(struct vsock_conn *c, enum act act, enum vsock_event ev, uint32_t arg)
{
	bool connecting = c->state == VSOCK_CONNECTING;
	unsigned rst = VSOCK_DUE_RST;
	unsigned fx = 0;

	switch (act) {
	case ACT_IGNORE:
		return 0;
	case ACT_ABORT:
	case ACT_DROP:
		/* A guest that never saw the REQUEST needs no RST. */
		if (act == ACT_DROP || (c->due & VSOCK_DUE_REQUEST))
			rst = 0;
		if (connecting) {
			c->result = act == ACT_DROP      ? -ECONNREFUSED
				: ev == VSOCK_EV_TIMEOUT ? -ETIMEDOUT
							 : -ECONNRESET;
			fx = VSOCK_FX_FAILED;
		}
		return conn_end(c, rst, fx | VSOCK_FX_CLOSE);
	case ACT_SETTLED:
		c->due = 0;
		return 0;
	case ACT_ACCEPT:
		c->state = VSOCK_OPEN;
		c->due |= VSOCK_DUE_RESPONSE;
		return 0;
	case ACT_CONNECTED:
		c->state = VSOCK_OPEN;
		c->due = 0;
		return VSOCK_FX_CONNECTED;
	case ACT_SHUT:
		return conn_shut(c, arg);
	case ACT_DATA:
		return conn_data(c, arg);
	case ACT_DISCARD:
		return VSOCK_FX_DISCARD;
	case ACT_ANSWER_CREDIT:
		c->due |= VSOCK_DUE_CREDIT_UPDATE;
		return 0;
	case ACT_EOF:
		c->host_eof = true;
		return conn_settle(c);
	case ACT_DEAF:
		if (c->host_deaf)
			return 0;
		c->host_deaf = true;
		c->lost = c->lost || c->ring.len > 0;
		vsock_ring_clear(&c->ring);
		/* What was dropped takes no credit: the guest may still be writing. */
		vsock_conn_forwarded(c, c->credit.rx_cnt - c->credit.fwd_cnt);
		return conn_settle(c);
	case ACT_DRAINED:
		return conn_settle(c);
	case ACT_LOSE:
		return VSOCK_FX_CLOSE;
	case ACT_IMPOSSIBLE:
		break;
	}
	assert(act != ACT_IMPOSSIBLE);
	return 0;
}

unsigned vsock_conn_step(struct vsock_conn *c, enum vsock_event ev, uint32_t arg)
{
	const struct move *m = &moves[c->state][ev];
	enum vsock_state from = c->state;
	unsigned fx = conn_act(c, m->act, ev, arg);

	/* Closing and ending early are the only ways off the table's path. */
	assert(c->state == m->next || (from == VSOCK_OPEN && c->state >= VSOCK_CLOSING) ||
		(from == VSOCK_CLOSING && c->state == VSOCK_GONE));
	assert(c->state == VSOCK_GONE || !(c->due & VSOCK_DUE_RST));
	if (c->state != from)
		log_debug("vsock %u<-%u: %s -> %s (event %u)", c->key.local_port, c->key.guest_port,
			vsock_state_name(from), vsock_state_name(c->state), (unsigned)ev);
	return fx;
}

void vsock_credit_learn(struct vsock_credit *k, uint32_t buf_alloc, uint32_t fwd_cnt)
{
	k->peer_alloc = buf_alloc;
	/*
	 * It may only move forward, and not past what was sent: packets made
	 * on several CPUs of the guest may arrive out of order, and a lie
	 * must not make credit.
	 */
	if (k->tx_cnt - fwd_cnt <= k->tx_cnt - k->peer_fwd)
		k->peer_fwd = fwd_cnt;
}

uint32_t vsock_credit_free(const struct vsock_credit *k)
{
	uint32_t flying = k->tx_cnt - k->peer_fwd;

	/* The guest may shrink its buffer below what is on the way. */
	return flying < k->peer_alloc ? k->peer_alloc - flying : 0;
}

bool vsock_credit_take(struct vsock_credit *k, uint32_t len)
{
	uint32_t held = k->rx_cnt - k->fwd_cnt;

	if (held > k->buf_alloc || len > k->buf_alloc - held)
		return false;
	k->rx_cnt += len;
	return true;
}

bool vsock_credit_stale(const struct vsock_credit *k)
{
	uint32_t known = k->rx_cnt - k->told_fwd; /* what it believes to be held */

	return k->fwd_cnt != k->told_fwd && known > k->buf_alloc / 2;
}

bool vsock_conn_can_read(const struct vsock_conn *c)
{
	return c->state == VSOCK_OPEN && c->readable && !c->host_eof &&
		!(c->guest_shut & VSOCK_SHUT_RCV) && vsock_credit_free(&c->credit) > 0;
}

bool vsock_conn_wants(const struct vsock_conn *c)
{
	return c->due != 0 || vsock_conn_can_read(c);
}

void vsock_conn_forwarded(struct vsock_conn *c, uint32_t n)
{
	c->credit.fwd_cnt += n;
	if (c->state == VSOCK_OPEN && vsock_credit_stale(&c->credit))
		c->due |= VSOCK_DUE_CREDIT_UPDATE;
}

bool vsock_conn_next_due(struct vsock_conn *c, struct vsock_packet *p)
{
	/* In this order: RESPONSE opens what SHUTDOWN closes. */
	static const struct {
		uint8_t due;
		uint8_t op;
	} order[] = {
		{ VSOCK_DUE_RST, VSOCK_OP_RST },
		{ VSOCK_DUE_REQUEST, VSOCK_OP_REQUEST },
		{ VSOCK_DUE_RESPONSE, VSOCK_OP_RESPONSE },
		{ VSOCK_DUE_CREDIT_UPDATE, VSOCK_OP_CREDIT_UPDATE },
		{ VSOCK_DUE_SHUTDOWN, VSOCK_OP_SHUTDOWN },
		{ VSOCK_DUE_CREDIT_REQUEST, VSOCK_OP_CREDIT_REQUEST },
	};

	for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (!(c->due & order[i].due))
			continue;
		c->due &= (uint8_t)~order[i].due;
		p->op = order[i].op;
		p->flags = p->op == VSOCK_OP_SHUTDOWN ? c->host_shut : 0;
		return true;
	}
	return false;
}

bool vsock_conn_finished(const struct vsock_conn *c)
{
	return c->state == VSOCK_GONE && c->due == 0 && c->ring.len == 0 && c->notice == 0;
}
