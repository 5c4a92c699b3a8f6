#pragma once

#include <stdint.h>
#include <sys/uio.h>

#include <devices/virtq.h>

/*
 * The packet header of virtio 1.2, 5.10.6: what goes over both data
 * queues. A packet from the guest is copied out of its chain once and
 * judged as a copy.
 */
#define VSOCK_HDR_LEN     44u
#define VSOCK_PAYLOAD_MAX 65536u /* what Linux drivers and devices keep to */
#define VSOCK_TYPE_STREAM 1u

enum vsock_op {
	VSOCK_OP_INVALID = 0,
	VSOCK_OP_REQUEST = 1,
	VSOCK_OP_RESPONSE = 2,
	VSOCK_OP_RST = 3,
	VSOCK_OP_SHUTDOWN = 4,
	VSOCK_OP_RW = 5,
	VSOCK_OP_CREDIT_UPDATE = 6,
	VSOCK_OP_CREDIT_REQUEST = 7,
	VSOCK_OP_COUNT,
};

/* Flags of SHUTDOWN: hints that add up over the packets of a stream (5.10.6.5). */
#define VSOCK_SHUT_RCV  1u
#define VSOCK_SHUT_SEND 2u
#define VSOCK_SHUT_BOTH (VSOCK_SHUT_RCV | VSOCK_SHUT_SEND)

struct vsock_packet {
	uint64_t src_cid;
	uint64_t dst_cid;
	uint32_t src_port;
	uint32_t dst_port;
	uint32_t len;
	uint16_t type;
	uint16_t op;
	uint32_t flags;
	uint32_t buf_alloc;
	uint32_t fwd_cnt;
};

enum vsock_verdict {
	VSOCK_VERDICT_OK,
	VSOCK_VERDICT_DROP,    /* not this guest's to send, or not to be answered */
	VSOCK_VERDICT_UNKNOWN, /* not a stream's: RST, and no stream is touched (5.10.6.4) */
	VSOCK_VERDICT_BROKEN,  /* malformed: RST, and its stream dies */
};

/* Decodes the header in front of the readable part. 0, or -EBADMSG when there is none. */
int vsock_packet_read(struct vsock_packet *p, const struct virtq_chain *c);

/* Encodes into the first VSOCK_HDR_LEN bytes of the writable part, which must be there. */
void vsock_packet_write(const struct vsock_packet *p, const struct virtq_chain *c);

/* `carried`: payload bytes behind the header in the chain. */
enum vsock_verdict vsock_packet_judge(
	const struct vsock_packet *p, uint64_t guest_cid, uint32_t carried);

/*
 * The payload bytes [offset, offset + len) of a chain's segments (the
 * header is skipped) as segments of their own; dst has room for count.
 * Returns the number of segments.
 */
unsigned vsock_packet_payload(
	const struct iovec *iov, unsigned count, uint32_t offset, uint32_t len, struct iovec *dst);
