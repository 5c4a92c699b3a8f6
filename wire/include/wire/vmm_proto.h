#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <base/fdpass.h>
#include <base/kerr.h>
#include <wire/board.h>

/*
 * Messages between kosvmd and one kosvm-vmm, over the SOCK_SEQPACKET
 * socket that the VMM inherits as fd VMM_PROTO_FD, or one that a later
 * kosvmd opened to the VMM's listener (board: kosvm,listen-fd).
 * Little-endian, no pointers; a header and a payload of exactly hdr.len
 * bytes, one message a datagram. Both sides treat the other's messages as
 * hostile: a wrong version, type, length or fd count ends the connection.
 *
 * A closed connection ends the VMM (disks are flushed first) when it has no
 * listener. With one the VMM lives on, detached: what the guest asks is
 * refused, streams that exist go on, and it takes the first connection whose
 * first message is an ATTACH with the boot id of its board. A connection that
 * comes while one is attached is closed.
 *
 *   kosvmd -> VMM
 *     BOOT           payload: the board (wire/board.h); fds: its table. First, once.
 *     ATTACH         struct vmm_msg_attach. First on a connection to the listener.
 *     CONNECT        struct vmm_msg_connect, 1 fd: open a stream to the guest
 *     ACCEPT         struct vmm_msg_id, 1 fd: answers GUEST_CONNECT
 *     REFUSE         struct vmm_msg_id: answers GUEST_CONNECT
 *     PAUSE          struct vmm_msg_id: hold vCPUs and devices; answered by REPLY
 *     RESUME         struct vmm_msg_id: go on; answered by REPLY
 *     STATS          struct vmm_msg_id: answered by REPLY
 *     LIMITS         struct vmm_msg_limits: from now on; answered by REPLY
 *     QUIT           no payload: stop the vCPUs, flush, say ENDED, exit
 *   VMM -> kosvmd
 *     RUNNING        no payload: the machine is built and the vCPUs were entered
 *     ATTACHED       struct vmm_msg_attached: answers ATTACH
 *     GUEST_CONNECT  struct vmm_msg_guest_connect
 *     CONNECTED      struct vmm_msg_connected: ends a CONNECT
 *     REPLY          struct vmm_reply: ends a PAUSE, RESUME, STATS or LIMITS
 *     ENDED          struct vmm_msg_ended: the last message; the process exits next
 *
 * PAUSE, RESUME, STATS and LIMITS are one at a time: one that comes before the reply
 * to the last ends the VM. Once PAUSE is answered with 0 no guest instruction
 * runs and no device changes the guest's memory until RESUME. Pausing what is
 * paused, and resuming what runs, is fine.
 *
 * At its end the VMM also writes its struct vmm_msg_ended to the start of the
 * file kosvm,end-fd, if its board has one: for a kosvmd that was away.
 */
#define VMM_PROTO_FD      3
#define VMM_PROTO_VERSION 2
#define VMM_PROTO_MAX     65536u /* header and payload */

enum vmm_msg_type {
	VMM_MSG_BOOT = 1,
	VMM_MSG_CONNECT,
	VMM_MSG_ACCEPT,
	VMM_MSG_REFUSE,
	VMM_MSG_QUIT,
	VMM_MSG_ATTACH,
	VMM_MSG_PAUSE,
	VMM_MSG_RESUME,
	VMM_MSG_STATS,
	VMM_MSG_LIMITS,
	VMM_MSG_RUNNING = 64,
	VMM_MSG_GUEST_CONNECT,
	VMM_MSG_CONNECTED,
	VMM_MSG_ENDED,
	VMM_MSG_ATTACHED,
	VMM_MSG_REPLY,
};

struct vmm_msg_hdr {
	uint16_t version;
	uint16_t type;
	uint32_t len; /* payload bytes */
};

struct vmm_msg_attach {
	uint8_t boot_id[BOARD_BOOT_ID_LEN];
};

enum vmm_flags {
	VMM_F_RUNNING = 1, /* the vCPUs were entered */
	VMM_F_PAUSED = 2,
};

struct vmm_msg_attached {
	uint32_t flags; /* enum vmm_flags */
	uint32_t reserved;
};

struct vmm_msg_connect {
	uint64_t id;
	uint64_t src_cid;
	uint32_t port;
	uint32_t reserved;
};

struct vmm_msg_id {
	uint64_t id;
};

/* As the board's /limits; what is 0 is not limited. */
struct vmm_msg_limits {
	uint64_t id;
	struct rate_limit disk;
	struct rate_limit vsock; /* ops is 0 */
};

struct vmm_msg_guest_connect {
	uint64_t id;
	uint64_t dst_cid;
	uint32_t dst_port;
	uint32_t src_port;
};

struct vmm_msg_connected {
	uint64_t id;
	int32_t result; /* 0 or -errno */
	uint32_t reserved;
};

/* Totals since the machine was built, counted by the VMM: the host's word. */
struct vmm_stats {
	uint64_t vcpu_ns;        /* CPU time of all vCPU threads */
	uint64_t vsock_rx_bytes; /* payload to the guest */
	uint64_t vsock_tx_bytes; /* payload from the guest */
	uint64_t vsock_open;     /* streams there are now */
	uint64_t vsock_total;
	uint64_t blk_read_bytes; /* of all disks */
	uint64_t blk_write_bytes;
	uint64_t blk_read_ops;
	uint64_t blk_write_ops;
	uint64_t blk_flushes;
	uint64_t blk_errors;
};

struct vmm_reply {
	uint64_t id;
	int32_t result; /* 0 or -errno */
	uint32_t flags; /* enum vmm_flags, as of now */
	struct vmm_stats stats;
};

enum vmm_end {
	VMM_END_POWEROFF = 1, /* the guest switched itself off */
	VMM_END_RESET,        /* the guest asked for a reboot, or a triple fault */
	VMM_END_QUIT,         /* as told */
	VMM_END_ERROR,        /* could not start or go on: text says why */
};

struct vmm_msg_ended {
	uint32_t reason; /* enum vmm_end */
	uint32_t code;   /* errno for VMM_END_ERROR, else 0 */
	char text[504];  /* NUL-terminated */
};

/* True for one that a VMM may say: a reason that exists, a text that ends. */
bool vmm_msg_ended_valid(const struct vmm_msg_ended *m);

/* One received message: the payload is a copy, its length checked against the type. */
struct vmm_msg {
	uint16_t type;
	uint32_t len;
	union {
		struct vmm_msg_attach attach;
		struct vmm_msg_attached attached;
		struct vmm_reply reply;
		struct vmm_msg_connect connect;
		struct vmm_msg_id id;
		struct vmm_msg_limits limits;
		struct vmm_msg_guest_connect guest_connect;
		struct vmm_msg_connected connected;
		struct vmm_msg_ended ended;
		uint8_t board[16384];
	} u;
	int fds[FDPASS_MAX_FDS]; /* the receiver's */
	size_t nfds;
};

/* payload: len bytes as the type asks. fds stay the caller's. 0 or -errno. */
int vmm_proto_send(int sock, enum vmm_msg_type type, const void *payload, size_t len,
	const int *fds, size_t nfds);

/*
 * 1: a message; 0: end of stream; -errno: -EAGAIN, or -EPROTO for a message
 * that breaks the rules (its fds were closed).
 */
int vmm_proto_recv(int sock, struct vmm_msg *ret);
