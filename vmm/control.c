#include "control_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>
#include <base/log.h>
#include <devices/virtio_vsock.h>

/* Requests handled before other watchers get their turn. */
#define CONTROL_BATCH     16
#define ENDED_DEADLINE_NS CLOCK_NS_PER_S

static void control_event(struct loop_fd *w, uint32_t events);
static void got_sigterm(struct loop_signal *s, int signo);

int control_init(struct control *c, int fd, struct kerr *e)
{
	int type = 0;
	int domain = 0;
	socklen_t len = sizeof(int);

	c->fd = -1;
	c->end_fd = -1;
	c->door = (struct door)DOOR_INIT;
	c->watch = (struct loop_fd){ .fn = control_event, .fd = -1 };
	c->sigterm = (struct loop_signal){ .fn = got_sigterm, .w.fd = -1 };
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 ||
		getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || domain != AF_UNIX ||
		type != SOCK_SEQPACKET)
		return kerr_set(e, ENOTSOCK,
			"descriptor %d is not a unix SOCK_SEQPACKET socket: this program is "
			"started by kosvmd, not by hand",
			fd);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return kerr_errno(e, errno, "control socket");
	c->fd = fd;
	return 0;
}

void control_done(struct control *c)
{
	loop_fd_del(&c->watch);
	loop_signal_done(&c->sigterm);
	door_done(&c->door);
	close_fd(&c->end_fd);
	close_fd(&c->fd);
}

void control_close_fds(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close_fd(&fds[i]);
}

static void sigterm_set(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGTERM);
}

/* The socket blocks until control_attach. */
int control_receive_boot(
	struct control *c, struct board *ret, int *fds, size_t *ret_nfds, struct kerr *e)
{
	struct vmm_msg msg;
	sigset_t set;
	int r = vmm_proto_recv(c->fd, &msg);

	if (r == 0) {
		c->closed = true;
		return kerr_set(e, ECANCELED, "the control socket was closed before BOOT");
	}
	if (r < 0)
		return kerr_errno(e, -r, "control socket: the first message is malformed");
	if (msg.type != VMM_MSG_BOOT) {
		control_close_fds(msg.fds, msg.nfds);
		return kerr_set(e, EPROTO,
			"control socket: the first message has type %u: expected BOOT", msg.type);
	}
	r = board_decode(msg.u.board, msg.len, (unsigned)msg.nfds, ret, e);
	if (r < 0) {
		control_close_fds(msg.fds, msg.nfds);
		return r;
	}
	memcpy(fds, msg.fds, msg.nfds * sizeof(int));
	*ret_nfds = msg.nfds;
	/* There is something to end in order from here on: SIGTERM waits for the loop. */
	sigterm_set(&set);
	return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? kerr_errno(e, errno, "sigprocmask") : 0;
}

void control_set_ended(struct control *c, enum vmm_end reason, int code, const char *text)
{
	if (c->ended.reason != 0)
		return;
	c->ended.reason = reason;
	c->ended.code = reason == VMM_END_ERROR ? (uint32_t)code : 0;
	(void)snprintf(c->ended.text, sizeof(c->ended.text), "%s", text);
}

void control_end(struct control *c, enum vmm_end reason, int code, const char *text)
{
	control_set_ended(c, reason, code, text);
	loop_fd_del(&c->watch);
	loop_quit(c->loop, 0);
}

/*
 * Detached: what only a kosvmd can answer is refused, what goes on without
 * one goes on.
 */
static void detach(struct control *c)
{
	struct virtio_vsock *v = machine_vsock(c->machine);

	loop_fd_del(&c->watch);
	close_fd(&c->fd);
	c->epoch++;
	c->out_count = 0;
	c->reply_waits = false;
	if (v)
		virtio_vsock_refuse_all(v);
}

void control_lost(struct control *c)
{
	if (c->door.listen_fd >= 0) {
		detach(c);
		return;
	}
	c->closed = true;
	control_end(c, VMM_END_QUIT, 0, "the control socket was closed");
}

static int serve_socket(struct control *c)
{
	int r = io_set_nonblock(c->fd, 1);

	return r < 0 ? r : loop_fd_add(c->loop, &c->watch, c->fd, EPOLLIN);
}

