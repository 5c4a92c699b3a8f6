#include "vsock.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include <base/cleanup.h>
#include <base/log.h>
#include <wire/guest_proto.h>

/* A connection more than this is reset by the kernel, not held: enough for every exec at once. */
#define VSOCK_BACKLOG 128

int vsock_dial_host(uint32_t port, uint32_t src_port, unsigned timeout_ms, struct kerr *e)
{
	_cleanup_close_ int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct sockaddr_vm src = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = src_port,
	};
	const struct sockaddr_vm dst = {
		.svm_family = AF_VSOCK,
		.svm_cid = GUEST_CID_HOST,
		.svm_port = port,
	};
	const struct timeval tv = {
		.tv_sec = timeout_ms / 1000,
		.tv_usec = (timeout_ms % 1000) * 1000L,
	};

	if (fd < 0)
		return kerr_errno(e, errno, "no vsock (is its module in the initramfs?)");
	if (bind(fd, (const struct sockaddr *)&src, sizeof(src)) < 0)
		return kerr_errno(e, errno, "vsock port %u", src_port);
	(void)setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW, &tv, sizeof(tv));
	if (connect(fd, (const struct sockaddr *)&dst, sizeof(dst)) < 0)
		return kerr_errno(e, errno, "connecting to the host's vsock port %u", port);
	return steal_fd(&fd);
}

int vsock_listen(uint32_t port, struct kerr *e)
{
	_cleanup_close_ int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const struct sockaddr_vm addr = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = port,
	};

	if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
		listen(fd, VSOCK_BACKLOG) < 0)
		return kerr_errno(e, errno, "listening on vsock port %u", port);
	return steal_fd(&fd);
}

int vsock_accept_host(int listen_fd)
{
	struct sockaddr_vm peer = { 0 };
	socklen_t len = sizeof(peer);
	_cleanup_close_ int fd =
		accept4(listen_fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (len < sizeof(peer) || peer.svm_family != AF_VSOCK || peer.svm_cid != GUEST_CID_HOST) {
		log_warn("a connection to the exec service from CID %u was refused", peer.svm_cid);
		return -EACCES;
	}
	return steal_fd(&fd);
}
