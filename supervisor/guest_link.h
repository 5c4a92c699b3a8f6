#pragma once

#include <stdint.h>

#include <base/loop.h>
#include <manifests/manifest.h>
#include <wire/guest_proto.h>

#include "agent_log.h"

/*
 * The streams between kosvmd and one guest's kosvm-init: control and log.
 * All that arrives is the guest's word; a frame that breaks the format
 * ends the link with fault(). Loop thread only.
 */
struct guest_link;

struct guest_link_ops {
	void (*ready)(void *user);
	void (*exited)(void *user, int code, int signal); /* code -1 when a signal ended it */
	/* The guest says that it cannot start, or broke the protocol. */
	void (*fault)(void *user, const char *text);
};

struct guest_link_config {
	const struct manifest *manifest; /* borrowed for the link's lifetime */
	struct agent_log *log;           /* borrowed */
	const struct guest_link_ops *ops;
	void *user;
};

int guest_link_new(struct guest_link **ret, struct loop *loop, const struct guest_link_config *cfg,
	struct kerr *e);
void guest_link_free(struct guest_link *g);

/*
 * The guest connected to one of its host's ports: gives the other end of
 * a fresh stream in *ret_fd. -ECONNREFUSED: not a port of ours, or taken
 * (each once in a boot), or asked for from a port that any program in the
 * guest may bind: kosvm-init, as root, dials from below 1024.
 */
int guest_link_accept(struct guest_link *g, uint32_t port, uint32_t src_port, int *ret_fd);

/* Asks for an orderly end. -ENOTCONN before the guest said HELLO. */
int guest_link_shutdown(struct guest_link *g, uint64_t grace_ns);

/* Takes what is still in the streams; called when the VMM has ended. */
void guest_link_drain(struct guest_link *g);
