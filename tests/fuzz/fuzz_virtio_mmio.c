/*
 * Any sequence of register accesses, with service of the queues and the
 * device's own events in between, on guest memory of any content.
 *
 * Input: struct step repeated; guest memory is the whole input.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "mock_ring.h"

#define MEMORY 0x8000u
#define STEPS  256u

struct step {
	uint8_t kind;
	uint8_t width;
	uint16_t offset;
	uint64_t value;
} __attribute__((packed));

enum kind { KIND_READ, KIND_WRITE, KIND_REGISTER, KIND_BRING_UP, KIND_SERVE, KIND_EVENT, KINDS };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct mock_mem mem;
static bool active;
static unsigned fail_activation;

static void must(bool ok)
{
	if (!ok)
		abort();
}

static int on_activate(struct virtio_dev *dev)
{
	must(!active && !dev->activated);
	must(dev->status & VIRTIO_CONFIG_S_FEATURES_OK);
	must(!(dev->features & ~dev->offered));
	must(dev->features & UINT64_C(1) << VIRTIO_F_VERSION_1);
	if (fail_activation)
		return -EIO;
	active = true;
	return 0;
}

static void on_reset(struct virtio_dev *dev)
{
	must(active && dev->activated);
	active = false;
}

static void on_config_read(struct virtio_dev *dev, uint32_t offset, void *buf, uint32_t len)
{
	(void)dev;
	must(offset < VIRTIO_MMIO_SIZE - VIRTIO_MMIO_CONFIG && len <= 8);
	memset(buf, 0x5a, len);
}

static void on_config_write(struct virtio_dev *dev, uint32_t offset, const void *buf, uint32_t len)
{
	uint8_t copy[8];

	(void)dev;
	must(offset < VIRTIO_MMIO_SIZE - VIRTIO_MMIO_CONFIG && len <= sizeof(copy));
	memcpy(copy, buf, len);
}

static const struct virtio_dev_ops ops = {
	.activate = on_activate,
	.reset = on_reset,
	.config_read = on_config_read,
	.config_write = on_config_write,
};

static void check_state(const struct virtio_dev *dev)
{
	must(active == dev->activated);
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
		const struct virtq *q = &dev->queues[i];

		if (!q->ready)
			continue;
		must(i < dev->queue_count);
		must(dev->status & VIRTIO_CONFIG_S_FEATURES_OK);
		must(q->size && q->size <= VIRTQ_MAX_SIZE && !(q->size & (q->size - 1)));
		must(gmem_at(dev->mem, q->desc, 16ull * q->size) == (void *)q->desc_ring);
		must(gmem_at(dev->mem, q->used, 6 + 8ull * q->size) == (void *)q->used_ring);
	}
}

/* What a device's thread does: only while it is active. */
static void serve(struct virtio_dev *dev)
{
	for (unsigned i = 0; active && i < dev->queue_count; i++) {
		struct virtq *q = &dev->queues[i];
		struct virtq_chain c;
		int r;

		while ((r = virtq_pop(q, &c)) == 1) {
			virtq_push(q, c.head, c.in_bytes);
			virtio_dev_signal_used(dev, q);
			if (dev->queues[i].next_used > 64)
				break;
		}
		if (r < 0)
			virtio_dev_fail(dev, "fuzz");
		else
			(void)virtq_enable_notify(q);
	}
}

static void access_window(struct virtio_dev *dev, const struct step *s)
{
	uint32_t width = s->width % 9;
	uint8_t buf[16];

	memset(buf, 0xa5, sizeof(buf));
	if (s->kind % KINDS == KIND_READ) {
		virtio_mmio_read(dev, s->offset, buf, width);
		for (uint32_t i = width; i < sizeof(buf); i++)
			must(buf[i] == 0xa5);
	} else {
		memcpy(buf, &s->value, sizeof(s->value));
		virtio_mmio_write(dev, s->offset, buf, width);
	}
}

static void bring_up(struct virtio_dev *dev, const struct step *s)
{
	static const uint32_t regs[] = { VIRTIO_MMIO_QUEUE_NUM, VIRTIO_MMIO_QUEUE_DESC_LOW,
		VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_MMIO_QUEUE_USED_LOW };
	const uint32_t values[] = { 1u << s->width % 10, MOCK_BASE + (s->offset & 0x7fff),
		MOCK_BASE + (uint32_t)(s->value & 0x7fff),
		MOCK_BASE + (uint32_t)(s->value >> 16 & 0x7fff) };

	(void)mock_driver_negotiate(dev, s->value >> 32);
	for (unsigned i = 0; i < 4; i++)
		mock_reg_write(dev, regs[i], values[i]);
	mock_reg_write(dev, VIRTIO_MMIO_QUEUE_READY, 1);
	(void)mock_driver_ok(dev);
}

static void run_step(struct virtio_dev *dev, const struct step *s)
{
	switch (s->kind % KINDS) {
	case KIND_READ:
	case KIND_WRITE:
		access_window(dev, s);
		break;
	case KIND_REGISTER:
		mock_reg_write(dev, s->offset & 0xfc, (uint32_t)s->value);
		break;
	case KIND_BRING_UP:
		bring_up(dev, s);
		break;
	case KIND_SERVE:
		serve(dev);
		break;
	case KIND_EVENT:
		fail_activation = s->width & 2;
		if (s->width & 1)
			virtio_dev_signal_config(dev);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct virtio_dev dev = { .ops = &ops, .device_id = 1, .offered = 0xff, .queue_count = 2 };
	struct step s;

	if (!mem.host)
		mock_mem_init(&mem, MEMORY);
	memset(mem.host, 0, MEMORY);
	memcpy(mem.host, data, len < MEMORY ? len : MEMORY);
	active = false;
	fail_activation = 0;
	must(virtio_dev_init(&dev, &mem.gmem, NULL) == 0);
	for (unsigned i = 0; i < STEPS && len >= sizeof(s); i++) {
		memcpy(&s, data, sizeof(s));
		data += sizeof(s);
		len -= sizeof(s);
		run_step(&dev, &s);
		check_state(&dev);
	}
	virtio_dev_done(&dev);
	must(!active);
	return 0;
}
