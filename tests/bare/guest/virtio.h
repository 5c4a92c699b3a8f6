#pragma once

#include "guest.h"

/* A driver of a few lines: one queue at a time, polled, no interrupts (virtio 1.2, 4.2). */
#define VIRTIO_SLOT(n)   (0xd0000000ULL + (n)*0x1000)
#define VIRTIO_MAGIC     0x74726976u
#define VIRTIO_VERSION   0x004
#define VIRTIO_DEVICE_ID 0x008
#define VIRTIO_STATUS    0x070
#define VIRTIO_CONFIG    0x100
#define VIRTIO_NOTIFY    0x050

#define RING_SIZE 8

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct ring {
	struct desc desc[RING_SIZE] __attribute__((aligned(16)));
	volatile uint16_t avail_flags;
	volatile uint16_t avail_idx;
	volatile uint16_t avail[RING_SIZE];
	volatile uint16_t used_event;
	volatile uint16_t used_flags __attribute__((aligned(4)));
	volatile uint16_t used_idx;
	volatile struct {
		uint32_t id;
		uint32_t len;
	} used[RING_SIZE];
	volatile uint16_t avail_event;
	uint64_t base; /* of the slot */
	uint16_t index;
	uint16_t seen; /* used index taken last */
};

#define DESC_NEXT  1
#define DESC_WRITE 2

/* Reset, ACKNOWLEDGE, DRIVER, VERSION_1 and these of the first 32 features, FEATURES_OK. */
void virtio_begin_with(uint64_t base, uint32_t features);
void virtio_begin(uint64_t base); /* with none of them */
void virtio_set_queue(struct ring *r, uint64_t base, uint16_t index);
void virtio_go(uint64_t base); /* DRIVER_OK */

/* Makes the chain that starts at `head` available and kicks. */
void ring_submit(struct ring *r, uint16_t head);

/* Waits for the next used entry: its length; *ret_id its head. */
uint32_t ring_wait(struct ring *r, uint32_t *ret_id);
