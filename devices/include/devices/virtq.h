#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <devices/gmem.h>

/*
 * A split virtqueue, device side (virtio 1.2, section 2.7), with indirect
 * descriptors (2.7.5.3) and event indexes (2.7.10).
 *
 * Everything in the rings is hostile: each descriptor is copied once and
 * judged as a copy, a chain is bounded in length and bytes, and a ring that
 * breaks the rules marks the queue broken; the owner then sets
 * DEVICE_NEEDS_RESET and nothing is processed until the driver resets.
 *
 * Set-up calls come from the transport under its lock; pop, push and
 * notification calls from the one thread that serves the queue.
 */
#define VIRTQ_MAX_SIZE 256 /* what QueueNumMax says; a power of two */
#define VIRTQ_MAX_SEGS 130 /* segments in a chain: 128 data + header + status */

struct virtq {
	const struct gmem *mem;
	uint16_t size; /* 0 until set up; a power of two <= VIRTQ_MAX_SIZE */
	bool ready;
	bool broken;
	bool event_idx;
	bool indirect;
	gpa_t desc;
	gpa_t avail;
	gpa_t used;
	uint16_t next_avail; /* index of the next available entry to take */
	uint16_t next_used;
	uint16_t signalled_used; /* used index at the last interrupt */
	bool signalled_valid;
	/* Host addresses, valid while ready (ring extents were checked). */
	struct vring_desc *desc_ring;
	struct vring_avail *avail_ring;
	struct vring_used *used_ring;
};

/*
 * A chain taken from the queue: device-readable segments first, then
 * device-writable ones, each checked to lie in guest memory.
 */
struct virtq_chain {
	uint16_t head;
	uint16_t out_count; /* iov[0 .. out_count) is readable */
	uint16_t in_count;  /* iov[out_count .. out_count + in_count) is writable */
	uint32_t out_bytes;
	uint32_t in_bytes;
	struct iovec iov[VIRTQ_MAX_SEGS];
};

void virtq_init(struct virtq *q, const struct gmem *mem);

/* Forgets everything the driver set up. */
void virtq_reset(struct virtq *q);

/*
 * Takes the addresses into use (QueueReady = 1): size, alignment (2.7) and
 * extents are checked. 0 or -EINVAL, then the queue stays not ready.
 */
int virtq_enable(struct virtq *q, uint16_t size, gpa_t desc, gpa_t avail, gpa_t used,
	bool event_idx, bool indirect);

/*
 * Takes the next chain: 1 and *c filled, 0 when there is none, -EPROTO when
 * the ring is malformed (q->broken is set; also returned from then on).
 */
int virtq_pop(struct virtq *q, struct virtq_chain *c);

/* Puts the chain taken last back, so that the next pop returns it again. */
void virtq_unpop(struct virtq *q);

/* Returns a chain; `written` is how many bytes of its in segments were filled. */
void virtq_push(struct virtq *q, uint16_t head, uint32_t written);

/* After pushes: true when the driver wants an interrupt (2.7.7, 2.7.10). */
bool virtq_should_interrupt(struct virtq *q);

/*
 * Asks the driver for notifications and says whether chains arrived in the
 * meantime (then pop again): the closing step of each service loop.
 */
bool virtq_enable_notify(struct virtq *q);
void virtq_disable_notify(struct virtq *q);

/* Scatter and gather over a part of a chain; returns bytes copied. */
size_t virtq_iov_read(
	const struct iovec *iov, unsigned count, size_t offset, void *buf, size_t len);
size_t virtq_iov_write(
	const struct iovec *iov, unsigned count, size_t offset, const void *buf, size_t len);
