#include "mock_ring.h"

#include <endian.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include <base/clock.h>

/* An assert whose expression is evaluated in every kind of build. */
static void must(bool ok)
{
	if (!ok)
		abort();
}

void mock_mem_init(struct mock_mem *m, size_t len)
{
	void *host = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(host != MAP_FAILED);
	*m = (struct mock_mem){ .host = host, .len = len, .next = MOCK_BASE };
	must(gmem_add(&m->gmem, MOCK_BASE, host, len) == 0);
}

void mock_mem_done(struct mock_mem *m)
{
	if (m->host)
		(void)munmap(m->host, m->len);
	*m = (struct mock_mem){ 0 };
}

gpa_t mock_alloc(struct mock_mem *m, size_t len, size_t align)
{
	gpa_t at = (m->next + align - 1) / align * align;

	must(at + len <= MOCK_BASE + m->len);
	m->next = at + len;
	return at;
}

void *mock_ptr(const struct mock_mem *m, gpa_t gpa, size_t len)
{
	void *p = gmem_at(&m->gmem, gpa, len);

	must(p != NULL);
	return p;
}

gpa_t mock_put(struct mock_mem *m, const void *data, size_t len)
{
	gpa_t at = mock_alloc(m, len, 16);

	memcpy(mock_ptr(m, at, len), data, len);
	return at;
}

void mock_ring_init(struct mock_ring *r, struct mock_mem *m, uint16_t size)
{
	*r = (struct mock_ring){ .mem = m, .size = size };
	r->desc_gpa = mock_alloc(m, 16u * size, 16);
	r->avail_gpa = mock_alloc(m, 6u + 2u * size, 2);
	r->used_gpa = mock_alloc(m, 6u + 8u * size, 4);
	r->desc = mock_ptr(m, r->desc_gpa, 16u * size);
	r->avail = mock_ptr(m, r->avail_gpa, 6u + 2u * size);
	r->used = mock_ptr(m, r->used_gpa, 6u + 8u * size);
}

void mock_ring_clear(struct mock_ring *r)
{
	memset(r->desc, 0, 16u * r->size);
	memset(r->avail, 0, 6u + 2u * r->size);
	memset(r->used, 0, 6u + 8u * r->size);
	r->next_desc = r->last_used = r->kicked = 0;
}

static void fill_desc(struct vring_desc *d, gpa_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	d->addr = htole64(addr);
	d->len = htole32(len);
	d->flags = htole16(flags);
	d->next = htole16(next);
}

void mock_ring_desc(
	struct mock_ring *r, uint16_t i, gpa_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	fill_desc(&r->desc[i], addr, len, flags, next);
}

void mock_ring_publish(struct mock_ring *r, uint16_t head)
{
	uint16_t idx = le16toh(r->avail->idx);

	__atomic_store_n(&r->avail->ring[idx % r->size], htole16(head), __ATOMIC_RELAXED);
	/* Pairs with the acquire of the device's virtq_pop. */
	__atomic_store_n(&r->avail->idx, htole16((uint16_t)(idx + 1)), __ATOMIC_RELEASE);
}

static uint16_t seg_flags(const struct mock_seg *s, bool last)
{
	return (uint16_t)((s->write ? VRING_DESC_F_WRITE : 0) | (last ? 0 : VRING_DESC_F_NEXT));
}

uint16_t mock_ring_add(struct mock_ring *r, const struct mock_seg *segs, unsigned count)
{
	uint16_t head = r->next_desc;

	must(count && count <= r->size);
	for (unsigned i = 0; i < count; i++) {
		uint16_t at = r->next_desc;

		r->next_desc = (uint16_t)((at + 1) % r->size);
		fill_desc(&r->desc[at], segs[i].addr, segs[i].len,
			seg_flags(&segs[i], i + 1 == count), r->next_desc);
	}
	mock_ring_publish(r, head);
	return head;
}

uint16_t mock_ring_add_indirect(struct mock_ring *r, const struct mock_seg *segs, unsigned count)
{
	gpa_t table = mock_alloc(r->mem, count * sizeof(struct vring_desc), 16);
	struct vring_desc *d = mock_ptr(r->mem, table, count * sizeof(*d));
	uint16_t head = r->next_desc;

	must(count);
	for (unsigned i = 0; i < count; i++)
		fill_desc(&d[i], segs[i].addr, segs[i].len, seg_flags(&segs[i], i + 1 == count),
			(uint16_t)(i + 1));
	mock_ring_desc(r, head, table, (uint32_t)(count * sizeof(*d)), VRING_DESC_F_INDIRECT, 0);
	r->next_desc = (uint16_t)((head + 1) % r->size);
	mock_ring_publish(r, head);
	return head;
}

