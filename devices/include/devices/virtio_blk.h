#pragma once

#include <devices/virtio.h>

/*
 * Block device (virtio 1.2, 5.2) over one file descriptor, with a thread
 * of its own. Requests: in, out, flush (fdatasync), get-id, discard
 * (punch hole) and write-zeroes; others are answered UNSUPP. Every
 * request is checked against the capacity that was fixed at creation, so
 * a file never grows. A read-only disk answers every change with IOERR.
 * The cache is write-back with FLUSH offered: what the guest was told is
 * flushed is on the disk.
 */
struct throttle;
struct virtio_blk;

struct virtio_blk_config {
	int fd;        /* taken over on success */
	uint64_t size; /* bytes, a multiple of 512; the capacity */
	bool read_only;
	char serial[20]; /* not necessarily NUL-terminated */
	/*
	 * Each request waits for its turn there (devices/throttle.h): all of its
	 * data, and one operation. Borrowed; NULL: none does.
	 */
	struct throttle *throttle;
	/* First in the device's thread; not 0: it serves nothing. NULL: nothing to do. */
	int (*on_thread)(void *user);
	void *user;
};

int virtio_blk_new(struct virtio_blk **ret, const struct gmem *mem,
	const struct virtio_blk_config *cfg, struct kerr *e);

/* Waits for the request in flight, flushes, closes. NULL is fine. */
void virtio_blk_free(struct virtio_blk *b);
struct virtio_dev *virtio_blk_dev(struct virtio_blk *b);

/*
 * While it is held, no request is begun and guest memory is left alone. The
 * one in flight is given up between two system calls, which is waited for,
 * and done afresh afterwards. Nothing is lost. Loop thread; no vCPU runs.
 */
void virtio_blk_hold(struct virtio_blk *b, bool held);

/* The throttle's limit changed: whoever waits looks again. Any thread. */
void virtio_blk_nudge(struct virtio_blk *b);

/* Host-side totals since creation, for metering. Any thread. */
struct virtio_blk_stats {
	uint64_t read_bytes, written_bytes, read_ops, write_ops, flushes, errors;
};
void virtio_blk_get_stats(struct virtio_blk *b, struct virtio_blk_stats *ret);
