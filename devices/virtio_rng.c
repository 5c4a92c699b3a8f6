#include <devices/virtio_rng.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <linux/virtio_ids.h>

#include <base/cleanup.h>

#define RNG_MAX_BYTES 4096u /* of one buffer; the driver asks again for more */

struct virtio_rng {
	struct virtio_dev dev;
	struct loop_fd kick;
	/*
	 * Held by the loop's thread while it serves and by a vCPU's reset: taken
	 * after dev->lock, and nothing is taken while it is held.
	 */
	pthread_mutex_t serving;
	bool active;
	bool held; /* loop thread */
};

static struct virtio_rng *rng_of(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_rng, dev);
}

/* Bytes placed in front of the chain's writable part, or -errno. */
static int fill(const struct virtq_chain *c)
{
	uint32_t left = c->in_bytes < RNG_MAX_BYTES ? c->in_bytes : RNG_MAX_BYTES;
	int done = 0;

	for (unsigned i = c->out_count; left; i++) {
		size_t len = c->iov[i].iov_len < left ? c->iov[i].iov_len : left;
		uint8_t *at = c->iov[i].iov_base;

		left -= (uint32_t)len;
		while (len) {
			ssize_t n = getrandom(at, len, 0);

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return -errno;
			at += n;
			len -= (size_t)n;
			done += (int)n;
		}
	}
	return done;
}

static int serve_one(struct virtio_rng *r, struct virtq *q, const struct virtq_chain *c)
{
	int n;

	/* 5.4.6.1: no readable buffers; 5.4.6.2: one random byte at least. */
	if (c->out_count || !c->in_bytes) {
		q->broken = true;
		return -EPROTO;
	}
	n = fill(c);
	if (n < 0)
		return n;
	virtq_push(q, c->head, (uint32_t)n);
	virtio_dev_signal_used(&r->dev, q);
	return 0;
}

static void serve(struct virtio_rng *r)
{
	struct virtq *q = &r->dev.queues[0];
	struct virtq_chain c;
	unsigned budget = VIRTQ_MAX_SIZE;

	do {
		virtq_disable_notify(q);
		for (;;) {
			int n = virtq_pop(q, &c);

			if (!n)
				break;
			if (n > 0)
				n = serve_one(r, q, &c);
			if (n < 0) {
				virtio_dev_fail(&r->dev, "malformed entropy request");
				return;
			}
			/* The loop has others to serve: come back by the eventfd. */
			if (!--budget) {
				uint64_t one = 1;

				if (write(r->dev.notify[0], &one, sizeof(one)) < 0)
					virtio_dev_fail(&r->dev, "eventfd is full");
				return;
			}
		}
	} while (virtq_enable_notify(q));
}

static void rng_kicked(struct loop_fd *w, uint32_t events)
{
	struct virtio_rng *r = container_of(w, struct virtio_rng, kick);
	uint64_t count;

	(void)events;
	if (read(w->fd, &count, sizeof(count)) < 0)
		return;
	(void)pthread_mutex_lock(&r->serving);
	if (r->active && !r->held)
		serve(r);
	(void)pthread_mutex_unlock(&r->serving);
}

static void set_active(struct virtio_rng *r, bool active)
{
	(void)pthread_mutex_lock(&r->serving);
	r->active = active;
	(void)pthread_mutex_unlock(&r->serving);
}

static int rng_activate(struct virtio_dev *dev)
{
	set_active(rng_of(dev), true);
	return 0;
}

static void rng_reset(struct virtio_dev *dev)
{
	set_active(rng_of(dev), false);
}

/* 5.4.4: no configuration space. */
static void rng_config_read(struct virtio_dev *dev, uint32_t offset, void *buf, uint32_t len)
{
	(void)dev;
	(void)offset;
	memset(buf, 0, len);
}

static void rng_config_write(struct virtio_dev *dev, uint32_t offset, const void *buf, uint32_t len)
{
	(void)dev;
	(void)offset;
	(void)buf;
	(void)len;
}

static const struct virtio_dev_ops rng_ops = {
	.activate = rng_activate,
	.reset = rng_reset,
	.config_read = rng_config_read,
	.config_write = rng_config_write,
};

int virtio_rng_new(
	struct virtio_rng **ret, const struct gmem *mem, struct loop *loop, struct kerr *e)
{
	struct virtio_rng *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return kerr_errno(e, ENOMEM, "entropy device");
	r->dev.ops = &rng_ops;
	r->dev.device_id = VIRTIO_ID_RNG;
	r->dev.queue_count = 1;
	r->kick = (struct loop_fd){ .fn = rng_kicked, .fd = -1 };
	(void)pthread_mutex_init(&r->serving, NULL);
	err = virtio_dev_init(&r->dev, mem, e);
	if (err < 0)
		goto fail;
	err = loop_fd_add(loop, &r->kick, r->dev.notify[0], EPOLLIN);
	if (err < 0) {
		(void)kerr_errno(e, -err, "entropy device: watching its queue");
		goto fail;
	}
	*ret = r;
	return 0;
fail:
	virtio_rng_free(r);
	return err;
}

void virtio_rng_free(struct virtio_rng *r)
{
	if (!r)
		return;
	loop_fd_del(&r->kick);
	virtio_dev_done(&r->dev);
	(void)pthread_mutex_destroy(&r->serving);
	free(r);
}

void virtio_rng_hold(struct virtio_rng *r, bool held)
{
	uint64_t one = 1;

	r->held = held;
	/* A full counter has been seen to. */
	if (!held)
		(void)!write(r->dev.notify[0], &one, sizeof(one));
}

struct virtio_dev *virtio_rng_dev(struct virtio_rng *r)
{
	return &r->dev;
}
