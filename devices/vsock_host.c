#include "vsock_dev.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>

int vsock_host_attach(struct vsock_conn *c, int fd, void (*fn)(struct loop_fd *w, uint32_t ev))
{
	_cleanup_close_ int owned = fd;
	struct stat st;
	int flags, r;

	if (fstat(fd, &st) < 0)
		return -errno;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	c->w.fn = fn;
	/* Edges: one registration for life, however often the direction stalls. */
	r = loop_fd_add(c->v->loop, &c->w, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	if (r < 0)
		return r;
	c->is_socket = S_ISSOCK(st.st_mode);
	/* A pipe's end knows one direction only. */
	c->write_only = (flags & O_ACCMODE) == O_WRONLY;
	c->read_only = (flags & O_ACCMODE) == O_RDONLY;
	c->fd = steal_fd(&owned);
	return 0;
}

void vsock_host_close(struct vsock_conn *c)
{
	loop_fd_del(&c->w);
	close_fd(&c->fd);
	vsock_ring_clear(&c->ring);
}

void vsock_host_shutdown(struct vsock_conn *c, bool rd)
{
	/*
	 * A pipe needs none (its other direction never was), and for a
	 * terminal there is no half-close: the guest's full close ends it.
	 */
	if (c->is_socket && c->fd >= 0)
		(void)shutdown(c->fd, rd ? SHUT_RD : SHUT_WR);
}

ssize_t vsock_host_read(struct vsock_conn *c, const struct iovec *iov, unsigned count)
{
	ssize_t n;

	do
		n = readv(c->fd, iov, (int)count);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	if (errno == EAGAIN)
		c->readable = false;
	return -errno;
}

/* Bytes taken, or -errno. MSG_NOSIGNAL exists for sockets only; see the header about pipes. */
static ssize_t host_send(struct vsock_conn *c, struct iovec *iov, unsigned count)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = count };
	ssize_t n;

	do
		n = c->is_socket ? sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT)
				 : writev(c->fd, iov, (int)count);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	if (errno == EAGAIN)
		c->writable = false;
	return -errno;
}

int vsock_host_write(
	struct vsock_conn *c, const struct virtq_chain *chain, uint32_t len, struct iovec *scratch)
{
	bool may = c->ring.len == 0 && c->writable && len > 0;
	uint32_t room = may ? vsock_rate_room(&c->v->rate, c, len) : 0;
	uint32_t done = 0;

	while (c->writable && done < room) {
		unsigned n = vsock_packet_payload(
			chain->iov, chain->out_count, done, room - done, scratch);
		ssize_t r = host_send(c, scratch, n);

		if (r == -EAGAIN)
			break;
		if (r < 0)
			return (int)r;
		done += (uint32_t)r;
		vsock_rate_spent(&c->v->rate, c, (uint32_t)r);
	}
	vsock_conn_forwarded(c, done);
	return vsock_ring_put(&c->ring, chain->iov, chain->out_count, (size_t)VSOCK_HDR_LEN + done,
		len - done, c->credit.buf_alloc);
}

/* Of the two parts of a ring: n at most. How many of them are left. */
static unsigned trim(struct iovec iov[static 2], unsigned count, uint32_t n)
{
	if (iov[0].iov_len >= n) {
		iov[0].iov_len = n;
		return 1;
	}
	if (count == 2 && iov[1].iov_len > n - iov[0].iov_len)
		iov[1].iov_len = n - iov[0].iov_len;
	return count;
}

int vsock_host_drain(struct vsock_conn *c)
{
	while (c->ring.len > 0) {
		uint32_t room = vsock_rate_room(&c->v->rate, c, (uint32_t)c->ring.len);
		struct iovec iov[2];
		ssize_t r;

		if (room == 0)
			return 0;
		r = host_send(c, iov, trim(iov, vsock_ring_peek(&c->ring, iov), room));
		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return (int)r;
		vsock_rate_spent(&c->v->rate, c, (uint32_t)r);
		vsock_ring_skip(&c->ring, (uint32_t)r);
		vsock_conn_forwarded(c, (uint32_t)r);
	}
	return 0;
}
