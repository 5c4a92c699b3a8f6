#include "virtio.h"

#define REG_DRIVER_FEATURES     0x020
#define REG_DRIVER_FEATURES_SEL 0x024
#define REG_QUEUE_SEL           0x030
#define REG_QUEUE_NUM           0x038
#define REG_QUEUE_READY         0x044
#define REG_QUEUE_DESC          0x080
#define REG_QUEUE_DRIVER        0x090
#define REG_QUEUE_DEVICE        0x0a0

void virtio_begin_with(uint64_t base, uint32_t features)
{
	mmio_write32(base + VIRTIO_STATUS, 0);
	mmio_write32(base + VIRTIO_STATUS, 1);
	mmio_write32(base + VIRTIO_STATUS, 3);
	mmio_write32(base + REG_DRIVER_FEATURES_SEL, 0);
	mmio_write32(base + REG_DRIVER_FEATURES, features);
	mmio_write32(base + REG_DRIVER_FEATURES_SEL, 1);
	mmio_write32(base + REG_DRIVER_FEATURES, 1);
	mmio_write32(base + VIRTIO_STATUS, 11);
	expect(mmio_read32(base + VIRTIO_STATUS) == 11, "status",
		mmio_read32(base + VIRTIO_STATUS));
}

void virtio_begin(uint64_t base)
{
	virtio_begin_with(base, 0);
}

static void write_address(uint64_t reg, const volatile void *at)
{
	mmio_write32(reg, (uint32_t)(uint64_t)at);
	mmio_write32(reg + 4, (uint32_t)((uint64_t)at >> 32));
}

void virtio_set_queue(struct ring *r, uint64_t base, uint16_t index)
{
	r->base = base;
	r->index = index;
	mmio_write32(base + REG_QUEUE_SEL, index);
	mmio_write32(base + REG_QUEUE_NUM, RING_SIZE);
	write_address(base + REG_QUEUE_DESC, r->desc);
	write_address(base + REG_QUEUE_DRIVER, &r->avail_flags);
	write_address(base + REG_QUEUE_DEVICE, &r->used_flags);
	mmio_write32(base + REG_QUEUE_READY, 1);
	expect(mmio_read32(base + REG_QUEUE_READY) == 1, "queue ready", index);
}

void virtio_go(uint64_t base)
{
	mmio_write32(base + VIRTIO_STATUS, 15);
	expect(mmio_read32(base + VIRTIO_STATUS) == 15, "driver ok",
		mmio_read32(base + VIRTIO_STATUS));
}

void ring_submit(struct ring *r, uint16_t head)
{
	r->avail[r->avail_idx % RING_SIZE] = head;
	__asm__ volatile("" : : : "memory");
	r->avail_idx++;
	/* A locked operation orders the index before the kick on every x86. */
	__asm__ volatile("lock; orl $0, (%%rsp)" : : : "memory");
	mmio_write32(r->base + VIRTIO_NOTIFY, r->index);
}

uint32_t ring_wait(struct ring *r, uint32_t *ret_id)
{
	uint16_t at = r->seen % RING_SIZE;

	while (r->used_idx == r->seen)
		__asm__ volatile("pause" : : : "memory");
	r->seen++;
	if (ret_id)
		*ret_id = r->used[at].id;
	return r->used[at].len;
}
