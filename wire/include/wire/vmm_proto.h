#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <base/fdpass.h>
#include <base/kerr.h>

/*
 * Messages between kosvmd and one kosvm-vmm, over the SOCK_SEQPACKET
 * socket that the VMM inherits as fd VMM_PROTO_FD. Little-endian, no
 * pointers; a header and a payload of exactly hdr.len bytes, one message a
 * datagram. Both sides treat the other's messages as hostile: a wrong
 * version, type, length or fd count ends the connection. A closed
 * connection ends the VMM (disks are flushed first).
 *
 *   kosvmd -> VMM
 *     BOOT           payload: the board (wire/board.h); fds: its table. First, once.
 *     CONNECT        struct vmm_msg_connect, 1 fd: open a stream to the guest
 *     ACCEPT         struct vmm_msg_id, 1 fd: answers GUEST_CONNECT
 *     REFUSE         struct vmm_msg_id: answers GUEST_CONNECT
 *     QUIT           no payload: stop the vCPUs, flush, say ENDED, exit
 *   VMM -> kosvmd
 *     RUNNING        no payload: the machine is built and the vCPUs were entered
 *     GUEST_CONNECT  struct vmm_msg_guest_connect
 *     CONNECTED      struct vmm_msg_connected: ends a CONNECT
 *     ENDED          struct vmm_msg_ended: the last message; the process exits next
 */
#define VMM_PROTO_FD      3
#define VMM_PROTO_VERSION 1
#define VMM_PROTO_MAX     65536u /* header and payload */

enum vmm_msg_type {
	VMM_MSG_BOOT = 1,
	VMM_MSG_CONNECT,
	VMM_MSG_ACCEPT,
	VMM_MSG_REFUSE,
	VMM_MSG_QUIT,
	VMM_MSG_RUNNING = 64,
	VMM_MSG_GUEST_CONNECT,
	VMM_MSG_CONNECTED,
	VMM_MSG_ENDED,
};

struct vmm_msg_hdr {
	uint16_t version;
	uint16_t type;
	uint32_t len; /* payload bytes */
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

/* One received message: the payload is a copy, its length checked against the type. */
struct vmm_msg {
	uint16_t type;
	uint32_t len;
	union {
		struct vmm_msg_connect connect;
		struct vmm_msg_id id;
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
