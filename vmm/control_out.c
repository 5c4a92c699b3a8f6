#include <errno.h>
#include <string.h>

#include "control_private.h"

int control_send_waiting(struct control *c)
{
	while (c->out_count > 0) {
		const struct control_out *o = &c->out[c->out_head];
		int r = vmm_proto_send(c->fd, o->type, &o->u, o->len, NULL, 0);

		if (r < 0)
			return r;
		c->out_head = (c->out_head + 1) % CONTROL_QUEUE;
		c->out_count--;
	}
	if (c->reply_waits) {
		int r = vmm_proto_send(c->fd, VMM_MSG_REPLY, &c->reply, sizeof(c->reply), NULL, 0);

		if (r < 0)
			return r;
		c->reply_waits = false;
	}
	return 0;
}

void control_flush(struct control *c)
{
	int r;

	/* What is said after the end waits for control_say_ended. */
	if (c->ended.reason != 0 || c->fd < 0)
		return;
	r = control_send_waiting(c);
	/* That it is closed is for the reader to find: last words may be in it. */
	(void)loop_fd_mod(&c->watch, r == -EAGAIN ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

int control_put(
	struct control *c, enum vmm_msg_type type, const void *payload, size_t len, unsigned limit)
{
	struct control_out *o;

	if (c->fd < 0)
		return -ENOTCONN;
	if (c->out_count >= limit)
		return -ENOBUFS;
	o = &c->out[(c->out_head + c->out_count) % CONTROL_QUEUE];
	o->type = (uint16_t)type;
	o->len = (uint16_t)len;
	memcpy(&o->u, payload, len);
	c->out_count++;
	control_flush(c);
	return 0;
}

void control_reply(struct control *c, const struct vmm_reply *reply)
{
	c->reply = *reply;
	c->reply_waits = true;
	control_flush(c);
}
