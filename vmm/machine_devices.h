#pragma once

#include <base/kerr.h>
#include <base/loop.h>
#include <devices/gmem.h>
#include <devices/serial.h>
#include <devices/virtio_vsock.h>
#include <wire/board.h>
#include <wire/vmm_proto.h>

#include "bus.h"

/*
 * The devices of one machine: the virtio slots of the board and COM1, each
 * with its interrupt and, per queue, its notification wired to KVM.
 */
struct machine_slot {
	enum board_device kind;
	void *device;           /* struct virtio_blk, virtio_vsock or virtio_rng */
	struct virtio_dev *dev; /* the part of it that the transport knows */
};

struct machine_devices {
	unsigned count;
	struct machine_slot slots[BOARD_MAX_SLOTS];
	struct serial *serial;
	int serial_irq;             /* eventfd; owned */
	struct virtio_vsock *vsock; /* one of the slots, or NULL */
	struct throttle *disks;     /* what all disks may move together; owned */
};

struct machine_devices_config {
	int vm_fd;
	struct loop *loop;
	const struct gmem *mem;
	const struct board *board;
	int *fds; /* the board's table; what a device takes over is -1 afterwards */
	const struct virtio_vsock_ops *vsock_ops;
	int (*on_thread)(void *user); /* in each thread of a device, before it serves */
	void *user;                   /* of both */
	struct throttle *disks;       /* filled in by machine_devices_init */
};

/*
 * Builds every device of the board and puts its window on the mmio bus.
 * On failure machine_devices_done cleans up what is there.
 */
int machine_devices_init(struct machine_devices *d, const struct machine_devices_config *cfg,
	struct bus *mmio, struct kerr *e);

/*
 * While they are held, no device touches guest memory. No vCPU runs.
 * The disks' requests in flight are waited for.
 */
void machine_devices_hold(struct machine_devices *d, bool held);

/* From now on, while they work; vsock.ops counts for nothing. */
void machine_devices_limit(
	struct machine_devices *d, const struct rate_limit *disk, const struct rate_limit *vsock);

/* What went through the devices, added up. Fills in what is not the vCPUs'. */
void machine_devices_stats(const struct machine_devices *d, struct vmm_stats *ret);

/* No vCPU runs any more: quiesces, flushes and frees the devices. */
void machine_devices_done(struct machine_devices *d);
