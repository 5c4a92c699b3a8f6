#pragma once

#include <devices/virtio.h>

/*
 * Entropy device (virtio 1.2, 5.4): fills buffers from getrandom(2), at
 * most 4 KiB each. Served on the loop's thread.
 */
struct virtio_rng;

int virtio_rng_new(
	struct virtio_rng **ret, const struct gmem *mem, struct loop *loop, struct kerr *e);
void virtio_rng_free(struct virtio_rng *r);
struct virtio_dev *virtio_rng_dev(struct virtio_rng *r);

/* While it is held, requests stay where they are. Loop thread. */
void virtio_rng_hold(struct virtio_rng *r, bool held);
