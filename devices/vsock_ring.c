#include "vsock_ring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <devices/virtq.h>

#define RING_MIN 4096u

void vsock_ring_clear(struct vsock_ring *r)
{
	free(r->data);
	*r = (struct vsock_ring){ 0 };
}

static int ring_grow(struct vsock_ring *r, uint32_t need, uint32_t max)
{
	struct iovec old[2];
	unsigned n = vsock_ring_peek(r, old);
	uint32_t cap = r->cap ? r->cap : RING_MIN;
	uint8_t *data;
	size_t at = 0;

	while (cap < need && cap <= UINT32_MAX / 2)
		cap *= 2;
	if (cap > max)
		cap = max;
	data = malloc(cap);
	if (!data)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		memcpy(data + at, old[i].iov_base, old[i].iov_len);
		at += old[i].iov_len;
	}
	free(r->data);
	r->data = data;
	r->cap = cap;
	r->start = 0;
	return 0;
}

int vsock_ring_put(struct vsock_ring *r, const struct iovec *iov, unsigned count, size_t offset,
	uint32_t len, uint32_t max)
{
	uint32_t end, first;

	if (len > max || r->len > max - len)
		return -ENOBUFS;
	if (len == 0)
		return 0;
	if (r->len + len > r->cap) {
		int rc = ring_grow(r, r->len + len, max);

		if (rc < 0)
			return rc;
	}
	end = (uint32_t)(((uint64_t)r->start + r->len) % r->cap);
	first = r->cap - end < len ? r->cap - end : len;
	(void)virtq_iov_read(iov, count, offset, r->data + end, first);
	(void)virtq_iov_read(iov, count, offset + first, r->data, len - first);
	r->len += len;
	return 0;
}

unsigned vsock_ring_peek(const struct vsock_ring *r, struct iovec iov[static 2])
{
	uint32_t first = r->cap - r->start;

	if (r->len == 0)
		return 0;
	iov[0].iov_base = r->data + r->start;
	if (first >= r->len) {
		iov[0].iov_len = r->len;
		return 1;
	}
	iov[0].iov_len = first;
	iov[1].iov_base = r->data;
	iov[1].iov_len = r->len - first;
	return 2;
}

void vsock_ring_skip(struct vsock_ring *r, uint32_t n)
{
	assert(n <= r->len);
	if (n == r->len) {
		vsock_ring_clear(r);
		return;
	}
	r->start = (uint32_t)(((uint64_t)r->start + n) % r->cap);
	r->len -= n;
}
