#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <base/loop.h>

#include "vsock_packet.h"
#include "vsock_ring.h"

/*
 * One stream (virtio 1.2, 5.10.6.5): its state, its credit and its host
 * socket. The functions of vsock_conn.c are pure: they move the state and
 * say in effect bits what is to be done outside; vsock_host.c and
 * virtio_vsock.c do it. Loop thread only.
 */
enum vsock_state {
	VSOCK_ASKED,      /* the guest sent REQUEST; the owner has not answered */
	VSOCK_CONNECTING, /* the host wants a stream; the guest has not answered */
	VSOCK_OPEN,       /* with half-closes, see guest_shut and host_shut */
	VSOCK_CLOSING,    /* we closed both ways; the guest's RST is awaited */
	VSOCK_GONE,       /* for the guest it ends with the RST that may be due */
	VSOCK_STATE_COUNT,
};

/* The first ones are the guest's packets, numbered by their op. */
enum vsock_event {
	VSOCK_EV_REQUEST = VSOCK_OP_REQUEST,
	VSOCK_EV_RESPONSE = VSOCK_OP_RESPONSE,
	VSOCK_EV_RST = VSOCK_OP_RST,
	VSOCK_EV_SHUTDOWN = VSOCK_OP_SHUTDOWN,
	VSOCK_EV_RW = VSOCK_OP_RW,
	VSOCK_EV_CREDIT_UPDATE = VSOCK_OP_CREDIT_UPDATE,
	VSOCK_EV_CREDIT_REQUEST = VSOCK_OP_CREDIT_REQUEST,
	VSOCK_EV_BROKEN,     /* a malformed packet, or more data than credit */
	VSOCK_EV_ACCEPT,     /* the owner's answer to ASKED */
	VSOCK_EV_REFUSE,     /* the other answer */
	VSOCK_EV_HOST_EOF,   /* the host will send nothing more */
	VSOCK_EV_HOST_DEAF,  /* the host will take nothing more */
	VSOCK_EV_HOST_ERROR, /* neither: the socket broke */
	VSOCK_EV_DRAINED,    /* the ring has run empty */
	VSOCK_EV_TIMEOUT,
	VSOCK_EV_COUNT,
};

/* Control packets that wait for a buffer of the guest. */
enum vsock_due {
	VSOCK_DUE_RST = 1 << 0,
	VSOCK_DUE_REQUEST = 1 << 1,
	VSOCK_DUE_RESPONSE = 1 << 2,
	VSOCK_DUE_SHUTDOWN = 1 << 3,
	VSOCK_DUE_CREDIT_UPDATE = 1 << 4,
	VSOCK_DUE_CREDIT_REQUEST = 1 << 5,
};

enum vsock_effect {
	VSOCK_FX_CONNECTED = 1 << 0, /* tell the owner: 0 */
	VSOCK_FX_FAILED = 1 << 1,    /* tell the owner: c->result */
	VSOCK_FX_PAYLOAD = 1 << 2,   /* the packet's data goes to the host */
	VSOCK_FX_DISCARD = 1 << 3,   /* the packet's data goes nowhere */
	VSOCK_FX_SHUT_WR = 1 << 4,   /* shutdown(2) of the host socket: end of file for the host */
	VSOCK_FX_SHUT_RD = 1 << 5,   /* the other way: nobody will read what the host sends */
	VSOCK_FX_CLOSE = 1 << 6,     /* close the host socket, forget the ring */
	VSOCK_FX_FINISH = 1 << 7,    /* close it when the ring has run empty */
};

/*
 * Credit (5.10.6.3): all counters run freely modulo 2^32. The upper three
 * bound what the guest may send, the lower three what we may.
 */
struct vsock_credit {
	uint32_t buf_alloc; /* what we offer, fixed for the stream's life */
	uint32_t rx_cnt;    /* bytes the guest sent */
	uint32_t fwd_cnt;   /* of these, gone to the host */
	uint32_t told_fwd;  /* fwd_cnt as the guest knows it */

	uint32_t peer_alloc;
	uint32_t peer_fwd;
	uint32_t tx_cnt; /* bytes we sent */
};

/* Where a stream stands with the limits on traffic; vsock_rate.c. */
struct vsock_place {
	uint8_t lane;   /* enum vsock_lane_name */
	bool waits;     /* in its lane's line */
	uint64_t round; /* of its last share */
	uint32_t share; /* bytes left of it */
};

struct vsock_key {
	uint64_t local_cid;
	uint32_t local_port;
	uint32_t guest_port;
};

struct virtio_vsock;

struct vsock_conn {
	struct vsock_key key;
	enum vsock_state state;
	uint8_t guest_shut; /* VSOCK_SHUT_*, added up */
	uint8_t host_shut;  /* what the guest was or will be told */
	uint8_t due;        /* VSOCK_DUE_* */
	bool host_eof;
	bool host_deaf;
	bool lost;     /* the host will not get all that the guest sent */
	bool told_eof; /* VSOCK_FX_SHUT_WR was issued */
	bool asked_credit;
	int result; /* of a connect that failed */
	struct vsock_credit credit;
	struct vsock_ring ring;

	/* Host side: vsock_host.c. */
	struct loop_fd w;
	int fd;
	bool is_socket, read_only, write_only;
	bool readable; /* edge-triggered: until EAGAIN */
	bool writable;

	/* Book-keeping: vsock_table.c. */
	struct virtio_vsock *v;
	uint64_t id;
	uint32_t grant; /* taken from the device's pool of credit */
	bool hashed, ready, timed;
	struct vsock_place place; /* vsock_rate.c */
	uint8_t notice;           /* enum vsock_notice */
	uint8_t wait;             /* enum vsock_wait, while timed */
	uint64_t deadline_ns;
	struct vsock_conn *hash_next;
	TAILQ_ENTRY(vsock_conn) all_link, ready_link, notice_link, timed_link, rate_link;
};

/* Moves the state; `arg` is SHUTDOWN's flags or RW's length. Returns VSOCK_FX_* bits. */
unsigned vsock_conn_step(struct vsock_conn *c, enum vsock_event ev, uint32_t arg);

/* Takes the sender's window from any packet of the guest. */
void vsock_credit_learn(struct vsock_credit *k, uint32_t buf_alloc, uint32_t fwd_cnt);
/* Bytes that may go to the guest now. */
uint32_t vsock_credit_free(const struct vsock_credit *k);
/* Counts len bytes from the guest; false when it had no credit for them. */
bool vsock_credit_take(struct vsock_credit *k, uint32_t len);
/* True when the guest, as far as it knows, has less than half of its window left. */
bool vsock_credit_stale(const struct vsock_credit *k);

/* True when the host socket is to be read for the guest. */
bool vsock_conn_can_read(const struct vsock_conn *c);
/* True when it belongs on the list of those with something to send. */
bool vsock_conn_wants(const struct vsock_conn *c);
/* Counts n bytes as passed on to the host; a credit update may fall due. */
void vsock_conn_forwarded(struct vsock_conn *c, uint32_t n);
/*
 * The next control packet (op, flags) of the stream, taken off the due
 * ones. False when there is none.
 */
bool vsock_conn_next_due(struct vsock_conn *c, struct vsock_packet *p);
/* Nothing is left to do for it, neither to the guest nor to the host. */
bool vsock_conn_finished(const struct vsock_conn *c);

const char *vsock_state_name(enum vsock_state s);
