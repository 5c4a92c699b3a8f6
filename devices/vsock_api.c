/* What the owner calls: loop thread, also from inside its callbacks. */
#include <devices/virtio_vsock.h>

#include <errno.h>
#include <unistd.h>

#include <base/clock.h>

#include "vsock_dev.h"

/*
 * Brings to the guest what came of the call. An answer from inside a
 * callback waits for the next turn: a budget for each would be none.
 */
static void serve_after(struct virtio_vsock *v)
{
	if (v->delivering)
		v->again = true;
	else
		vsock_serve(v, false);
}

static int open_connecting(struct virtio_vsock *v, uint64_t id, const struct vsock_key *key, int fd)
{
	struct vsock_conn *c = vsock_table_add(&v->table, key, VSOCK_CONNECTING);
	int r;

	if (!c) {
		(void)close(fd);
		return v->table.count >= v->table.max ? -EMFILE : -ENOMEM;
	}
	c->v = v;
	c->id = id;
	r = vsock_host_attach(c, fd, vsock_on_host);
	if (r < 0) {
		vsock_table_free(&v->table, c);
		return r;
	}
	c->due = VSOCK_DUE_REQUEST;
	v->stats.conns_total++;
	vsock_table_time(&v->table, c, VSOCK_WAIT_CONNECT, clock_mono_ns() + v->connect_timeout_ns);
	vsock_table_ready(&v->table, c);
	serve_after(v);
	return 0;
}

int virtio_vsock_connect(
	struct virtio_vsock *v, uint64_t id, uint64_t src_cid, uint32_t dst_port, int fd)
{
	struct vsock_key key = { .local_cid = src_cid, .guest_port = dst_port };
	int r;

	if (src_cid > UINT32_MAX) {
		(void)close(fd);
		return -EINVAL;
	}
	(void)vsock_enter(v);
	if (v->active) {
		key.local_port = vsock_table_port(&v->table, src_cid, dst_port);
		r = open_connecting(v, id, &key, fd);
	} else {
		(void)close(fd);
		r = -ENOTCONN;
	}
	vsock_leave(v, false);
	return r;
}

void virtio_vsock_accept(struct virtio_vsock *v, uint64_t id, int fd)
{
	struct vsock_conn *c;

	(void)vsock_enter(v);
	c = vsock_table_find_asked(&v->table, id);
	if (!c)
		(void)close(fd);
	else if (vsock_host_attach(c, fd, vsock_on_host) < 0)
		(void)vsock_raise(v, c, VSOCK_EV_REFUSE, 0, NULL);
	else if (vsock_raise(v, c, VSOCK_EV_ACCEPT, 0, NULL))
		(void)vsock_opened(v, c);
	serve_after(v);
	vsock_leave(v, false);
}

void virtio_vsock_refuse(struct virtio_vsock *v, uint64_t id)
{
	struct vsock_conn *c;

	(void)vsock_enter(v);
	c = vsock_table_find_asked(&v->table, id);
	if (c)
		(void)vsock_raise(v, c, VSOCK_EV_REFUSE, 0, NULL);
	serve_after(v);
	vsock_leave(v, false);
}

void virtio_vsock_refuse_all(struct virtio_vsock *v)
{
	struct vsock_conn *c;
	struct vsock_conn *next;

	(void)vsock_enter(v);
	for (c = TAILQ_FIRST(&v->table.all); c; c = next) {
		next = TAILQ_NEXT(c, all_link);
		if (c->state == VSOCK_ASKED)
			(void)vsock_raise(v, c, VSOCK_EV_REFUSE, 0, NULL);
	}
	serve_after(v);
	vsock_leave(v, false);
}

void virtio_vsock_hold(struct virtio_vsock *v, bool held)
{
	if (held == v->held)
		return;
	(void)vsock_enter(v);
	if (held) {
		v->held_ns = clock_mono_ns();
		vsock_table_hold(&v->table);
	} else {
		vsock_table_release(&v->table, clock_mono_ns() - v->held_ns);
	}
	v->held = held;
	v->again = !held; /* a turn of the loop for what came meanwhile */
	vsock_leave(v, false);
}

void virtio_vsock_set_rate(struct virtio_vsock *v, const struct rate_limit *rate)
{
	(void)vsock_enter(v);
	vsock_rate_set(&v->rate, rate);
	/* An older wait may be far too long now. */
	v->refill_armed = false;
	if (v->delivering)
		v->again = true;
	else
		vsock_refill(v);
	vsock_leave(v, false);
}

void virtio_vsock_transport_reset(struct virtio_vsock *v)
{
	(void)vsock_enter(v);
	vsock_drop_all(v);
	v->event_due = v->active;
	vsock_serve_event(v);
	vsock_leave(v, false);
}

void virtio_vsock_get_stats(struct virtio_vsock *v, struct virtio_vsock_stats *ret)
{
	*ret = v->stats;
	ret->conns_open = v->table.count;
}