/* A kosvmd that knows the boot id: the next one, unless the last is still there. */
static bool enter(struct door *d, int fd)
{
	struct control *c = container_of(d, struct control, door);
	struct vmm_msg_attached msg = { 0 };
	char byte;

	/* Its end may not have been read yet. */
	if (c->fd >= 0 && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		detach(c);
	if (c->fd >= 0 || c->ended.reason != 0)
		return false;
	c->fd = fd;
	if (serve_socket(c) < 0) {
		c->fd = -1;
		return false;
	}
	msg.flags = control_flags(c);
	(void)control_put(c, VMM_MSG_ATTACHED, &msg, sizeof(msg), CONTROL_QUEUE);
	return true;
}

static int take(int *fds, int index)
{
	return index == BOARD_NO_FD ? -1 : steal_fd(&fds[index]);
}

void control_take_files(struct control *c, const struct board *b, int *fds)
{
	door_init(&c->door, take(fds, b->listen_fd), b->boot_id, enter);
	c->end_fd = take(fds, b->end_fd);
}

/* Reads requests; false when there are none for now, or never again. */
static bool receive_one(struct control *c)
{
	struct vmm_msg msg;
	int r = vmm_proto_recv(c->fd, &msg);

	if (r > 0) {
		control_dispatch(c, &msg);
		return c->ended.reason == 0 && c->fd >= 0;
	}
	if (r == -EAGAIN)
		return false;
	if (r == 0)
		control_lost(c);
	else
		control_end(c, VMM_END_ERROR, EPROTO, "control socket: malformed message");
	return false;
}

static void control_event(struct loop_fd *w, uint32_t events)
{
	struct control *c = container_of(w, struct control, watch);

	if (events & EPOLLOUT)
		control_flush(c);
	for (int i = 0; i < CONTROL_BATCH && c->ended.reason == 0 && c->fd >= 0; i++) {
		if (!receive_one(c))
			return;
	}
}

static void got_sigterm(struct loop_signal *s, int signo)
{
	struct control *c = container_of(s, struct control, sigterm);

	(void)signo;
	control_end(c, VMM_END_QUIT, 0, "by SIGTERM");
}

int control_attach(struct control *c, struct loop *loop, struct machine *machine, struct kerr *e)
{
	sigset_t set;
	int r;

	c->loop = loop;
	c->machine = machine;
	sigterm_set(&set);
	r = loop_signal_add(loop, &c->sigterm, &set);
	if (r == 0)
		r = serve_socket(c);
	if (r == 0)
		return door_open(&c->door, loop, e);
	return kerr_errno(e, -r, "control socket");
}

int control_say_running(struct control *c, struct kerr *e)
{
	int r = vmm_proto_send(c->fd, VMM_MSG_RUNNING, NULL, 0, NULL, 0);

	c->running = true;
	/* Closed already: the loop's first round reads the end of stream. */
	if (r == -EPIPE)
		return 0;
	return r < 0 ? kerr_errno(e, -r, "control socket") : 0;
}

/* 0 when the socket took it; waits for room until the deadline. */
static int wait_for_room(struct control *c, uint64_t deadline)
{
	struct pollfd p = { .fd = c->fd, .events = POLLOUT };
	uint64_t now = clock_mono_ns();
	struct timespec left;

	if (now >= deadline)
		return -ETIMEDOUT;
	left = (struct timespec){
		.tv_sec = (time_t)((deadline - now) / CLOCK_NS_PER_S),
		.tv_nsec = (long)((deadline - now) % CLOCK_NS_PER_S),
	};
	/* Not poll: after a stop it goes on by a system call of its own. */
	(void)ppoll(&p, 1, &left, NULL);
	return 0;
}

/* For a kosvmd that is not there; the space is taken already. */
static void write_down(struct control *c)
{
	if (c->end_fd >= 0 && pwrite(c->end_fd, &c->ended, sizeof(c->ended), 0) < 0)
		log_error("the last word cannot be written: %s", strerror(errno));
}

void control_say_ended(struct control *c)
{
	uint64_t deadline = clock_mono_ns() + ENDED_DEADLINE_NS;
	int r = -EAGAIN;

	write_down(c);
	if (c->fd < 0 || c->closed)
		return;
	while (r == -EAGAIN) {
		r = control_send_waiting(c);
		if (r == 0)
			r = vmm_proto_send(
				c->fd, VMM_MSG_ENDED, &c->ended, sizeof(c->ended), NULL, 0);
		if (r == -EAGAIN && wait_for_room(c, deadline) < 0)
			return;
	}
}
