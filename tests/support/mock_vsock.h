#pragma once

#include <base/loop.h>
#include <devices/virtio_vsock.h>

#include "mock_ring.h"

#include "../../devices/vsock_packet.h"

/*
 * The driver of a virtio-vsock device, for tests: well-kept rings with
 * packets of any kind in them. It keeps no state of streams; the tests do.
 */
#define MOCK_VSOCK_CID   3u
#define MOCK_VSOCK_SLOTS 64u
#define MOCK_VSOCK_TXBUF (VSOCK_HDR_LEN + 65536u)
#define MOCK_VSOCK_RXBUF 4096u /* payload bytes in each receive buffer */

struct mock_vsock {
	struct mock_mem mem;
	struct mock_ring rx, tx, ev;
	gpa_t rx_at, tx_at, ev_at;
	struct loop *loop;
	struct virtio_vsock *v;
	struct virtio_dev *dev;
	unsigned rx_given; /* buffers with the device */
	bool rx_hold;      /* do not give buffers back */
};

/* A device of the given configuration (the CID is MOCK_VSOCK_CID), not started. */
void mock_vsock_init(struct mock_vsock *m, struct virtio_vsock_config *cfg);
void mock_vsock_done(struct mock_vsock *m);

/* Negotiates, sets the queues up and gives `buffers` receive buffers. */
void mock_vsock_start(struct mock_vsock *m, unsigned buffers);
/* Gives up to n of the receive buffers that the device does not have. */
void mock_vsock_give(struct mock_vsock *m, unsigned n);

/* Runs the loop until nothing has been ready for idle_ms. */
void mock_vsock_run(struct mock_vsock *m, int idle_ms);

/*
 * Sends a packet; src_cid and type 0 mean the right ones, and p->len is
 * taken as it is: `len` bytes are carried. False when the device has left
 * the ring full.
 */
bool mock_vsock_send(
	struct mock_vsock *m, const struct vsock_packet *p, const void *data, uint32_t len);

/*
 * The next packet from the device, the loop being run for it; data has
 * room for MOCK_VSOCK_RXBUF (NULL: not wanted). False when none came
 * within timeout_ms.
 */
bool mock_vsock_recv(struct mock_vsock *m, struct vsock_packet *p, void *data, int timeout_ms);
