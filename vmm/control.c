#include "control.h"

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
	close_fd(&c->fd);
}

static void close_fds(int *fds, size_t n)
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
		close_fds(msg.fds, msg.nfds);
		return kerr_set(e, EPROTO,
			"control socket: the first message has type %u: expected BOOT", msg.type);
	}
	r = board_decode(msg.u.board, msg.len, (unsigned)msg.nfds, ret, e);
	if (r < 0) {
		close_fds(msg.fds, msg.nfds);
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

static void end(struct control *c, enum vmm_end reason, int code, const char *text)
{
	control_set_ended(c, reason, code, text);
	/* Nothing more is served: the loop returns after this round. */
	loop_fd_del(&c->watch);
	loop_quit(c->loop, 0);
}

/* Sends what waits until the socket is full. 0, -EAGAIN or -errno. */
static int send_waiting(struct control *c)
{
	while (c->out_count > 0) {
		const struct control_out *o = &c->out[c->out_head];
		int r = vmm_proto_send(c->fd, o->type, &o->u, o->len, NULL, 0);

		if (r < 0)
			return r;
		c->out_head = (c->out_head + 1) % CONTROL_QUEUE;
		c->out_count--;
	}
	return 0;
}

static void flush_out(struct control *c)
{
	int r;

	/* What is said after the end waits for control_say_ended. */
	if (c->ended.reason != 0)
		return;
	r = send_waiting(c);
	if (r < 0 && r != -EAGAIN) {
		c->closed = true;
		end(c, VMM_END_QUIT, 0, "the control socket was closed");
		return;
	}
	(void)loop_fd_mod(&c->watch, r == -EAGAIN ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Queues one message, if fewer than `limit` wait, and sends what can be sent. */
static int put(
	struct control *c, enum vmm_msg_type type, const void *payload, size_t len, unsigned limit)
{
	struct control_out *o;

	if (c->out_count >= limit)
		return -ENOBUFS;
	o = &c->out[(c->out_head + c->out_count) % CONTROL_QUEUE];
	o->type = (uint16_t)type;
	o->len = (uint16_t)len;
	memcpy(&o->u, payload, len);
	c->out_count++;
	flush_out(c);
	return 0;
}

static void on_machine_ended(void *user, enum vmm_end reason, const char *text)
{
	end(user, reason, EIO, text);
}

/*
 * The guest decides how many of these there are, so they get half of the
 * queue; what does not fit is refused, as by a busy host.
 */
static void on_guest_connect(
	void *user, uint64_t id, uint64_t dst_cid, uint32_t dst_port, uint32_t src_port)
{
	struct control *c = user;
	struct vmm_msg_guest_connect msg = {
		.id = id,
		.dst_cid = dst_cid,
		.dst_port = dst_port,
		.src_port = src_port,
	};

	if (put(c, VMM_MSG_GUEST_CONNECT, &msg, sizeof(msg), CONTROL_QUEUE / 2) < 0)
		virtio_vsock_refuse(machine_vsock(c->machine), id);
}

static void say_connected(struct control *c, uint64_t id, int result)
{
	struct vmm_msg_connected msg = { .id = id, .result = result };

	if (put(c, VMM_MSG_CONNECTED, &msg, sizeof(msg), CONTROL_QUEUE) < 0)
		end(c, VMM_END_ERROR, ENOBUFS, "control socket: the answers are not read");
}

static void on_connect_done(void *user, uint64_t id, int result)
{
	say_connected(user, id, result);
}

const struct machine_ops control_machine_ops = {
	.ended = on_machine_ended,
	.guest_connect = on_guest_connect,
	.connect_done = on_connect_done,
};

static void got_connect(struct control *c, struct vmm_msg *msg)
{
	struct virtio_vsock *v = machine_vsock(c->machine);
	const struct vmm_msg_connect *req = &msg->u.connect;
	int r = io_set_nonblock(msg->fds[0], 1);

	if (r == 0 && !v)
		r = -ENODEV;
	if (r == 0)
		r = virtio_vsock_connect(
			v, req->id, req->src_cid, req->port, steal_fd(&msg->fds[0]));
	if (r < 0)
		say_connected(c, req->id, r);
}

static void got_accept(struct control *c, struct vmm_msg *msg)
{
	struct virtio_vsock *v = machine_vsock(c->machine);

	if (!v)
		return;
	if (io_set_nonblock(msg->fds[0], 1) < 0)
		virtio_vsock_refuse(v, msg->u.id.id);
	else
		virtio_vsock_accept(v, msg->u.id.id, steal_fd(&msg->fds[0]));
}

static void got_refuse(struct control *c, struct vmm_msg *msg)
{
	struct virtio_vsock *v = machine_vsock(c->machine);

	if (v)
		virtio_vsock_refuse(v, msg->u.id.id);
}

static void got_quit(struct control *c, struct vmm_msg *msg)
{
	(void)msg;
	end(c, VMM_END_QUIT, 0, "as told");
}

static void (*const handlers[])(struct control *c, struct vmm_msg *msg) = {
	[VMM_MSG_CONNECT] = got_connect,
	[VMM_MSG_ACCEPT] = got_accept,
	[VMM_MSG_REFUSE] = got_refuse,
	[VMM_MSG_QUIT] = got_quit,
};

static void dispatch(struct control *c, struct vmm_msg *msg)
{
	char text[80];

	if (msg->type < array_size(handlers) && handlers[msg->type]) {
		handlers[msg->type](c, msg);
	} else {
		(void)snprintf(text, sizeof(text),
			"control socket: message of type %u is not allowed here", msg->type);
		end(c, VMM_END_ERROR, EPROTO, text);
	}
	close_fds(msg->fds, msg->nfds);
}

/* Reads requests; false when there are none for now, or never again. */
static bool receive_one(struct control *c)
{
	struct vmm_msg msg;
	int r = vmm_proto_recv(c->fd, &msg);

	if (r > 0) {
		dispatch(c, &msg);
		return c->ended.reason == 0;
	}
	if (r == -EAGAIN)
		return false;
	c->closed = r == 0;
	if (r == 0)
		end(c, VMM_END_QUIT, 0, "the control socket was closed");
	else
		end(c, VMM_END_ERROR, EPROTO, "control socket: malformed message");
	return false;
}

static void control_event(struct loop_fd *w, uint32_t events)
{
	struct control *c = container_of(w, struct control, watch);

	if (events & EPOLLOUT)
		flush_out(c);
	for (int i = 0; i < CONTROL_BATCH && c->ended.reason == 0; i++) {
		if (!receive_one(c))
			return;
	}
}

static void got_sigterm(struct loop_signal *s, int signo)
{
	struct control *c = container_of(s, struct control, sigterm);

	(void)signo;
	end(c, VMM_END_QUIT, 0, "by SIGTERM");
}

int control_attach(struct control *c, struct loop *loop, struct machine *machine, struct kerr *e)
{
	sigset_t set;
	int r = io_set_nonblock(c->fd, 1);

	c->loop = loop;
	c->machine = machine;
	sigterm_set(&set);
	if (r == 0)
		r = loop_signal_add(loop, &c->sigterm, &set);
	if (r == 0)
		r = loop_fd_add(loop, &c->watch, c->fd, EPOLLIN);
	return r < 0 ? kerr_errno(e, -r, "control socket") : 0;
}

int control_say_running(struct control *c, struct kerr *e)
{
	int r = vmm_proto_send(c->fd, VMM_MSG_RUNNING, NULL, 0, NULL, 0);

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

	if (now >= deadline)
		return -ETIMEDOUT;
	(void)poll(&p, 1, (int)((deadline - now) / CLOCK_NS_PER_MS) + 1);
	return 0;
}

void control_say_ended(struct control *c)
{
	uint64_t deadline = clock_mono_ns() + ENDED_DEADLINE_NS;
	int r = -EAGAIN;

	if (c->fd < 0 || c->closed)
		return;
	while (r == -EAGAIN) {
		r = send_waiting(c);
		if (r == 0)
			r = vmm_proto_send(
				c->fd, VMM_MSG_ENDED, &c->ended, sizeof(c->ended), NULL, 0);
		if (r == -EAGAIN && wait_for_room(c, deadline) < 0)
			return;
	}
}
