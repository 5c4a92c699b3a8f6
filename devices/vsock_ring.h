#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * What a host socket did not take yet: a byte queue that owns memory only
 * while it holds bytes. It grows with need, up to the bound given at each
 * put (the credit the guest was offered).
 */
struct vsock_ring {
	uint8_t *data;
	uint32_t cap;
	uint32_t start;
	uint32_t len;
};

/* Drops everything and gives the memory back. */
void vsock_ring_clear(struct vsock_ring *r);

/*
 * Appends `len` bytes from the segments at `offset`. 0, -ENOBUFS when
 * more than `max` bytes would be held, -ENOMEM.
 */
int vsock_ring_put(struct vsock_ring *r, const struct iovec *iov, unsigned count, size_t offset,
	uint32_t len, uint32_t max);

/* The bytes held, oldest first, as at most two segments; returns how many. */
unsigned vsock_ring_peek(const struct vsock_ring *r, struct iovec iov[static 2]);

/* Forgets the oldest n <= len bytes; the memory goes with the last one. */
void vsock_ring_skip(struct vsock_ring *r, uint32_t n);
