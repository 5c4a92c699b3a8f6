/* What the machine says to kosvmd, and what kosvmd may ask. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <devices/virtio_vsock.h>

#include "control_private.h"

/* Ids of connects: kosvmd's own below, the epoch above. */
#define EPOCH_SHIFT 48
#define EPOCH_UNIT  (UINT64_C(1) << EPOCH_SHIFT)

static void on_machine_ended(void *user, enum vmm_end reason, const char *text)
{
	control_end(user, reason, EIO, text);
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

	if (control_put(c, VMM_MSG_GUEST_CONNECT, &msg, sizeof(msg), CONTROL_QUEUE / 2) < 0)
		virtio_vsock_refuse(machine_vsock(c->machine), id);
}

static void say_connected(struct control *c, uint64_t id, int result)
{
	struct vmm_msg_connected msg = { .id = id, .result = result };

	if (control_put(c, VMM_MSG_CONNECTED, &msg, sizeof(msg), CONTROL_QUEUE) == -ENOBUFS)
		control_end(c, VMM_END_ERROR, ENOBUFS, "control socket: the answers are not read");
}

static void on_connect_done(void *user, uint64_t id, int result)
{
	struct control *c = user;

	/* What an earlier kosvmd asked for is nothing to this one, whose ids may be the same. */
	if (id >> EPOCH_SHIFT == c->epoch)
		say_connected(c, id & (EPOCH_UNIT - 1), result);
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
	if (r == 0 && req->id >= EPOCH_UNIT)
		r = -EINVAL;
	if (r == 0)
		r = virtio_vsock_connect(v, c->epoch * EPOCH_UNIT + req->id, req->src_cid,
			req->port, steal_fd(&msg->fds[0]));
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
	control_end(c, VMM_END_QUIT, 0, "as told");
}

uint32_t control_flags(const struct control *c)
{
	return (c->running ? VMM_F_RUNNING : 0) | (machine_held(c->machine) ? VMM_F_PAUSED : 0);
}

static void reply(struct control *c, uint64_t id)
{
	struct vmm_reply r = {
		.id = id,
		.flags = control_flags(c),
	};

	/* One that is asked before the answer to the last can be given is not listened to. */
	if (c->reply_waits) {
		control_end(c, VMM_END_ERROR, EPROTO,
			"control socket: a request before the reply to the last");
		return;
	}
	machine_stats(c->machine, &r.stats);
	control_reply(c, &r);
}

static void got_pause(struct control *c, struct vmm_msg *msg)
{
	machine_hold(c->machine, true);
	reply(c, msg->u.id.id);
}

static void got_resume(struct control *c, struct vmm_msg *msg)
{
	machine_hold(c->machine, false);
	reply(c, msg->u.id.id);
}

static void got_stats(struct control *c, struct vmm_msg *msg)
{
	reply(c, msg->u.id.id);
}

static void got_limits(struct control *c, struct vmm_msg *msg)
{
	machine_limit(c->machine, &msg->u.limits.disk, &msg->u.limits.vsock);
	reply(c, msg->u.limits.id);
}

static void (*const handlers[])(struct control *c, struct vmm_msg *msg) = {
	[VMM_MSG_CONNECT] = got_connect,
	[VMM_MSG_ACCEPT] = got_accept,
	[VMM_MSG_REFUSE] = got_refuse,
	[VMM_MSG_QUIT] = got_quit,
	[VMM_MSG_PAUSE] = got_pause,
	[VMM_MSG_RESUME] = got_resume,
	[VMM_MSG_STATS] = got_stats,
	[VMM_MSG_LIMITS] = got_limits,
};

void control_dispatch(struct control *c, struct vmm_msg *msg)
{
	char text[80];

	if (msg->type < array_size(handlers) && handlers[msg->type]) {
		handlers[msg->type](c, msg);
	} else {
		(void)snprintf(text, sizeof(text),
			"control socket: message of type %u is not allowed here", msg->type);
		control_end(c, VMM_END_ERROR, EPROTO, text);
	}
	control_close_fds(msg->fds, msg->nfds);
}
