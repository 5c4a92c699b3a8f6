#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <base/log.h>
#include <base/loop.h>
#include <devices/gmem.h>
#include <devices/virtq.h>

/*
 * The part every virtio device shares: feature negotiation, status and
 * queues, presented through virtio-mmio, modern only (virtio 1.2, 4.2.2).
 *
 * A device (blk, vsock, rng) embeds struct virtio_dev and fills in ops
 * before virtio_dev_init. Registers are read and written by vCPU threads
 * (virtio_mmio_read/write take the lock); queues are served by the
 * device's own thread (the loop or a worker) when the queue's notify
 * eventfd fires. The transport never calls `notify` from a vCPU thread
 * for real work: a register write to QueueNotify that was not taken by an
 * ioeventfd writes the same eventfd.
 */
#define VIRTIO_MAX_QUEUES  4
#define VIRTIO_MMIO_SIZE   0x1000u
#define VIRTIO_MMIO_NOTIFY 0x50u /* offset of QueueNotify: the ioeventfd address */

struct virtio_dev;

struct virtio_dev_ops {
	/*
	 * DRIVER_OK was set: features (dev->features) and queues are final.
	 * Vcpu thread, dev->lock held. 0, or -errno: NEEDS_RESET is set.
	 */
	int (*activate)(struct virtio_dev *dev);
	/*
	 * Status 0 was written or the VM ends, and activate had succeeded: when
	 * it returns, no thread of the device touches a queue. Dev->lock held, and the serving
	 * thread may be in the middle of a request: it must not take dev->lock while it holds what
	 * reset waits for.
	 */
	void (*reset)(struct virtio_dev *dev);
	/* Device configuration space; out of range reads give 0, writes are dropped. */
	void (*config_read)(struct virtio_dev *dev, uint32_t offset, void *buf, uint32_t len);
	void (*config_write)(
		struct virtio_dev *dev, uint32_t offset, const void *buf, uint32_t len);
};

struct virtio_dev {
	const struct virtio_dev_ops *ops;
	uint32_t device_id; /* virtio 1.2, section 5 */
	uint64_t offered;   /* feature bits; init adds VERSION_1, INDIRECT_DESC and EVENT_IDX */
	unsigned queue_count;
	const struct gmem *mem;

	/* Owned by the transport. */
	pthread_mutex_t lock;
	uint64_t features;       /* what the driver accepted */
	_Atomic uint32_t status; /* bits are only ever added, but for a reset */
	uint32_t device_features_sel;
	uint32_t driver_features_sel;
	uint64_t driver_features;
	bool driver_features_bad; /* a bit beyond 63 was accepted */
	uint32_t queue_sel;
	_Atomic uint32_t config_generation;
	bool activated; /* between a successful activate and reset */
	_Atomic uint32_t interrupt_status;
	struct virtio_queue_setup {
		uint32_t num;
		gpa_t desc, driver, device;
	} setup[VIRTIO_MAX_QUEUES];
	struct virtq queues[VIRTIO_MAX_QUEUES];
	/*
	 * eventfds owned by the device, made by init: notify[i] is written by
	 * the guest's kick (ioeventfd), irq by the device (irqfd or, without
	 * KVM, a test).
	 */
	int notify[VIRTIO_MAX_QUEUES];
	int irq;
	struct log_limit fail_log; /* serving thread */
};

/* ops, device_id, offered, queue_count are set by the caller. */
int virtio_dev_init(struct virtio_dev *dev, const struct gmem *mem, struct kerr *e);

/* Quiesces (ops->reset) and closes the eventfds. NULL-safe parts as after a failed init. */
void virtio_dev_done(struct virtio_dev *dev);

/*
 * A guest access to the register window: offset < VIRTIO_MMIO_SIZE, any
 * width 1, 2, 4 or 8 (odd ones read 0 and are dropped; 4.2.2.2). Vcpu threads.
 */
void virtio_mmio_read(struct virtio_dev *dev, uint64_t offset, void *buf, uint32_t len);
void virtio_mmio_write(struct virtio_dev *dev, uint64_t offset, const void *buf, uint32_t len);

/* Serving thread: after pushes; raises the interrupt if the driver wants one. */
void virtio_dev_signal_used(struct virtio_dev *dev, struct virtq *q);

/* Any thread: a configuration change interrupt. */
void virtio_dev_signal_config(struct virtio_dev *dev);

/*
 * Serving thread: a queue is broken, or the guest broke the protocol in
 * another way: sets DEVICE_NEEDS_RESET (2.1.2) and tells the driver.
 * Does not take dev->lock.
 */
void virtio_dev_fail(struct virtio_dev *dev, const char *why);
