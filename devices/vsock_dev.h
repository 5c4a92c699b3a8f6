#pragma once

#include <devices/virtio_vsock.h>

#include "vsock_rate.h"
#include "vsock_table.h"

/*
 * The inside of the device. Streams, table and host sockets belong to the
 * loop's thread alone. `mu` guards the queues and the three flags under
 * it, because a reset comes on a vCPU thread: it clears `active`, sets
 * `reset_due` and leaves the rest to the loop, which does it before
 * anything else. Order of locks: dev.lock, then mu; nothing is called out
 * with mu held that takes dev.lock.
 */
enum { VSOCK_QUEUE_RX, VSOCK_QUEUE_TX, VSOCK_QUEUE_EVENT, VSOCK_QUEUE_COUNT };

/*
 * Replies to packets of no stream (RST) that wait for a buffer. When this
 * is full the tx queue is left alone: the guest pays for its own flood
 * (5.10.6.1).
 */
#define VSOCK_REPLIES_MAX 64u

/* Packets handled in one go before other watchers of the loop get their turn. */
#define VSOCK_BUDGET 128u

struct vsock_reply {
	struct vsock_key key;
	uint16_t type;
};

struct virtio_vsock {
	struct virtio_dev dev;
	struct loop *loop;
	uint64_t guest_cid;
	uint64_t connect_timeout_ns;
	uint64_t close_timeout_ns;
	const struct virtio_vsock_ops *ops;
	void *user;

	pthread_mutex_t mu;
	bool active;      /* the queues may be touched */
	bool reset_due;   /* every stream is to be dropped */
	bool event_due;   /* a TRANSPORT_RESET waits for a buffer */
	bool held;        /* the queues are left alone; loop thread */
	uint64_t held_ns; /* since when */

	int wake; /* eventfd: the loop is to look at the device */
	struct loop_fd wake_w;
	struct loop_fd notify_w[VSOCK_QUEUE_COUNT];
	struct loop_timer timer;
	uint64_t armed_ns;

	struct vsock_table table;
	struct vsock_rate rate;
	struct loop_timer refill; /* for those that wait for tokens */
	bool refill_armed;
	uint64_t next_id;
	bool delivering;
	bool tx_stalled; /* chains were left in tx for want of reply room */
	bool again;      /* the budget ran out with work left */
	unsigned budget;
	struct vsock_reply replies[VSOCK_REPLIES_MAX];
	unsigned reply_first, reply_count;

	struct virtq_chain chain; /* the one being worked on */
	struct iovec iov[VIRTQ_MAX_SEGS];
	struct virtio_vsock_stats stats;
};

/* --- virtio_vsock.c */

/*
 * Around everything the loop's thread does: takes mu and does what a reset
 * left to do (false: every stream was dropped); gives it back. Callbacks
 * are made without mu and only by the loop's own calls (tell).
 */
bool vsock_enter(struct virtio_vsock *v);
void vsock_leave(struct virtio_vsock *v, bool tell);

/* Both queues; tx first, because what it brings may go out at once. */
void vsock_serve(struct virtio_vsock *v, bool tx);
/* Sends the TRANSPORT_RESET that is due, if the driver gave a buffer. */
void vsock_serve_event(struct virtio_vsock *v);
/* Tokens have come, or the limit has changed. */
void vsock_refill(struct virtio_vsock *v);
/* The watcher of every host socket. */
void vsock_on_host(struct loop_fd *w, uint32_t events);

/* The guest broke a queue: NEEDS_RESET, and every stream ends. */
void vsock_broken(struct virtio_vsock *v, const char *why);

/* --- vsock_stream.c */

/*
 * Moves c by ev and does what follows from it. False: c is freed.
 * VSOCK_FX_PAYLOAD and _DISCARD are the caller's: *ret_fx (may be NULL).
 */
bool vsock_raise(struct virtio_vsock *v, struct vsock_conn *c, enum vsock_event ev, uint32_t arg,
	unsigned *ret_fx);

/* A stream has just become OPEN: a pipe's end lacks one direction. False: c is freed. */
bool vsock_opened(struct virtio_vsock *v, struct vsock_conn *c);

/*
 * What a write to the host socket came to: r is 0 or -errno; `unsent`
 * says that data of the guest goes lost with it. C may be gone afterwards.
 */
void vsock_host_failed(struct virtio_vsock *v, struct vsock_conn *c, int r, bool unsent);

/* Frees c if nothing is left to do for it; false when it did. */
bool vsock_reap(struct virtio_vsock *v, struct vsock_conn *c);

/* Everything ends at once and without a word to the guest, which forgot it all. */
void vsock_drop_all(struct virtio_vsock *v);

/* What epoll says about c's host socket. C may be gone afterwards. */
void vsock_host_event(struct virtio_vsock *v, struct vsock_conn *c, uint32_t events);

/* --- vsock_rx.c, vsock_tx.c: with mu held; to the guest, from the guest */
void vsock_rx_serve(struct virtio_vsock *v);
void vsock_tx_serve(struct virtio_vsock *v);

/* --- vsock_host.c: host sockets */

/* Takes fd over (closed on failure) and watches it. 0 or -errno. */
int vsock_host_attach(struct vsock_conn *c, int fd, void (*fn)(struct loop_fd *w, uint32_t ev));
void vsock_host_close(struct vsock_conn *c);
/* End of file for the host (rd false) or deafness (rd true), where the fd knows such a thing. */
void vsock_host_shutdown(struct vsock_conn *c, bool rd);
/* Bytes read, 0 at end of file, or -errno; readable is cleared at -EAGAIN. */
ssize_t vsock_host_read(struct vsock_conn *c, const struct iovec *iov, unsigned count);
/*
 * The payload of a chain (its readable part): to the socket as far as it
 * takes it, the rest into the ring. Counts what went. 0 or -errno.
 */
int vsock_host_write(
	struct vsock_conn *c, const struct virtq_chain *chain, uint32_t len, struct iovec *scratch);
/* The ring to the socket, until it is empty or the socket full. 0 or -errno. */
int vsock_host_drain(struct vsock_conn *c);
