/*
 * The virtqueue against any content of guest memory, any placement of the
 * rings, and a guest that writes between two steps of the device.
 *
 * Input: struct plan, then the image of guest memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_ring.h>

#include <devices/virtq.h>

#define LOW_BASE  0x1000u
#define LOW_LEN   0x4000u
#define HIGH_BASE (LOW_BASE + LOW_LEN) /* touching: a segment may not span both */
#define HIGH_LEN  0x1000u
#define STEPS     600u

struct plan {
	uint16_t size;
	uint16_t desc, avail, used;
	uint8_t flags;
	uint8_t stride;
} __attribute__((packed));

enum { PLAN_EVENT_IDX = 1, PLAN_INDIRECT = 2, PLAN_PLACED = 4, PLAN_WRITES = 8, PLAN_UNPOP = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static bool within(const struct gmem *m, const struct iovec *v)
{
	const uint8_t *p = v->iov_base;

	for (unsigned i = 0; i < m->count; i++) {
		const struct gmem_region *r = &m->regions[i];

		if (p >= r->host && v->iov_len <= r->len &&
			(size_t)(p - r->host) <= r->len - v->iov_len)
			return true;
	}
	return false;
}

static void check_chain(const struct gmem *m, const struct virtq *q, const struct virtq_chain *c)
{
	uint64_t out = 0, in = 0;

	must(c->head < q->size);
	must(c->out_count + c->in_count <= VIRTQ_MAX_SEGS);
	must(c->out_count + c->in_count <= q->size);
	for (unsigned i = 0; i < c->out_count + c->in_count; i++) {
		must(c->iov[i].iov_len > 0);
		must(within(m, &c->iov[i]));
		*(i < c->out_count ? &out : &in) += c->iov[i].iov_len;
	}
	must(out == c->out_bytes && in == c->in_bytes);
}

static void serve(const struct gmem *m, struct virtq *q, const struct plan *p, uint8_t *low,
	const uint8_t *data, size_t len)
{
	struct virtq_chain c;

	for (unsigned step = 0; step < STEPS; step++) {
		int r;

		virtq_disable_notify(q);
		r = virtq_pop(q, &c);
		must(r == 1 || r == 0 || r == -EPROTO);
		must((r == -EPROTO) == q->broken);
		if (r < 0 || (!r && !virtq_enable_notify(q)))
			break;
		if (r) {
			check_chain(m, q, &c);
			if ((p->flags & PLAN_UNPOP) && step % 7 == 3)
				virtq_unpop(q);
			else
				virtq_push(q, c.head, c.in_bytes);
			(void)virtq_should_interrupt(q);
		}
		/* The guest goes on writing. */
		if ((p->flags & PLAN_WRITES) && len)
			low[(step * (p->stride + 1u)) % LOW_LEN] = data[step % len];
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct gmem m = { 0 };
	struct plan p;
	struct virtq q;
	uint8_t *low, *high;
	gpa_t desc, avail, used;
	size_t n;
	int r;

	if (len < sizeof(p))
		return 0;
	memcpy(&p, data, sizeof(p));
	data += sizeof(p);
	len -= sizeof(p);
	/* Of the heap, exactly as long: the sanitizer sees each byte beyond. */
	low = aligned_alloc(4096, LOW_LEN);
	high = aligned_alloc(4096, HIGH_LEN);
	must(low && high);
	memset(low, 0, LOW_LEN);
	memset(high, 0xff, HIGH_LEN);
	n = len < LOW_LEN ? len : LOW_LEN;
	memcpy(low, data, n);
	must(gmem_add(&m, LOW_BASE, low, LOW_LEN) == 0);
	must(gmem_add(&m, HIGH_BASE, high, HIGH_LEN) == 0);

	desc = p.desc;
	avail = p.avail;
	used = p.used;
	if (p.flags & PLAN_PLACED) {
		/* At the front of the image, where mutations find them. */
		p.size = (uint16_t)(1u << p.size % 9);
		desc = LOW_BASE;
		avail = desc + 16u * p.size;
		used = LOW_BASE + LOW_LEN - 0x1000;
	}
	virtq_init(&q, &m);
	r = virtq_enable(
		&q, p.size, desc, avail, used, p.flags & PLAN_EVENT_IDX, p.flags & PLAN_INDIRECT);
	must(r == 0 || r == -EINVAL);
	must(q.ready == (r == 0));
	serve(&m, &q, &p, low, data, len);
	virtq_reset(&q);
	must(!q.ready && !q.broken);
	free(low);
	free(high);
	return 0;
}
