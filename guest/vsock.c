#include "vsock.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include <base/cleanup.h>
#include <base/log.h>

/* A connection more than this is reset by the kernel, not held: enough for every exec at once. */
#define VSOCK_BACKLOG 128

int vsock_probe(struct kerr *e)
{
	_cleanup_close_ int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? kerr_errno(e, errno, "no vsock (is its module in the initramfs?)") : 0;
}

/* Binds to the next free source port. 0 or -errno. */
static int bind_source(int fd)
{
	static uint32_t next = VSOCK_SRC_FIRST;
	struct sockaddr_vm src = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY };

	for (unsigned i = 0; i < VSOCK_SRC_END - VSOCK_SRC_FIRST; i++) {
		src.svm_port = next;
		next = next + 1 < VSOCK_SRC_END ? next + 1 : VSOCK_SRC_FIRST;
		if (bind(fd, (const struct sockaddr *)&src, sizeof(src)) == 0)
			return 0;
		if (errno != EADDRINUSE)
			break;
	}
	return -errno;
}

int vsock_dial_host(uint32_t port)
{
	_cleanup_close_ int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const struct sockaddr_vm dst = {
		.svm_family = AF_VSOCK,
		.svm_cid = GUEST_CID_HOST,
		.svm_port = port,
	};
	int r = fd < 0 ? -errno : bind_source(fd);

	if (r < 0)
		return r;
	if (connect(fd, (const struct sockaddr *)&dst, sizeof(dst)) < 0 && errno != EINPROGRESS)
		return -errno;
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
	static struct log_limit limit = { .burst = 2 };
	struct sockaddr_vm peer = { 0 };
	socklen_t len = sizeof(peer);
	_cleanup_close_ int fd =
		accept4(listen_fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (len < sizeof(peer) || peer.svm_family != AF_VSOCK || peer.svm_cid != GUEST_CID_HOST) {
		if (log_limit_ok(&limit))
			log_warn("a connection to the exec service from CID %u was refused",
				peer.svm_cid);
		return -EACCES;
	}
	return steal_fd(&fd);
}
