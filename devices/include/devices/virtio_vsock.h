#pragma once

#include <devices/virtio.h>
#include <wire/limits.h>

/*
 * Socket device (virtio 1.2, 5.10), stream sockets only: a multiplexer
 * between guest streams and plain host sockets. All of it runs on the
 * loop's thread.
 *
 * The guest's CID is fixed; packets with another source CID are dropped
 * (identity cannot be forged). Connections are kept by (local CID, local
 * port, guest port), at most `max_conns` of them; each has bounded buffers
 * and credit both ways (5.10.6.3).
 *
 * A host socket is a connected, non-blocking stream socket or pipe end.
 * End of file from one side is a half-close of the other (shutdown(2)
 * flags both ways); an error resets both. A process that hands over write
 * ends of pipes must ignore SIGPIPE; sockets never raise it.
 *
 * After a reset by the driver every host socket is closed, by the loop.
 *
 * Payload of both directions together can be limited. What is too much
 * waits: data from the guest within the credit of its stream, which is opened
 * again only when the host got it; data of the host in its socket. Nothing is
 * dropped, streams take turns, and one that floods holds up no packet of
 * another. Streams of the guest to control_port have a narrow lane of their own
 * (VSOCK_CONTROL_RATE): they neither wait for a flood nor are a way around.
 */
#define VSOCK_CONTROL_RATE  (UINT64_C(64) << 10) /* bytes a second, where there is any limit */
#define VSOCK_CONTROL_BURST (UINT64_C(256) << 10)

struct virtio_vsock;

struct virtio_vsock_ops {
	/*
	 * The guest asks for (dst_cid, dst_port). The owner answers later, or
	 * at once from inside this call, by virtio_vsock_accept or
	 * virtio_vsock_refuse with the same id. Ids are never used twice; they
	 * have nothing to do with those of virtio_vsock_connect.
	 */
	void (*guest_connect)(
		void *user, uint64_t id, uint64_t dst_cid, uint32_t dst_port, uint32_t src_port);
	/* A request of virtio_vsock_connect ended: 0, or -ECONNREFUSED, -ECONNRESET, -ETIMEDOUT. */
	void (*connect_done)(void *user, uint64_t id, int result);
};

struct virtio_vsock_config {
	uint64_t guest_cid;
	unsigned max_conns;          /* 0: 1024 */
	uint32_t buf_alloc;          /* receive credit offered per connection; 0: 256 KiB */
	uint64_t buf_total;          /* bound on all of it, above 8 KiB each; 0: 16 MiB */
	uint64_t connect_timeout_ns; /* host-initiated; 0: 10 s */
	uint64_t close_timeout_ns;   /* wait for the guest's RST (5.10.6.5); 0: 8 s */
	struct rate_limit rate;      /* bytes and burst; operations are not counted */
	uint32_t control_port;       /* 0: no stream is special */
	uint64_t (*clock_ns)(void);  /* of the limit; NULL: CLOCK_MONOTONIC */
	const struct virtio_vsock_ops *ops;
	void *user;
};

int virtio_vsock_new(struct virtio_vsock **ret, const struct gmem *mem, struct loop *loop,
	const struct virtio_vsock_config *cfg, struct kerr *e);
/* Not from inside a callback. Pending requests end without connect_done. */
void virtio_vsock_free(struct virtio_vsock *v);
struct virtio_dev *virtio_vsock_dev(struct virtio_vsock *v);

/*
 * Opens a stream from (src_cid, a fresh port) to the guest's port; fd
 * becomes the device's in any case. connect_done(id) follows, never from
 * inside this call. -EMFILE when the table is full, -ENOTCONN before the
 * driver is up (then connect_done is not called and fd is closed).
 */
int virtio_vsock_connect(
	struct virtio_vsock *v, uint64_t id, uint64_t src_cid, uint32_t dst_port, int fd);

/* Answers to guest_connect. fd becomes the device's in any case. An id that is gone is fine. */
void virtio_vsock_accept(struct virtio_vsock *v, uint64_t id, int fd);
void virtio_vsock_refuse(struct virtio_vsock *v, uint64_t id);

/* The limit from now on. Loop thread. */
void virtio_vsock_set_rate(struct virtio_vsock *v, const struct rate_limit *rate);

/* Refuses every guest_connect that was not answered, or not even made yet. Loop thread. */
void virtio_vsock_refuse_all(struct virtio_vsock *v);

/*
 * While it is held, nothing is taken from the guest and nothing put into
 * its memory; streams stay open, and a guest that closes one has as much
 * time for it as ever. Loop thread.
 */
void virtio_vsock_hold(struct virtio_vsock *v, bool held);

/*
 * Ends every connection without a word and tells the driver so by a
 * TRANSPORT_RESET event (5.10.6.7), at once or when it gives a buffer: for a
 * guest that wakes on another host. connect_done follows for pending ones.
 */
void virtio_vsock_transport_reset(struct virtio_vsock *v);

/* Loop thread. resets: streams refused or cut; dropped: packets not even answered. */
struct virtio_vsock_stats {
	uint64_t rx_bytes, tx_bytes; /* payload: to the guest, from the guest */
	uint64_t conns_open, conns_total, resets, dropped;
};
void virtio_vsock_get_stats(struct virtio_vsock *v, struct virtio_vsock_stats *ret);
