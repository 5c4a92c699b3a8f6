#pragma once

#include <stdbool.h>

#include <base/kerr.h>
#include <base/loop.h>
#include <wire/board.h>
#include <wire/vmm_proto.h>

#include "machine.h"

/*
 * The VMM's end of the control socket (wire/vmm_proto.h). Before the loop
 * runs it takes the one BOOT message; from then on it hands requests to
 * the machine, answers back, and ends the loop when the machine ends, on
 * QUIT, SIGTERM or end of stream, or when the other side breaks the rules.
 */
#define CONTROL_QUEUE 256

struct control_out {
	uint16_t type;
	uint16_t len;
	union {
		struct vmm_msg_guest_connect guest_connect;
		struct vmm_msg_connected connected;
	} u;
};

struct control {
	int fd;
	struct loop *loop;
	struct machine *machine; /* borrowed, between control_attach and the loop's end */
	struct loop_fd watch;
	struct loop_signal sigterm;
	bool closed; /* nobody is there to hear ENDED */
	struct vmm_msg_ended ended;
	/* What the socket had no room for, a ring. */
	unsigned out_head;
	unsigned out_count;
	struct control_out out[CONTROL_QUEUE];
};

/* fd: the inherited socket; taken over. -ENOTSOCK with a message when it is none. */
int control_init(struct control *c, int fd, struct kerr *e);
void control_done(struct control *c);

/* Waits for BOOT; *fds (FDPASS_MAX_FDS of them) become the caller's. -ECANCELED: end of stream. */
int control_receive_boot(
	struct control *c, struct board *ret, int *fds, size_t *ret_nfds, struct kerr *e);

/* What machine_new wants; the control is its user. */
extern const struct machine_ops control_machine_ops;

/* Serves the socket and SIGTERM on the loop from now on. */
int control_attach(struct control *c, struct loop *loop, struct machine *machine, struct kerr *e);

/* Tells that the vCPUs run. */
int control_say_running(struct control *c, struct kerr *e);

/*
 * Remembers why it all ends; the first reason counts. control_say_ended
 * sends it, after everything that waits, within a second.
 */
void control_set_ended(struct control *c, enum vmm_end reason, int code, const char *text);
void control_say_ended(struct control *c);
