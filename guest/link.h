#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <base/loop.h>

#include "chan.h"
#include "dial.h"

/*
 * The control stream to the host: see wire/guest_proto.h. It is dialled
 * again whenever it is lost; what happened meanwhile is in the next HELLO.
 */
struct link;
struct link_ops {
	/* May come again on a later stream, when the first one was lost in between. */
	void (*config)(struct link *l, const uint8_t *payload, size_t len);
	/* The host knows us already. time_ns: its clock, or 0. */
	void (*welcome)(struct link *l, uint64_t time_ns);
	void (*signal)(struct link *l, int signo);
	void (*shutdown)(struct link *l, uint32_t grace_ms); /* once */
	/* The stream stands, or was lost (err 0: closed by the host; else -errno). */
	void (*up)(struct link *l);
	void (*lost)(struct link *l, int err);
};

struct link {
	const struct link_ops *ops;
	struct dial dial;
	bool answered; /* CONFIG or WELCOME came on this stream */
	bool stopping;
	bool said_failed; /* on this stream */
	enum guest_phase phase;
	uint32_t pid;
	int status;       /* of wait(2), with GUEST_PHASE_ENDED */
	char failed[512]; /* the agent never started: why; else "" */
	struct chan chan;
};
#define LINK_GRACE_MS 10000u /* when SHUTDOWN names none */

/* open: see dial.h. Nothing starts. */
void link_init(
	struct link *l, struct loop *loop, const struct link_ops *ops, int (*open)(uint32_t port));

/* Dials the host's control port; HELLO is said when it answers. */
void link_start(struct link *l);

/* What the host has to know. Said now, or with the next HELLO. */
void link_ready(struct link *l, uint32_t pid);
void link_failed(struct link *l, const char *text);
void link_exited(struct link *l, int status);

/* A text for the host's log; lost when the link is not up. */
void link_error(struct link *l, const char *text);

/* Says BYE and waits, bounded, until the host has read it and closed. No stream after that. */
void link_bye(struct link *l);

void link_done(struct link *l);
