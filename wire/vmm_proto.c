#include <wire/vmm_proto.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>

/* What a message of each type looks like; types that are not here do not exist. */
struct shape {
	bool known;
	uint32_t min_len;
	uint32_t max_len;
	size_t min_fds;
	size_t max_fds;
};

#define FLAGS ((uint32_t)(VMM_F_RUNNING | VMM_F_PAUSED))

#define EXACTLY(type) .known = true, .min_len = sizeof(type), .max_len = sizeof(type)

static const struct shape shapes[] = {
	[VMM_MSG_BOOT] = { .known = true,
		.min_len = 1,
		.max_len = sizeof(((struct vmm_msg *)0)->u.board),
		.max_fds = FDPASS_MAX_FDS },
	[VMM_MSG_CONNECT] = { EXACTLY(struct vmm_msg_connect), .min_fds = 1, .max_fds = 1 },
	[VMM_MSG_ACCEPT] = { EXACTLY(struct vmm_msg_id), .min_fds = 1, .max_fds = 1 },
	[VMM_MSG_REFUSE] = { EXACTLY(struct vmm_msg_id) },
	[VMM_MSG_QUIT] = { .known = true },
	[VMM_MSG_ATTACH] = { EXACTLY(struct vmm_msg_attach) },
	[VMM_MSG_PAUSE] = { EXACTLY(struct vmm_msg_id) },
	[VMM_MSG_RESUME] = { EXACTLY(struct vmm_msg_id) },
	[VMM_MSG_STATS] = { EXACTLY(struct vmm_msg_id) },
	[VMM_MSG_LIMITS] = { EXACTLY(struct vmm_msg_limits) },
	[VMM_MSG_RUNNING] = { .known = true },
	[VMM_MSG_GUEST_CONNECT] = { EXACTLY(struct vmm_msg_guest_connect) },
	[VMM_MSG_CONNECTED] = { EXACTLY(struct vmm_msg_connected) },
	[VMM_MSG_ENDED] = { EXACTLY(struct vmm_msg_ended) },
	[VMM_MSG_ATTACHED] = { EXACTLY(struct vmm_msg_attached) },
	[VMM_MSG_REPLY] = { EXACTLY(struct vmm_reply) },
};

struct datagram {
	struct vmm_msg_hdr hdr;
	__typeof__(((struct vmm_msg *)0)->u) u;
};

static bool fits(unsigned type, size_t len, size_t nfds)
{
	const struct shape *s;

	if (type >= array_size(shapes))
		return false;
	s = &shapes[type];
	return s->known && len >= s->min_len && len <= s->max_len && nfds >= s->min_fds &&
		nfds <= s->max_fds;
}

int vmm_proto_send(int sock, enum vmm_msg_type type, const void *payload, size_t len,
	const int *fds, size_t nfds)
{
	struct datagram d;

	if (!fits(type, len, nfds))
		return -EINVAL;
	d.hdr = (struct vmm_msg_hdr){
		.version = VMM_PROTO_VERSION,
		.type = (uint16_t)type,
		.len = (uint32_t)len,
	};
	if (len > 0)
		memcpy(&d.u, payload, len);
	return fdpass_send(sock, &d, sizeof(d.hdr) + len, fds, nfds);
}

bool vmm_msg_ended_valid(const struct vmm_msg_ended *m)
{
	return m->reason >= VMM_END_POWEROFF && m->reason <= VMM_END_ERROR &&
		memchr(m->text, '\0', sizeof(m->text));
}

static bool well_formed(const struct datagram *d, size_t n, size_t nfds)
{
	if (n < sizeof(d->hdr) || d->hdr.version != VMM_PROTO_VERSION)
		return false;
	if (d->hdr.len != n - sizeof(d->hdr) || !fits(d->hdr.type, d->hdr.len, nfds))
		return false;
	switch (d->hdr.type) {
	case VMM_MSG_CONNECT:
		return d->u.connect.reserved == 0;
	case VMM_MSG_LIMITS:
		return d->u.limits.vsock.ops == 0;
	case VMM_MSG_CONNECTED:
		return d->u.connected.reserved == 0 && d->u.connected.result <= 0;
	case VMM_MSG_ENDED:
		return vmm_msg_ended_valid(&d->u.ended);
	case VMM_MSG_ATTACHED:
		return d->u.attached.reserved == 0 && !(d->u.attached.flags & ~FLAGS);
	case VMM_MSG_REPLY:
		return d->u.reply.result <= 0 && !(d->u.reply.flags & ~FLAGS);
	default:
		return true;
	}
}

int vmm_proto_recv(int sock, struct vmm_msg *ret)
{
	struct datagram d;
	int fds[FDPASS_MAX_FDS];
	size_t nfds = 0;
	ssize_t n = fdpass_recv(sock, &d, sizeof(d), fds, FDPASS_MAX_FDS, &nfds);

	/*
	 * The other side closed with something of ours unread. That is told
	 * once, ahead of what it said before: its last words are still there.
	 */
	if (n == -ECONNRESET)
		n = fdpass_recv(sock, &d, sizeof(d), fds, FDPASS_MAX_FDS, &nfds);
	if (n == -EMSGSIZE)
		return -EPROTO;
	if (n <= 0 && nfds == 0)
		return (int)n;
	if (!well_formed(&d, (size_t)n, nfds)) {
		for (size_t i = 0; i < nfds; i++)
			(void)close(fds[i]);
		return -EPROTO;
	}
	ret->type = d.hdr.type;
	ret->len = d.hdr.len;
	memcpy(&ret->u, &d.u, d.hdr.len);
	ret->nfds = nfds;
	memcpy(ret->fds, fds, nfds * sizeof(int));
	return 1;
}
