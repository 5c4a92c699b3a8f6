#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_ring.h>

#include <devices/virtio.h>

/*
 * The driver's side of a split virtqueue and of virtio-mmio, for tests of
 * devices without KVM or a guest. Its own mistakes end the program by
 * assert; what a hostile driver does is made by the raw calls.
 */

/* Guest memory: one region at MOCK_BASE, page-aligned, zeroed, handed out from below. */
#define MOCK_BASE 0x10000u

struct mock_mem {
	struct gmem gmem;
	uint8_t *host;
	size_t len;
	gpa_t next;
};

void mock_mem_init(struct mock_mem *m, size_t len);
void mock_mem_done(struct mock_mem *m);
gpa_t mock_alloc(struct mock_mem *m, size_t len, size_t align);
void *mock_ptr(const struct mock_mem *m, gpa_t gpa, size_t len);
/* Memory with the given content. */
gpa_t mock_put(struct mock_mem *m, const void *data, size_t len);

struct mock_ring {
	struct mock_mem *mem;
	uint16_t size;
	gpa_t desc_gpa, avail_gpa, used_gpa;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t next_desc; /* descriptors are taken round and round */
	uint16_t last_used;
	uint16_t kicked; /* avail index at the last kick, for should_kick */
};

struct mock_seg {
	gpa_t addr;
	uint32_t len;
	bool write;
};

/* Allocates the three areas; size is a power of two. */
void mock_ring_init(struct mock_ring *r, struct mock_mem *m, uint16_t size);

/* Forgets what was in flight, as a driver does after a device reset. */
void mock_ring_clear(struct mock_ring *r);

/* Publishes a well-formed chain; returns its head. The caller keeps within the ring's size. */
uint16_t mock_ring_add(struct mock_ring *r, const struct mock_seg *segs, unsigned count);
uint16_t mock_ring_add_indirect(struct mock_ring *r, const struct mock_seg *segs, unsigned count);

/* Raw: one descriptor; one entry of the avail ring, published. Nothing is checked. */
void mock_ring_desc(
	struct mock_ring *r, uint16_t i, gpa_t addr, uint32_t len, uint16_t flags, uint16_t next);
void mock_ring_publish(struct mock_ring *r, uint16_t head);

/* Takes the next used element; false when there is none. */
bool mock_ring_used(struct mock_ring *r, uint32_t *ret_id, uint32_t *ret_len);

/* Does the device want to hear of what was published since the last call? (2.7.10) */
bool mock_ring_should_kick(struct mock_ring *r, bool event_idx);
/* The driver's wish for the next interrupt: used_event (2.7.8). */
void mock_ring_set_used_event(struct mock_ring *r, uint16_t index);
uint16_t mock_ring_avail_event(const struct mock_ring *r);

/* Registers (4.2.2), 32 bits. */
uint32_t mock_reg_read(struct virtio_dev *dev, uint32_t offset);
void mock_reg_write(struct virtio_dev *dev, uint32_t offset, uint32_t value);

/* Reset up to FEATURES_OK, accepting offered & want | VERSION_1; false when refused. */
bool mock_driver_negotiate(struct virtio_dev *dev, uint64_t want);
/* Sets a queue up; true when QueueReady reads 1. */
bool mock_driver_queue(struct virtio_dev *dev, uint32_t index, const struct mock_ring *r);
/* DRIVER_OK; true when the status says so and needs no reset. */
bool mock_driver_ok(struct virtio_dev *dev);
void mock_driver_reset(struct virtio_dev *dev);
void mock_driver_kick(struct virtio_dev *dev, uint32_t index);
/* Waits for the interrupt's eventfd and clears it; false after timeout_ms. */
bool mock_driver_wait_irq(struct virtio_dev *dev, int timeout_ms);
/* Waits until the ring has a used element and takes it; false after timeout_ms. */
bool mock_driver_wait_used(
	struct mock_ring *r, int timeout_ms, uint32_t *ret_id, uint32_t *ret_len);
