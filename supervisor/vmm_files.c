/* What a VMM is given so that it can outlive its kosvmd: a door, and a place for its last word. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "vmm_proc_impl.h"

#define BACKLOG 8

static int remove_old(int dirfd, const char *name, struct kerr *e)
{
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	return kerr_errno(e, errno, "%s: remove the old one", name);
}

int vmm_listen(int dirfd, int *ret_fd, struct kerr *e)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int r;

	if (fd < 0)
		return kerr_errno(e, errno, VMM_SOCKET_NAME);
	r = remove_old(dirfd, VMM_SOCKET_NAME, e);
	if (r < 0)
		return r;
	(void)snprintf(
		sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/" VMM_SOCKET_NAME, dirfd);
	/* bind(2) gives the file the socket's own mode: there is no moment with another. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
		listen(fd, BACKLOG) < 0)
		return kerr_errno(e, errno, VMM_SOCKET_NAME);
	*ret_fd = steal_fd(&fd);
	return 0;
}

int vmm_end_create(int dirfd, int *ret_fd, struct kerr *e)
{
	static const struct vmm_msg_ended nothing;
	_cleanup_close_ int fd = -1;
	int r = remove_old(dirfd, VMM_END_NAME, e);

	if (r < 0)
		return r;
	/* A file of its own for each boot: a VMM that lingers has no part in it. */
	fd = openat(dirfd, VMM_END_NAME, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return kerr_errno(e, errno, "%s: create", VMM_END_NAME);
	r = io_pwrite_full(fd, &nothing, sizeof(nothing), 0);
	if (r < 0) {
		(void)unlinkat(dirfd, VMM_END_NAME, 0);
		return kerr_errno(e, -r, "%s: write", VMM_END_NAME);
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

int vmm_end_read(int fd, struct vmm_msg_ended *ret)
{
	static const struct vmm_msg_ended nothing;
	struct vmm_msg_ended m;
	ssize_t n;

	do
		n = pread(fd, &m, sizeof(m), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0 || (n == sizeof(m) && memcmp(&m, &nothing, sizeof(m)) == 0))
		return -ENODATA;
	if (n != sizeof(m) || !vmm_msg_ended_valid(&m))
		return -EPROTO;
	vmm_text_clean(m.text);
	*ret = m;
	return 0;
}