bool mock_ring_used(struct mock_ring *r, uint32_t *ret_id, uint32_t *ret_len)
{
	/* Pairs with the release of virtq_push. */
	uint16_t idx = le16toh(__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE));
	const struct vring_used_elem *e = &r->used->ring[r->last_used % r->size];

	if (idx == r->last_used)
		return false;
	if (ret_id)
		*ret_id = le32toh(__atomic_load_n(&e->id, __ATOMIC_RELAXED));
	if (ret_len)
		*ret_len = le32toh(__atomic_load_n(&e->len, __ATOMIC_RELAXED));
	r->last_used++;
	return true;
}

uint16_t mock_ring_avail_event(const struct mock_ring *r)
{
	const __virtio16 *p = (const __virtio16 *)(const void *)&r->used->ring[r->size];

	return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

void mock_ring_set_used_event(struct mock_ring *r, uint16_t index)
{
	__atomic_store_n(&r->avail->ring[r->size], htole16(index), __ATOMIC_RELAXED);
}

bool mock_ring_should_kick(struct mock_ring *r, bool event_idx)
{
	uint16_t old = r->kicked;
	uint16_t idx = le16toh(r->avail->idx);

	r->kicked = idx;
	/* Pairs with the fence in virtq_enable_notify. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (event_idx)
		return vring_need_event(mock_ring_avail_event(r), idx, old);
	return !(le16toh(__atomic_load_n(&r->used->flags, __ATOMIC_RELAXED)) &
		VRING_USED_F_NO_NOTIFY);
}

uint32_t mock_reg_read(struct virtio_dev *dev, uint32_t offset)
{
	uint32_t value;

	virtio_mmio_read(dev, offset, &value, sizeof(value));
	return le32toh(value);
}

void mock_reg_write(struct virtio_dev *dev, uint32_t offset, uint32_t value)
{
	value = htole32(value);
	virtio_mmio_write(dev, offset, &value, sizeof(value));
}

void mock_driver_reset(struct virtio_dev *dev)
{
	mock_reg_write(dev, VIRTIO_MMIO_STATUS, 0);
}

bool mock_driver_negotiate(struct virtio_dev *dev, uint64_t want)
{
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE;
	uint64_t offered;

	mock_driver_reset(dev);
	mock_reg_write(dev, VIRTIO_MMIO_STATUS, status);
	status |= VIRTIO_CONFIG_S_DRIVER;
	mock_reg_write(dev, VIRTIO_MMIO_STATUS, status);
	mock_reg_write(dev, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	offered = (uint64_t)mock_reg_read(dev, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	mock_reg_write(dev, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	offered |= mock_reg_read(dev, VIRTIO_MMIO_DEVICE_FEATURES);
	offered &= want | UINT64_C(1) << VIRTIO_F_VERSION_1;
	for (uint32_t half = 0; half < 2; half++) {
		mock_reg_write(dev, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
		mock_reg_write(
			dev, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(offered >> (32 * half)));
	}
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	mock_reg_write(dev, VIRTIO_MMIO_STATUS, status);
	return mock_reg_read(dev, VIRTIO_MMIO_STATUS) == status;
}

bool mock_driver_queue(struct virtio_dev *dev, uint32_t index, const struct mock_ring *r)
{
	mock_reg_write(dev, VIRTIO_MMIO_QUEUE_SEL, index);
	mock_reg_write(dev, VIRTIO_MMIO_QUEUE_NUM, r->size);
	mock_reg_write(dev, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)r->desc_gpa);
	mock_reg_write(dev, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(r->desc_gpa >> 32));
	mock_reg_write(dev, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)r->avail_gpa);
	mock_reg_write(dev, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(r->avail_gpa >> 32));
	mock_reg_write(dev, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)r->used_gpa);
	mock_reg_write(dev, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(r->used_gpa >> 32));
	mock_reg_write(dev, VIRTIO_MMIO_QUEUE_READY, 1);
	return mock_reg_read(dev, VIRTIO_MMIO_QUEUE_READY) == 1;
}

bool mock_driver_ok(struct virtio_dev *dev)
{
	uint32_t status = mock_reg_read(dev, VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK;

	mock_reg_write(dev, VIRTIO_MMIO_STATUS, status);
	return mock_reg_read(dev, VIRTIO_MMIO_STATUS) == status;
}

void mock_driver_kick(struct virtio_dev *dev, uint32_t index)
{
	mock_reg_write(dev, VIRTIO_MMIO_QUEUE_NOTIFY, index);
}

bool mock_driver_wait_irq(struct virtio_dev *dev, int timeout_ms)
{
	struct pollfd p = { .fd = dev->irq, .events = POLLIN };
	uint64_t count;

	return poll(&p, 1, timeout_ms) == 1 && read(dev->irq, &count, sizeof(count)) > 0;
}

bool mock_driver_wait_used(struct mock_ring *r, int timeout_ms, uint32_t *ret_id, uint32_t *ret_len)
{
	uint64_t end = clock_mono_ns() + (uint64_t)timeout_ms * CLOCK_NS_PER_MS;

	while (!mock_ring_used(r, ret_id, ret_len)) {
		const struct timespec pause = { .tv_nsec = 200000 };

		if (clock_mono_ns() > end)
			return false;
		(void)nanosleep(&pause, NULL);
	}
	return true;
}
