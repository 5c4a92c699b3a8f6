#pragma once

#include <stdbool.h>

#include <base/kerr.h>
#include <base/loop.h>
#include <wire/board.h>
#include <wire/vmm_proto.h>

#include "door.h"
#include "machine.h"

/*
 * The VMM's end of the control socket (wire/vmm_proto.h). Before the loop
 * runs it takes the one BOOT message; from then on it hands requests to
 * the machine, answers back, and ends the loop when the machine ends, on
 * QUIT or SIGTERM, or when the other side breaks the rules. At the end of
 * its stream it ends the loop too, or, with a door (door.h), waits there
 * for the next kosvmd.
 */
#define CONTROL_QUEUE 256

struct control_out {
	uint16_t type;
	uint16_t len;
	union {
		struct vmm_msg_guest_connect guest_connect;
		struct vmm_msg_connected connected;
		struct vmm_msg_attached attached;
	} u;
};

struct control {
	int fd; /* -1: detached */
	struct loop *loop;
	struct machine *machine; /* borrowed, between control_attach and the loop's end */
	struct loop_fd watch;
	struct loop_signal sigterm;
	bool closed;  /* nobody is there to hear ENDED */
	bool running; /* the vCPUs were entered */
	struct door door;
	int end_fd;     /* where the last word is kept too; -1: nowhere */
	uint16_t epoch; /* how often it was detached; the upper part of the ids of connects */
	struct vmm_msg_ended ended;
	/* The answer to the one request there may be; it goes behind what waits. */
	bool reply_waits;
	struct vmm_reply reply;
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

/* The descriptors of the board that are the control's own: -1 in the table afterwards. */
void control_take_files(struct control *c, const struct board *b, int *fds);

/* What machine_new wants; the control is its user. */
extern const struct machine_ops control_machine_ops;

/* Serves the socket and SIGTERM on the loop from now on. */
int control_attach(struct control *c, struct loop *loop, struct machine *machine, struct kerr *e);

/* Tells that the vCPUs run. */
int control_say_running(struct control *c, struct kerr *e);

/*
 * Remembers why it all ends; the first reason counts. control_say_ended
 * writes it down, and sends it, after everything that waits, within a second.
 */
void control_set_ended(struct control *c, enum vmm_end reason, int code, const char *text);
void control_say_ended(struct control *c);
