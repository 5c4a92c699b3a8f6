#include <devices/virtio_blk.h>

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <linux/virtio_ids.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <devices/throttle.h>

#include "blk_request.h"

#define WORKER_STACK (128u << 10)

/* Of each request: header and status (5.2.6). */
#define BLK_FRAME 17u

struct virtio_blk {
	struct virtio_dev dev;
	struct blk_context ctx;
	uint8_t config[BLK_CONFIG_SIZE];
	int epfd; /* the worker waits there */
	int (*on_thread)(void *user);
	void *user;
	/*
	 * Held by the worker while it serves, by a vCPU's activate and reset.
	 * Taken after dev->lock; the worker takes nothing while it holds it,
	 * and leaves soon once ctx.disk.quiesce is set: so a reset waits for
	 * one system call at most, and never for itself.
	 */
	pthread_mutex_t serving;
	bool active;
	bool held; /* loop thread */
	bool started;
	_Atomic bool stop;
	pthread_t worker;
	struct virtq_chain chain; /* worker */
	struct throttle *throttle;
	struct throttle_turn turn; /* of the request at the head of the queue; `serving` held */
	uint64_t wait_ns; /* worker: the queue is looked at again after that; 0: when told */
};

static struct virtio_blk *blk_of(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_blk, dev);
}

static void wake(int fd)
{
	uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n; /* full: awake already */
}

/* A reset, or whoever holds the device, waits. */
static bool leave(const struct virtio_blk *b)
{
	return atomic_load(&b->ctx.disk.quiesce) != 0;
}

/*
 * Is it too early for the request in b->chain? It counts as what its chain
 * can carry: the header, which says how much that is, is the guest's to change.
 */
static bool too_early(struct virtio_blk *b)
{
	uint64_t bytes = (uint64_t)b->chain.out_bytes + b->chain.in_bytes;

	if (!b->throttle)
		return false;
	throttle_ask(b->throttle, &b->turn, bytes > BLK_FRAME ? bytes - BLK_FRAME : 0);
	b->wait_ns = throttle_wait_ns(b->throttle, &b->turn);
	return b->wait_ns > 0;
}

/* It was carried out. */
static void turn_over(struct virtio_blk *b)
{
	if (!b->throttle)
		return;
	throttle_drop(b->throttle, &b->turn);
	if (b->ctx.disk.zeroes)
		throttle_charge(b->throttle, b->ctx.disk.zeroes);
	b->ctx.disk.zeroes = 0;
}

/* b->serving held. Until the queue is empty, broken, throttled, or somebody waits. */
static void serve(struct virtio_blk *b)
{
	struct virtq *q = &b->dev.queues[0];

	while (!leave(b)) {
		virtq_disable_notify(q);
		while (!leave(b)) {
			uint32_t written;
			int r = virtq_pop(q, &b->chain);

			if (!r)
				break;
			if (r > 0 && too_early(b)) {
				virtq_unpop(q);
				return;
			}
			if (r > 0)
				r = blk_request_run(&b->ctx, &b->chain, &written);
			if (r == -ECANCELED) {
				/* After a hold it is done afresh; after a reset there is no queue.
				 */
				virtq_unpop(q);
				return;
			}
			if (r < 0) {
				q->broken = true;
				virtio_dev_fail(&b->dev, "malformed block request");
				return;
			}
			turn_over(b);
			virtq_push(q, b->chain.head, written);
			virtio_dev_signal_used(&b->dev, q);
		}
		if (leave(b) || !virtq_enable_notify(q))
			return;
	}
}

/* Rounded up: a bucket that is asked too early makes another round. */
static int wait_ms(uint64_t ns)
{
	uint64_t ms = ns / CLOCK_NS_PER_MS + (ns % CLOCK_NS_PER_MS != 0);

	if (ns == 0)
		return -1;
	return ms < INT_MAX ? (int)ms : INT_MAX;
}

