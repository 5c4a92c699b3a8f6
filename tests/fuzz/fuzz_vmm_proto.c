/* One datagram on the control socket: byte 0 is the number of descriptors with it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wire/vmm_proto.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was taken in could have been said by us, and keeps the promises of the header. */
static void check_accepted(const int *ends, const struct vmm_msg *msg)
{
	static struct vmm_msg again;

	if (vmm_proto_send(ends[0], msg->type, &msg->u, msg->len, msg->fds, msg->nfds) < 0 ||
		vmm_proto_recv(ends[1], &again) != 1 || again.len != msg->len ||
		memcmp(&again.u, &msg->u, msg->len) != 0)
		abort();
	for (size_t i = 0; i < again.nfds; i++)
		(void)close(again.fds[i]);
	if (msg->type == VMM_MSG_ENDED && !vmm_msg_ended_valid(&msg->u.ended))
		abort();
	if (msg->type == VMM_MSG_REPLY && (msg->u.reply.result > 0 || msg->u.reply.flags > 3))
		abort();
	if (msg->type == VMM_MSG_ATTACHED &&
		(msg->u.attached.reserved != 0 || msg->u.attached.flags > 3))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int ends[2] = { -1, -1 };
	int fds[FDPASS_MAX_FDS];
	struct vmm_msg msg;
	size_t nfds;
	int r;

	if (ends[0] < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends) < 0)
		abort();
	/* An empty datagram is an end of stream for the receiver. */
	if (size < 2)
		return 0;
	nfds = data[0] % (FDPASS_MAX_FDS + 1);
	for (size_t i = 0; i < nfds; i++)
		fds[i] = ends[0];
	if (fdpass_send(ends[0], data + 1, size - 1, fds, nfds) < 0)
		return 0;
	r = vmm_proto_recv(ends[1], &msg);
	if (r != 1 && r != -EPROTO)
		abort();
	if (r == 1)
		check_accepted(ends, &msg);
	for (size_t i = 0; r == 1 && i < msg.nfds; i++)
		(void)close(msg.fds[i]);
	/* A lost descriptor would make the numbers grow. */
	r = dup(ends[0]);
	if (r < 0 || r > 64)
		abort();
	(void)close(r);
	return 0;
}
