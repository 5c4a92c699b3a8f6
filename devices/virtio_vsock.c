#include <devices/virtio_vsock.h>

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>

#include "vsock_dev.h"

#define DEVICE_ID_VSOCK       19          /* virtio 1.2, section 5 */
#define FIRST_FREE_CID        3u          /* 0, 1 and 2 are reserved (5.10.4) */
#define FEATURE_STREAM        UINT64_C(1) /* VIRTIO_VSOCK_F_STREAM, bit 0 (5.10.3) */
#define EVENT_TRANSPORT_RESET 0u          /* 5.10.6.7 */

#define DEFAULT_MAX_CONNS       1024u
#define DEFAULT_BUF_ALLOC       (256u << 10)
#define DEFAULT_BUF_TOTAL       (UINT64_C(16) << 20)
#define DEFAULT_CONNECT_TIMEOUT (10 * CLOCK_NS_PER_S)
#define DEFAULT_CLOSE_TIMEOUT   (8 * CLOCK_NS_PER_S)

static void poke(const struct virtio_vsock *v)
{
	uint64_t one = 1;
	ssize_t n = write(v->wake, &one, sizeof(one));

	(void)n; /* a full counter has been seen to */
}

void vsock_broken(struct virtio_vsock *v, const char *why)
{
	v->active = false;
	v->reset_due = true;
	poke(v);
	virtio_dev_fail(&v->dev, why);
}

/* --- coming in and going out: every entry of the loop's thread */

bool vsock_enter(struct virtio_vsock *v)
{
	(void)pthread_mutex_lock(&v->mu);
	v->budget = VSOCK_BUDGET;
	v->again = false;
	if (!v->reset_due)
		return true;
	v->reset_due = false;
	vsock_drop_all(v);
	return false;
}

void vsock_serve_event(struct virtio_vsock *v)
{
	const uint32_t event = htole32(EVENT_TRANSPORT_RESET);
	struct virtq *q = &v->dev.queues[VSOCK_QUEUE_EVENT];
	int r;

	if (!v->active || v->held || !v->event_due)
		return;
	r = virtq_pop(q, &v->chain);
	if (r == 0 && virtq_enable_notify(q))
		r = virtq_pop(q, &v->chain);
	if (r == 0)
		return;
	if (r < 0 || v->chain.in_bytes < sizeof(event)) {
		vsock_broken(v, "vsock event queue");
		return;
	}
	(void)virtq_iov_write(
		v->chain.iov + v->chain.out_count, v->chain.in_count, 0, &event, sizeof(event));
	virtq_push(q, v->chain.head, sizeof(event));
	v->event_due = false;
	virtio_dev_signal_used(&v->dev, q);
}

void vsock_serve(struct virtio_vsock *v, bool tx)
{
	if (v->held)
		return; /* all is looked at again when it is not */
	tx = tx || v->tx_stalled;
	do {
		if (tx)
			vsock_tx_serve(v);
		vsock_rx_serve(v);
		tx = v->tx_stalled && v->reply_count < VSOCK_REPLIES_MAX;
	} while (tx && v->active && v->budget);
}

static void tell_owner(struct virtio_vsock *v)
{
	unsigned left = VSOCK_BUDGET;
	struct vsock_conn *c;

	if (v->delivering)
		return;
	v->delivering = true;
	/* What the guest asks goes on without end, and the loop has others to serve. */
	while (left-- && (c = TAILQ_FIRST(&v->table.notices))) {
		enum vsock_notice n = c->notice;
		const struct vsock_key key = c->key;
		uint64_t id = c->id;
		int result = c->result;

		vsock_table_unnotice(&v->table, c);
		(void)vsock_reap(v, c);
		if (n == VSOCK_NOTICE_ASK)
			v->ops->guest_connect(
				v->user, id, key.local_cid, key.local_port, key.guest_port);
		else
			v->ops->connect_done(v->user, id, result);
	}
	v->delivering = false;
	if (!TAILQ_EMPTY(&v->table.notices))
		poke(v);
}

static void arm_refill(struct virtio_vsock *v)
{
	uint64_t wait = v->refill_armed ? 0 : vsock_rate_wait_ns(&v->rate);

	if (wait)
		v->refill_armed = loop_timer_set(v->loop, &v->refill, wait, 0) == 0;
}

void vsock_leave(struct virtio_vsock *v, bool tell)
{
	uint64_t first = vsock_table_deadline(&v->table);
	bool again = v->again;

	if (first && (!v->armed_ns || first < v->armed_ns)) {
		uint64_t now = clock_mono_ns();

		if (loop_timer_set(v->loop, &v->timer, first > now ? first - now : 1, 0) == 0)
			v->armed_ns = first;
	}
	arm_refill(v);
	(void)pthread_mutex_unlock(&v->mu);
	if (again || (!tell && !TAILQ_EMPTY(&v->table.notices)))
		poke(v);
	if (tell)
		tell_owner(v);
}

