#include <devices/virtq.h>

#include <endian.h>
#include <errno.h>
#include <string.h>

#include <linux/virtio_ring.h>

/*
 * The rings are shared with vCPUs that run at the same time. The fields
 * both sides write are reached by the atomics below only; each says which
 * of the driver's barriers (2.7.13) it pairs with.
 */

static uint16_t load_relaxed16(const __virtio16 *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

static void store_relaxed16(__virtio16 *p, uint16_t v)
{
	__atomic_store_n(p, htole16(v), __ATOMIC_RELAXED);
}

/* Pairs with the driver's write barrier before it moves avail->idx (2.7.13.3). */
static uint16_t avail_idx(const struct virtq *q)
{
	return le16toh(__atomic_load_n(&q->avail_ring->idx, __ATOMIC_ACQUIRE));
}

/* used_event lies behind the avail ring, avail_event behind the used ring (2.7.6, 2.7.8). */
static const __virtio16 *used_event(const struct virtq *q)
{
	return &q->avail_ring->ring[q->size];
}

static __virtio16 *avail_event(const struct virtq *q)
{
	return (__virtio16 *)(void *)&q->used_ring->ring[q->size];
}

void virtq_init(struct virtq *q, const struct gmem *mem)
{
	*q = (struct virtq){ .mem = mem };
}

void virtq_reset(struct virtq *q)
{
	virtq_init(q, q->mem);
}

int virtq_enable(struct virtq *q, uint16_t size, gpa_t desc, gpa_t avail, gpa_t used,
	bool event_idx, bool indirect)
{
	void *desc_ring, *avail_ring, *used_ring;

	/* 2.7: a power of two; alignment of the three areas 16, 2 and 4. */
	if (!size || size > VIRTQ_MAX_SIZE || (size & (size - 1)))
		return -EINVAL;
	if (desc % 16 || avail % 2 || used % 4)
		return -EINVAL;
	/* With the event fields, whether or not they were negotiated: 2.7 sizes them so. */
	desc_ring = gmem_at(q->mem, desc, 16 * (uint64_t)size);
	avail_ring = gmem_at(q->mem, avail, 6 + 2 * (uint64_t)size);
	used_ring = gmem_at(q->mem, used, 6 + 8 * (uint64_t)size);
	if (!desc_ring || !avail_ring || !used_ring)
		return -EINVAL;

	*q = (struct virtq){
		.mem = q->mem,
		.size = size,
		.ready = true,
		.event_idx = event_idx,
		.indirect = indirect,
		.desc = desc,
		.avail = avail,
		.used = used,
		.signalled_valid = true,
		.desc_ring = desc_ring,
		.avail_ring = avail_ring,
		.used_ring = used_ring,
	};
	return 0;
}

static int mark_broken(struct virtq *q)
{
	q->broken = true;
	return -EPROTO;
}

/* Where a chain is being read from: the ring's own table or an indirect one. */
struct table {
	const uint8_t *desc; /* the guest may give an indirect table any alignment */
	uint32_t count;
};

struct desc {
	gpa_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

/* The one look at a descriptor: what the guest writes later is not seen. */
static struct desc read_desc(const struct table *t, uint16_t i)
{
	struct vring_desc copy;

	memcpy(&copy, t->desc + i * sizeof(copy), sizeof(copy));
	/* Keeps the compiler from going back to guest memory instead of the copy. */
	atomic_signal_fence(memory_order_seq_cst);
	return (struct desc){
		.addr = le64toh(copy.addr),
		.len = le32toh(copy.len),
		.flags = le16toh(copy.flags),
		.next = le16toh(copy.next),
	};
}

/*
 * A segment of zero bytes is legal: the standard bounds a chain from above
 * only (2.7.4). It is left out of the iov and its address, which
 * nobody will use, is not judged; it counts towards the chain's length.
 */
static int add_segment(struct virtq *q, struct virtq_chain *c, const struct desc *d)
{
	bool writable = d->flags & VRING_DESC_F_WRITE;
	uint32_t total;
	void *host;

	/* 2.7.4.2: device-readable elements come first. */
	if (!writable && c->in_count)
		return -EPROTO;
	if (!d->len)
		return 0;
	/* 2.7.5.2: no more than 2^32 bytes in total. */
	if (__builtin_add_overflow(c->out_bytes, c->in_bytes, &total) ||
		__builtin_add_overflow(total, d->len, &total))
		return -EPROTO;
	if (c->out_count + c->in_count >= VIRTQ_MAX_SEGS)
		return -EPROTO;
	host = gmem_at(q->mem, d->addr, d->len);
	if (!host)
		return -EPROTO;

	c->iov[c->out_count + c->in_count] = (struct iovec){ .iov_base = host, .iov_len = d->len };
	if (writable) {
		c->in_count++;
		c->in_bytes += d->len;
	} else {
		c->out_count++;
		c->out_bytes += d->len;
	}
	return 0;
}

/* 2.7.5.3: the table replaces the rest of the chain and is read from its first entry. */
static int enter_indirect(struct virtq *q, const struct desc *d, struct table *t)
{
	const void *host;

	if (!q->indirect || (d->flags & VRING_DESC_F_NEXT))
		return -EPROTO;
	/* An empty table has no first entry: that ends the walk in read_chain. */
	if (d->len % sizeof(struct vring_desc))
		return -EPROTO;
	host = gmem_at(q->mem, d->addr, d->len);
	if (!host)
		return -EPROTO;
	*t = (struct table){ .desc = host, .count = d->len / sizeof(struct vring_desc) };
	return 0;
}

static int read_chain(struct virtq *q, struct virtq_chain *c)
{
	struct table t = { .desc = (const uint8_t *)q->desc_ring, .count = q->size };
	bool nested = false;
	uint16_t i = c->head;
	unsigned n = 0;

	/* At most `size` elements (2.7.5.3.1), which also ends every loop. */
	while (n < q->size && i < t.count) {
		struct desc d = read_desc(&t, i);
		int r;

		/* 2.7.5.3.2: may end a direct chain; its WRITE flag means nothing. */
		if (d.flags & VRING_DESC_F_INDIRECT) {
			r = nested ? -EPROTO : enter_indirect(q, &d, &t);
			if (r < 0)
				return r;
			nested = true;
			i = 0;
			continue;
		}
		r = add_segment(q, c, &d);
		if (r < 0)
			return r;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		i = d.next;
		n++;
	}
	return -EPROTO;
}

int virtq_pop(struct virtq *q, struct virtq_chain *c)
{
	uint16_t pending;
	int r;

	if (q->broken)
		return -EPROTO;
	if (!q->ready)
		return 0;
	pending = (uint16_t)(avail_idx(q) - q->next_avail);
	if (!pending)
		return 0;
	if (pending > q->size)
		return mark_broken(q);

	c->head = load_relaxed16(&q->avail_ring->ring[q->next_avail & (q->size - 1)]);
	c->out_count = c->in_count = 0;
	c->out_bytes = c->in_bytes = 0;
	r = read_chain(q, c); /* which judges head as it does each `next` */
	if (r < 0)
		return mark_broken(q);
	q->next_avail++;
	return 1;
}

void virtq_unpop(struct virtq *q)
{
	q->next_avail--;
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t written)
{
	struct vring_used_elem *elem;

	if (!q->ready || q->broken)
		return;
	elem = &q->used_ring->ring[q->next_used & (q->size - 1)];
	__atomic_store_n(&elem->id, htole32(head), __ATOMIC_RELAXED);
	__atomic_store_n(&elem->len, htole32(written), __ATOMIC_RELAXED);
	q->next_used++;
	/* Pairs with the driver's read barrier after it reads used->idx (2.7.14). */
	__atomic_store_n(&q->used_ring->idx, htole16(q->next_used), __ATOMIC_RELEASE);
	/* After 2^16 pushes the index says nothing about what was signalled. */
	if (q->next_used == q->signalled_used)
		q->signalled_valid = false;
}

bool virtq_should_interrupt(struct virtq *q)
{
	uint16_t old = q->signalled_used;
	bool valid = q->signalled_valid;

	if (!q->ready || q->broken || (valid && old == q->next_used))
		return false;
	q->signalled_used = q->next_used;
	q->signalled_valid = true;
	/*
	 * Our used->idx must be visible before we look whether the driver wants
	 * to hear of it. Pairs with the driver's full barrier between writing
	 * used_event (or flags) and re-reading used->idx (2.7.7, 2.7.10).
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (!q->event_idx)
		return !(load_relaxed16(&q->avail_ring->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	return !valid || vring_need_event(load_relaxed16(used_event(q)), q->next_used, old);
}

bool virtq_enable_notify(struct virtq *q)
{
	if (!q->ready || q->broken)
		return false;
	if (q->event_idx)
		store_relaxed16(avail_event(q), q->next_avail);
	else
		store_relaxed16(&q->used_ring->flags, 0);
	/*
	 * Our wish must be visible before we look for the last time. Pairs with
	 * the driver's full barrier between moving avail->idx and reading
	 * avail_event or flags (2.7.13.4).
	 */
	atomic_thread_fence(memory_order_seq_cst);
	return avail_idx(q) != q->next_avail;
}

void virtq_disable_notify(struct virtq *q)
{
	/* With event indexes a stale avail_event keeps the driver quiet (2.7.10). */
	if (q->ready && !q->broken && !q->event_idx)
		store_relaxed16(&q->used_ring->flags, VRING_USED_F_NO_NOTIFY);
}

/* One walk for both directions: exactly one of `to` and `from` is set. */
static size_t iov_copy(const struct iovec *iov, unsigned count, size_t offset, void *to,
	const void *from, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < len; i++) {
		size_t n = iov[i].iov_len;
		uint8_t *seg = iov[i].iov_base;

		if (offset >= n) {
			offset -= n;
			continue;
		}
		n -= offset;
		if (n > len - done)
			n = len - done;
		if (to)
			memcpy((uint8_t *)to + done, seg + offset, n);
		else
			memcpy(seg + offset, (const uint8_t *)from + done, n);
		offset = 0;
		done += n;
	}
	return done;
}

size_t virtq_iov_read(const struct iovec *iov, unsigned count, size_t offset, void *buf, size_t len)
{
	return iov_copy(iov, count, offset, buf, NULL, len);
}

size_t virtq_iov_write(
	const struct iovec *iov, unsigned count, size_t offset, const void *buf, size_t len)
{
	return iov_copy(iov, count, offset, NULL, buf, len);
}
