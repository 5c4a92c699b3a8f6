#pragma once

#include "control.h"

/* ---- control.c ---- */

/* Nothing more is served: the loop returns after this round. */
void control_end(struct control *c, enum vmm_end reason, int code, const char *text);
/* The other side is gone: to the door, or the end. */
void control_lost(struct control *c);
void control_close_fds(int *fds, size_t n);

/* ---- control_out.c: what the socket has no room for waits in a ring ---- */

/*
 * Queues one message, if fewer than `limit` wait, and sends what can be
 * sent. -ENOBUFS; -ENOTCONN: detached.
 */
int control_put(
	struct control *c, enum vmm_msg_type type, const void *payload, size_t len, unsigned limit);
/* Puts the one reply there may be behind what waits. */
void control_reply(struct control *c, const struct vmm_reply *reply);
/* Sends what waits until the socket is full. 0, -EAGAIN or -errno. */
int control_send_waiting(struct control *c);
void control_flush(struct control *c);

/* ---- control_requests.c ---- */
uint32_t control_flags(const struct control *c); /* enum vmm_flags, as of now */
void control_dispatch(struct control *c, struct vmm_msg *msg);