/* --- watchers */

static void clear_eventfd(int fd)
{
	uint64_t count;
	ssize_t n = read(fd, &count, sizeof(count));

	(void)n;
}

static void on_wake(struct loop_fd *w, uint32_t events)
{
	struct virtio_vsock *v = container_of(w, struct virtio_vsock, wake_w);

	(void)events;
	clear_eventfd(w->fd);
	(void)vsock_enter(v);
	vsock_serve_event(v);
	vsock_serve(v, true);
	vsock_leave(v, true);
}

static void kicked(struct virtio_vsock *v, unsigned queue)
{
	clear_eventfd(v->notify_w[queue].fd);
	(void)vsock_enter(v);
	if (queue == VSOCK_QUEUE_EVENT)
		vsock_serve_event(v);
	else
		vsock_serve(v, queue == VSOCK_QUEUE_TX);
	vsock_leave(v, true);
}

static void on_kick_rx(struct loop_fd *w, uint32_t events)
{
	(void)events;
	kicked(container_of(w, struct virtio_vsock, notify_w[VSOCK_QUEUE_RX]), VSOCK_QUEUE_RX);
}

static void on_kick_tx(struct loop_fd *w, uint32_t events)
{
	(void)events;
	kicked(container_of(w, struct virtio_vsock, notify_w[VSOCK_QUEUE_TX]), VSOCK_QUEUE_TX);
}

static void on_kick_event(struct loop_fd *w, uint32_t events)
{
	(void)events;
	kicked(container_of(w, struct virtio_vsock, notify_w[VSOCK_QUEUE_EVENT]),
		VSOCK_QUEUE_EVENT);
}

static void on_timer(struct loop_timer *t)
{
	struct virtio_vsock *v = container_of(t, struct virtio_vsock, timer);
	uint64_t now = clock_mono_ns();
	struct vsock_conn *c;

	v->armed_ns = 0;
	(void)vsock_enter(v);
	while ((c = vsock_table_expired(&v->table, now)))
		(void)vsock_raise(v, c, VSOCK_EV_TIMEOUT, 0, NULL);
	vsock_serve(v, false);
	vsock_leave(v, true);
}

/* Those that wait get their shares, and use them: first what waits for the host. */
void vsock_refill(struct virtio_vsock *v)
{
	for (unsigned lane = 0; lane < VSOCK_LANE_COUNT; lane++) {
		unsigned n = vsock_rate_round(&v->rate, lane);

		while (n--) {
			struct vsock_conn *c = vsock_rate_next(&v->rate, lane);

			if (!c)
				break;
			vsock_host_event(v, c, 0);
		}
	}
	vsock_serve(v, false);
}

static void on_refill(struct loop_timer *t)
{
	struct virtio_vsock *v = container_of(t, struct virtio_vsock, refill);

	v->refill_armed = false;
	(void)vsock_enter(v);
	vsock_refill(v);
	vsock_leave(v, true);
}

void vsock_on_host(struct loop_fd *w, uint32_t events)
{
	struct vsock_conn *c = container_of(w, struct vsock_conn, w);
	struct virtio_vsock *v = c->v;

	/* After a reset c is no more. */
	if (vsock_enter(v))
		vsock_host_event(v, c, events);
	vsock_serve(v, false);
	vsock_leave(v, true);
}

/* --- device operations: vCPU threads, dev.lock held */

static int vsock_activate(struct virtio_dev *dev)
{
	struct virtio_vsock *v = container_of(dev, struct virtio_vsock, dev);

	(void)pthread_mutex_lock(&v->mu);
	v->active = true;
	(void)pthread_mutex_unlock(&v->mu);
	poke(v);
	return 0;
}

static void vsock_reset(struct virtio_dev *dev)
{
	struct virtio_vsock *v = container_of(dev, struct virtio_vsock, dev);

	/* The lock is free when the loop is out of the queues; the rest is the loop's to do. */
	(void)pthread_mutex_lock(&v->mu);
	v->active = false;
	v->reset_due = true;
	v->event_due = false;
	(void)pthread_mutex_unlock(&v->mu);
	poke(v);
}

/* The whole space is the CID (5.10.4). */
static void vsock_config_read(struct virtio_dev *dev, uint32_t offset, void *buf, uint32_t len)
{
	const struct virtio_vsock *v = container_of(dev, struct virtio_vsock, dev);
	uint64_t cid = htole64(v->guest_cid);

	if (offset < sizeof(cid) && len <= sizeof(cid) - offset)
		memcpy(buf, (const uint8_t *)&cid + offset, len);
	else
		memset(buf, 0, len);
}

static void vsock_config_write(
	struct virtio_dev *dev, uint32_t offset, const void *buf, uint32_t len)
{
	(void)dev;
	(void)offset;
	(void)buf;
	(void)len;
}