/*
 * One edge a kick, so the eventfd is never read: with its count, KVM's signals
 * and wake() make an edge each.
 */
static int watch_kicks(struct virtio_blk *b)
{
	struct epoll_event kicks = { .events = EPOLLIN | EPOLLET };

	b->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (b->epfd < 0 || epoll_ctl(b->epfd, EPOLL_CTL_ADD, b->dev.notify[0], &kicks) < 0)
		return -errno;
	return 0;
}

static void *worker_main(void *arg)
{
	struct virtio_blk *b = arg;

	(void)pthread_setname_np(pthread_self(), "blk");
	if (b->on_thread && b->on_thread(b->user) != 0)
		return NULL;
	while (!atomic_load(&b->stop)) {
		struct epoll_event kick;

		if (epoll_wait(b->epfd, &kick, 1, wait_ms(b->wait_ns)) < 0 && errno != EINTR)
			break;
		(void)pthread_mutex_lock(&b->serving);
		b->wait_ns = 0;
		if (b->active)
			serve(b);
		(void)pthread_mutex_unlock(&b->serving);
	}
	return NULL;
}

static int blk_activate(struct virtio_dev *dev)
{
	struct virtio_blk *b = blk_of(dev);

	(void)pthread_mutex_lock(&b->serving);
	b->ctx.features = dev->features;
	b->active = true;
	(void)pthread_mutex_unlock(&b->serving);
	/* Requests may have been made available before DRIVER_OK without a kick. */
	wake(dev->notify[0]);
	return 0;
}

static void blk_reset(struct virtio_dev *dev)
{
	struct virtio_blk *b = blk_of(dev);

	atomic_fetch_add(&b->ctx.disk.quiesce, 1);
	(void)pthread_mutex_lock(&b->serving);
	b->active = false;
	if (b->throttle)
		throttle_drop(b->throttle, &b->turn);
	atomic_fetch_sub(&b->ctx.disk.quiesce, 1);
	(void)pthread_mutex_unlock(&b->serving);
}

static void blk_config_read(struct virtio_dev *dev, uint32_t offset, void *buf, uint32_t len)
{
	const struct virtio_blk *b = blk_of(dev);

	memset(buf, 0, len);
	if (offset >= BLK_CONFIG_SIZE)
		return;
	if (len > BLK_CONFIG_SIZE - offset)
		len = BLK_CONFIG_SIZE - offset;
	memcpy(buf, b->config + offset, len);
}

/* The only writable field is `writeback`, of a feature that is not offered. */
static void blk_config_write(struct virtio_dev *dev, uint32_t offset, const void *buf, uint32_t len)
{
	(void)dev;
	(void)offset;
	(void)buf;
	(void)len;
}

static const struct virtio_dev_ops blk_ops = {
	.activate = blk_activate,
	.reset = blk_reset,
	.config_read = blk_config_read,
	.config_write = blk_config_write,
};

