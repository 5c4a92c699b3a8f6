#include "vsock_packet.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>

/* On the wire: little endian, no padding (5.10.6). */
struct vsock_wire {
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
} __attribute__((packed));

static_assert(sizeof(struct vsock_wire) == VSOCK_HDR_LEN, "header of 5.10.6");

int vsock_packet_read(struct vsock_packet *p, const struct virtq_chain *c)
{
	struct vsock_wire w;

	if (virtq_iov_read(c->iov, c->out_count, 0, &w, sizeof(w)) != sizeof(w))
		return -EBADMSG;
	*p = (struct vsock_packet){
		.src_cid = le64toh(w.src_cid),
		.dst_cid = le64toh(w.dst_cid),
		.src_port = le32toh(w.src_port),
		.dst_port = le32toh(w.dst_port),
		.len = le32toh(w.len),
		.type = le16toh(w.type),
		.op = le16toh(w.op),
		.flags = le32toh(w.flags),
		.buf_alloc = le32toh(w.buf_alloc),
		.fwd_cnt = le32toh(w.fwd_cnt),
	};
	return 0;
}

void vsock_packet_write(const struct vsock_packet *p, const struct virtq_chain *c)
{
	struct vsock_wire w = {
		.src_cid = htole64(p->src_cid),
		.dst_cid = htole64(p->dst_cid),
		.src_port = htole32(p->src_port),
		.dst_port = htole32(p->dst_port),
		.len = htole32(p->len),
		.type = htole16(p->type),
		.op = htole16(p->op),
		.flags = htole32(p->flags),
		.buf_alloc = htole32(p->buf_alloc),
		.fwd_cnt = htole32(p->fwd_cnt),
	};

	(void)virtq_iov_write(c->iov + c->out_count, c->in_count, 0, &w, sizeof(w));
}

enum vsock_verdict vsock_packet_judge(
	const struct vsock_packet *p, uint64_t guest_cid, uint32_t carried)
{
	/* Nobody speaks in another's name. */
	if (p->src_cid != guest_cid)
		return VSOCK_VERDICT_DROP;
	if (p->type != VSOCK_TYPE_STREAM)
		return p->op == VSOCK_OP_RST ? VSOCK_VERDICT_DROP : VSOCK_VERDICT_UNKNOWN;
	/* A RST is never answered, so it is taken as it is. */
	if (p->op == VSOCK_OP_RST)
		return VSOCK_VERDICT_OK;
	if (p->op == VSOCK_OP_INVALID || p->op >= VSOCK_OP_COUNT)
		return VSOCK_VERDICT_BROKEN;
	/* The upper half of a CID is reserved and zero (5.10.4). */
	if (p->dst_cid > UINT32_MAX)
		return VSOCK_VERDICT_BROKEN;
	if (p->op != VSOCK_OP_RW && p->len != 0)
		return VSOCK_VERDICT_BROKEN;
	if (p->len > VSOCK_PAYLOAD_MAX || p->len > carried)
		return VSOCK_VERDICT_BROKEN;
	return VSOCK_VERDICT_OK;
}

unsigned vsock_packet_payload(
	const struct iovec *iov, unsigned count, uint32_t offset, uint32_t len, struct iovec *dst)
{
	size_t skip = (size_t)VSOCK_HDR_LEN + offset;
	size_t left = len;
	unsigned n = 0;

	for (unsigned i = 0; i < count && left > 0; i++) {
		size_t have = iov[i].iov_len;

		if (skip >= have) {
			skip -= have;
			continue;
		}
		have -= skip;
		if (have > left)
			have = left;
		dst[n].iov_base = (uint8_t *)iov[i].iov_base + skip;
		dst[n].iov_len = have;
		n++;
		skip = 0;
		left -= have;
	}
	return n;
}