static const struct virtio_dev_ops dev_ops = {
	.activate = vsock_activate,
	.reset = vsock_reset,
	.config_read = vsock_config_read,
	.config_write = vsock_config_write,
};

/* --- life */

static int start(struct virtio_vsock *v, const struct gmem *mem, struct kerr *e)
{
	static void (*const on_kick[VSOCK_QUEUE_COUNT])(struct loop_fd *, uint32_t) = {
		[VSOCK_QUEUE_RX] = on_kick_rx,
		[VSOCK_QUEUE_TX] = on_kick_tx,
		[VSOCK_QUEUE_EVENT] = on_kick_event,
	};
	int r = virtio_dev_init(&v->dev, mem, e);

	if (r < 0)
		return r;
	v->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->wake < 0)
		return kerr_errno(e, errno, "vsock: eventfd");
	v->wake_w.fn = on_wake;
	r = loop_fd_add(v->loop, &v->wake_w, v->wake, EPOLLIN);
	/* Now: the loop's thread may make no descriptors any more when it serves. */
	if (r == 0)
		r = loop_timer_add(v->loop, &v->timer);
	if (r == 0)
		r = loop_timer_add(v->loop, &v->refill);
	for (unsigned i = 0; i < VSOCK_QUEUE_COUNT && r == 0; i++) {
		v->notify_w[i].fn = on_kick[i];
		r = loop_fd_add(v->loop, &v->notify_w[i], v->dev.notify[i], EPOLLIN);
	}
	return r < 0 ? kerr_errno(e, -r, "vsock: event loop") : 0;
}

int virtio_vsock_new(struct virtio_vsock **ret, const struct gmem *mem, struct loop *loop,
	const struct virtio_vsock_config *cfg, struct kerr *e)
{
	struct virtio_vsock *v;
	int r;

	if (cfg->guest_cid < FIRST_FREE_CID || cfg->guest_cid >= UINT32_MAX)
		return kerr_set(e, EINVAL, "vsock: CID %llu: expected %u to %u",
			(unsigned long long)cfg->guest_cid, FIRST_FREE_CID, UINT32_MAX - 1);
	v = calloc(1, sizeof(*v));
	if (!v)
		return kerr_errno(e, ENOMEM, "vsock");
	v->dev.ops = &dev_ops;
	v->dev.device_id = DEVICE_ID_VSOCK;
	v->dev.offered = FEATURE_STREAM;
	v->dev.queue_count = VSOCK_QUEUE_COUNT;
	v->loop = loop;
	v->guest_cid = cfg->guest_cid;
	v->connect_timeout_ns =
		cfg->connect_timeout_ns ? cfg->connect_timeout_ns : DEFAULT_CONNECT_TIMEOUT;
	v->close_timeout_ns = cfg->close_timeout_ns ? cfg->close_timeout_ns : DEFAULT_CLOSE_TIMEOUT;
	v->ops = cfg->ops;
	v->user = cfg->user;
	v->next_id = 1;
	v->wake = -1;
	v->wake_w.fd = -1;
	for (unsigned i = 0; i < VSOCK_QUEUE_COUNT; i++)
		v->notify_w[i].fd = -1;
	v->timer = (struct loop_timer)LOOP_TIMER_INIT;
	v->timer.fn = on_timer;
	v->refill = (struct loop_timer)LOOP_TIMER_INIT;
	v->refill.fn = on_refill;
	vsock_rate_init(&v->rate, &cfg->rate, cfg->control_port, cfg->clock_ns);
	(void)pthread_mutex_init(&v->mu, NULL);
	vsock_table_init(&v->table, cfg->max_conns ? cfg->max_conns : DEFAULT_MAX_CONNS,
		cfg->buf_alloc ? cfg->buf_alloc : DEFAULT_BUF_ALLOC,
		cfg->buf_total ? cfg->buf_total : DEFAULT_BUF_TOTAL);
	r = start(v, mem, e);
	if (r < 0) {
		virtio_vsock_free(v);
		return r;
	}
	*ret = v;
	return 0;
}

void virtio_vsock_free(struct virtio_vsock *v)
{
	struct vsock_conn *c;

	if (!v)
		return;
	loop_fd_del(&v->wake_w);
	for (unsigned i = 0; i < VSOCK_QUEUE_COUNT; i++)
		loop_fd_del(&v->notify_w[i]);
	loop_timer_done(&v->timer);
	loop_timer_done(&v->refill);
	virtio_dev_done(&v->dev);
	while ((c = TAILQ_FIRST(&v->table.all))) {
		vsock_host_close(c);
		vsock_table_free(&v->table, c);
	}
	close_fd(&v->wake);
	(void)pthread_mutex_destroy(&v->mu);
	free(v);
}

struct virtio_dev *virtio_vsock_dev(struct virtio_vsock *v)
{
	return &v->dev;
}