static int start_worker(struct virtio_blk *b)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int err;

	err = pthread_attr_init(&attr);
	if (err)
		return -err;
	err = pthread_attr_setstacksize(&attr, WORKER_STACK);
	if (!err) {
		/* The worker inherits a full mask: signals are for others. */
		(void)sigfillset(&all);
		(void)pthread_sigmask(SIG_SETMASK, &all, &old);
		err = pthread_create(&b->worker, &attr, worker_main, b);
		(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	(void)pthread_attr_destroy(&attr);
	if (err)
		return -err;
	b->started = true;
	return 0;
}

static int check_config(const struct virtio_blk_config *cfg, struct kerr *e)
{
	int r;

	if (cfg->size % BLK_SECTOR)
		return kerr_set(e, EINVAL, "disk of %llu bytes: expected a multiple of %u",
			(unsigned long long)cfg->size, BLK_SECTOR);
	r = blk_disk_check(cfg->fd, cfg->size);
	if (r == -EINVAL)
		return kerr_set(e, EINVAL,
			"disk: expected a file or block device of at least %llu bytes",
			(unsigned long long)cfg->size);
	return r < 0 ? kerr_errno(e, -r, "disk") : 0;
}

int virtio_blk_new(struct virtio_blk **ret, const struct gmem *mem,
	const struct virtio_blk_config *cfg, struct kerr *e)
{
	struct virtio_blk *b;
	int r = check_config(cfg, e);

	if (r < 0)
		return r;
	b = calloc(1, sizeof(*b));
	if (!b)
		return kerr_errno(e, ENOMEM, "block device");
	b->epfd = -1;
	b->ctx.disk = (struct blk_disk){
		.fd = -1,
		.size = cfg->size,
		.read_only = cfg->read_only,
	};
	b->throttle = cfg->throttle;
	b->on_thread = cfg->on_thread;
	b->user = cfg->user;
	memcpy(b->ctx.id, cfg->serial, sizeof(b->ctx.id));
	blk_config_fill(b->config, &b->ctx.disk);
	(void)pthread_mutex_init(&b->serving, NULL);
	b->dev.ops = &blk_ops;
	b->dev.device_id = VIRTIO_ID_BLOCK;
	b->dev.queue_count = 1;
	b->dev.offered = blk_features(cfg->read_only);

	r = virtio_dev_init(&b->dev, mem, e);
	if (r < 0)
		goto fail;
	r = watch_kicks(b);
	if (r < 0) {
		(void)kerr_errno(e, -r, "block device: watching its queue");
		goto fail;
	}
	r = start_worker(b);
	if (r < 0) {
		(void)kerr_errno(e, -r, "block device: starting its thread");
		goto fail;
	}
	/* Nothing can fail any more; the worker looks at it after activate only. */
	b->ctx.disk.fd = cfg->fd;
	*ret = b;
	return 0;
fail:
	virtio_blk_free(b);
	return r;
}

void virtio_blk_free(struct virtio_blk *b)
{
	if (!b)
		return;
	if (b->started) {
		atomic_store(&b->stop, true);
		atomic_fetch_add(&b->ctx.disk.quiesce, 1);
		wake(b->dev.notify[0]);
		(void)pthread_join(b->worker, NULL);
	}
	if (b->throttle)
		throttle_drop(b->throttle, &b->turn);
	close_fd(&b->epfd);
	virtio_dev_done(&b->dev);
	if (b->ctx.disk.fd >= 0 && !b->ctx.disk.read_only)
		(void)blk_disk_flush(&b->ctx.disk);
	close_fd(&b->ctx.disk.fd);
	(void)pthread_mutex_destroy(&b->serving);
	free(b);
}

void virtio_blk_hold(struct virtio_blk *b, bool held)
{
	if (held == b->held)
		return;
	b->held = held;
	if (!held) {
		atomic_fetch_sub(&b->ctx.disk.quiesce, 1);
		wake(b->dev.notify[0]);
		return;
	}
	atomic_fetch_add(&b->ctx.disk.quiesce, 1);
	/* The worker has seen it, or will before it touches the queue again. */
	(void)pthread_mutex_lock(&b->serving);
	(void)pthread_mutex_unlock(&b->serving);
}

void virtio_blk_nudge(struct virtio_blk *b)
{
	wake(b->dev.notify[0]);
}

struct virtio_dev *virtio_blk_dev(struct virtio_blk *b)
{
	return &b->dev;
}

void virtio_blk_get_stats(struct virtio_blk *b, struct virtio_blk_stats *ret)
{
	struct blk_counters *c = &b->ctx.counters;

	*ret = (struct virtio_blk_stats){
		.read_bytes = atomic_load(&c->read_bytes),
		.written_bytes = atomic_load(&c->written_bytes),
		.read_ops = atomic_load(&c->read_ops),
		.write_ops = atomic_load(&c->write_ops),
		.flushes = atomic_load(&c->flushes),
		.errors = atomic_load(&c->errors),
	};
}
