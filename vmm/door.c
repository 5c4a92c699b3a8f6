#include "door.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <wire/vmm_proto.h>

static void caller_forget(struct door *d)
{
	loop_fd_del(&d->caller_watch);
	close_fd(&d->caller);
}

/* Without a hint in its time how much of it was right. */
static bool same_id(const uint8_t *a, const uint8_t *b)
{
	unsigned differ = 0;

	for (unsigned i = 0; i < BOARD_BOOT_ID_LEN; i++)
		differ |= a[i] ^ b[i];
	return differ == 0;
}

static void caller_speaks(struct loop_fd *w, uint32_t events)
{
	struct door *d = container_of(w, struct door, caller_watch);
	struct vmm_msg msg;
	int r = vmm_proto_recv(d->caller, &msg);
	bool right;

	(void)events;
	if (r == -EAGAIN)
		return;
	right = r == 1 && msg.type == VMM_MSG_ATTACH && same_id(msg.u.attach.boot_id, d->boot_id);
	for (size_t i = 0; r == 1 && i < msg.nfds; i++)
		close_fd(&msg.fds[i]);
	if (right) {
		int fd = d->caller;

		loop_fd_del(w);
		d->caller = -1;
		if (!d->enter(d, fd))
			(void)close(fd);
		return;
	}
	caller_forget(d);
}

static void knock(struct loop_fd *w, uint32_t events)
{
	struct door *d = container_of(w, struct door, watch);
	int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	caller_forget(d);
	d->caller_watch.fn = caller_speaks;
	if (loop_fd_add(w->loop, &d->caller_watch, fd, EPOLLIN) < 0)
		(void)close(fd);
	else
		d->caller = fd;
}

void door_init(struct door *d, int listen_fd, const uint8_t boot_id[static BOARD_BOOT_ID_LEN],
	bool (*enter)(struct door *d, int fd))
{
	*d = (struct door)DOOR_INIT;
	d->listen_fd = listen_fd;
	for (unsigned i = 0; i < BOARD_BOOT_ID_LEN; i++)
		d->boot_id[i] = boot_id[i];
	d->watch.fn = knock;
	d->enter = enter;
}

static int option(int fd, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

int door_open(struct door *d, struct loop *loop, struct kerr *e)
{
	int r;

	if (d->listen_fd < 0)
		return 0;
	if (option(d->listen_fd, SO_DOMAIN) != AF_UNIX ||
		option(d->listen_fd, SO_TYPE) != SOCK_SEQPACKET ||
		option(d->listen_fd, SO_ACCEPTCONN) != 1)
		return kerr_set(e, ENOTSOCK,
			"board: node kosvm: property kosvm,listen-fd: not a listening unix "
			"SOCK_SEQPACKET socket");
	r = io_set_nonblock(d->listen_fd, 1);
	if (r == 0)
		r = loop_fd_add(loop, &d->watch, d->listen_fd, EPOLLIN);
	return r < 0 ? kerr_errno(e, -r, "listening socket") : 0;
}

void door_done(struct door *d)
{
	caller_forget(d);
	loop_fd_del(&d->watch);
	close_fd(&d->listen_fd);
}
