/* What follows from the moves of a stream, outside of it. */
#include "vsock_dev.h"

#include <errno.h>

#include <base/clock.h>

bool vsock_reap(struct virtio_vsock *v, struct vsock_conn *c)
{
	if (c->state == VSOCK_GONE && c->due == 0)
		vsock_table_unhash(&v->table, c);
	if (!vsock_conn_finished(c))
		return true;
	vsock_host_close(c);
	vsock_rate_leave(&v->rate, c);
	vsock_table_free(&v->table, c);
	return false;
}

bool vsock_raise(struct virtio_vsock *v, struct vsock_conn *c, enum vsock_event ev, uint32_t arg,
	unsigned *ret_fx)
{
	enum vsock_state from = c->state;
	unsigned fx = vsock_conn_step(c, ev, arg);

	if (c->state != from) {
		vsock_table_untime(&v->table, c);
		if (c->state == VSOCK_CLOSING)
			vsock_table_time(&v->table, c, VSOCK_WAIT_CLOSE,
				clock_mono_ns() + v->close_timeout_ns);
		if (c->state == VSOCK_GONE && c->notice == VSOCK_NOTICE_ASK)
			vsock_table_unnotice(&v->table, c);
		if (c->state == VSOCK_GONE && from != VSOCK_CLOSING &&
			c->guest_shut != VSOCK_SHUT_BOTH)
			v->stats.resets++;
	}
	if (fx & (VSOCK_FX_CONNECTED | VSOCK_FX_FAILED))
		vsock_table_notice(&v->table, c, VSOCK_NOTICE_DONE);
	if (fx & VSOCK_FX_SHUT_WR)
		vsock_host_shutdown(c, false);
	if (fx & VSOCK_FX_SHUT_RD)
		vsock_host_shutdown(c, true);
	if (fx & VSOCK_FX_CLOSE)
		vsock_host_close(c);
	if (ret_fx)
		*ret_fx = fx;
	vsock_table_ready(&v->table, c);
	return vsock_reap(v, c);
}

bool vsock_opened(struct virtio_vsock *v, struct vsock_conn *c)
{
	if (c->write_only && !vsock_raise(v, c, VSOCK_EV_HOST_EOF, 0, NULL))
		return false;
	return !c->read_only || c->state != VSOCK_OPEN ||
		vsock_raise(v, c, VSOCK_EV_HOST_DEAF, 0, NULL);
}

void vsock_host_failed(struct virtio_vsock *v, struct vsock_conn *c, int r, bool unsent)
{
	/*
	 * A host that stopped reading may still have something to say, so
	 * EPIPE closes one direction; whatever else happened closes both.
	 */
	if (r == -EPIPE) {
		c->lost = c->lost || unsent;
		(void)vsock_raise(v, c, VSOCK_EV_HOST_DEAF, 0, NULL);
	} else if (r < 0) {
		(void)vsock_raise(v, c, VSOCK_EV_HOST_ERROR, 0, NULL);
	} else {
		vsock_table_ready(&v->table, c);
	}
}

void vsock_drop_all(struct virtio_vsock *v)
{
	struct vsock_conn *c = TAILQ_FIRST(&v->table.all);

	v->reply_count = 0;
	v->tx_stalled = false;
	while (c) {
		struct vsock_conn *next = TAILQ_NEXT(c, all_link);

		vsock_host_close(c);
		if (c->state == VSOCK_CONNECTING) {
			c->result = -ECONNRESET;
			vsock_table_notice(&v->table, c, VSOCK_NOTICE_DONE);
		} else if (c->notice == VSOCK_NOTICE_ASK) {
			vsock_table_unnotice(&v->table, c);
		}
		if (c->state != VSOCK_GONE)
			v->stats.resets++;
		c->state = VSOCK_GONE;
		c->due = 0;
		vsock_table_unready(&v->table, c);
		vsock_table_untime(&v->table, c);
		(void)vsock_reap(v, c);
		c = next;
	}
}

void vsock_host_event(struct virtio_vsock *v, struct vsock_conn *c, uint32_t events)
{
	int r = 0;

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->readable = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		c->writable = true;
	if (c->writable && c->ring.len > 0) {
		r = vsock_host_drain(c);
		if (r == 0 && c->ring.len == 0 && !vsock_raise(v, c, VSOCK_EV_DRAINED, 0, NULL))
			return;
	}
	/*
	 * HUP of a socket: the peer has closed it altogether. What it sent
	 * before can still be read; nothing can be written. ERR of a pipe:
	 * its reader has gone.
	 */
	if (r == 0 && c->state == VSOCK_OPEN && !c->told_eof && !c->host_deaf &&
		(events & (c->is_socket ? EPOLLHUP : EPOLLERR)))
		r = -EPIPE;
	vsock_host_failed(v, c, r, c->ring.len > 0);
}
