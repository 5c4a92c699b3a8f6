#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include <devices/virtq.h>

#include "blk_disk.h"

/*
 * One block request (virtio 1.2, 5.2.6) and the numbers the driver is told
 * about requests (5.2.4). Parted from virtio_blk.c, which knows threads
 * and queues; here is what a request means.
 *
 * (<linux/virtio_blk.h> has a struct of the same name as ours in
 * <devices/virtio_blk.h>: no file can include both.)
 */
#define BLK_SECTOR      512u
#define BLK_ID_BYTES    20
#define BLK_CONFIG_SIZE 60

/* Feature bits to offer (5.2.3). */
uint64_t blk_features(bool read_only);

/* The configuration space, little-endian (5.2.4). */
void blk_config_fill(uint8_t config[static BLK_CONFIG_SIZE], const struct blk_disk *d);

struct blk_counters {
	_Atomic uint64_t read_bytes, written_bytes, read_ops, write_ops, flushes, errors;
};

struct blk_context {
	struct blk_disk disk;
	char id[BLK_ID_BYTES];
	uint64_t features; /* negotiated */
	struct blk_counters counters;
};

/*
 * Carries the request out and writes its status byte; *ret_written is for
 * virtq_push. 0, or -EPROTO when the chain has no room for header or
 * status, or -ECANCELED when it was abandoned by a reset: then nothing may
 * be pushed. The chain's iov is used up.
 */
int blk_request_run(struct blk_context *b, struct virtq_chain *c, uint32_t *ret_written);
