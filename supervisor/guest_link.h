#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <base/loop.h>
#include <manifests/manifest.h>
#include <wire/guest_proto.h>

#include "agent_log.h"

/*
 * The streams between kosvmd and one guest's kosvm-init: control and log.
 * All that arrives is the guest's word; a frame that breaks the format
 * ends the link for good with fault(). A stream that is merely lost is no
 * fault: the guest dials again, and says in its HELLO what was missed.
 * Loop thread only.
 */
struct guest_link;

/* From the loop. None may free the link. At most once in a link's life: ready, exited, fault. */
struct guest_link_ops {
	void (*ready)(void *user);
	/* After ready. code -1 when a signal ended it. */
	void (*exited)(void *user, int code, int signal);
	/* The guest says that it cannot start, or broke the protocol; printable ASCII. */
	void (*fault)(void *user, const char *text);
	/* The guest answered a ping. May be NULL. */
	void (*beat)(void *user);
	/* The control stream stands (true: HELLO came) or was lost. May be NULL. */
	void (*linked)(void *user, bool up);
};

struct guest_link_config {
	const struct manifest *manifest; /* borrowed for the link's lifetime */
	struct agent_log *log;           /* borrowed */
	const struct guest_link_ops *ops;
	void *user;
	/* Changes to the manifest for CONFIG; borrowed for the link's lifetime. */
	const char *hostname;   /* NULL: the manifest's name */
	char *const *extra_env; /* NULL-terminated NAME=value, later than the manifest's; or NULL */
	bool tty;               /* the agent runs on a terminal of rows x cols (0: 24 x 80) */
	unsigned rows, cols;
	bool open_stdin; /* ATTACH may feed its input, which else is empty */
	/*
	 * An earlier kosvmd started this guest and its agent was ready then:
	 * ready() is not called again. (Without it, too, a guest whose agent
	 * runs already is no error: ready() comes with its HELLO.)
	 */
	bool resumed;
};

int guest_link_new(struct guest_link **ret, struct loop *loop, const struct guest_link_config *cfg,
	struct kerr *e);
void guest_link_free(struct guest_link *g);

/*
 * The guest connected to one of its host's ports: gives the other end of
 * a fresh stream in *ret_fd. -ECONNREFUSED: not a port of ours, or open
 * already, or sooner than GUEST_LINK_PAUSE_MS after the last one, or after
 * fault(), or asked for from a port that any program in the guest may bind:
 * kosvm-init, as root, dials from below 1024. It tries again.
 */
#define GUEST_LINK_PAUSE_MS 50u
int guest_link_accept(struct guest_link *g, uint32_t port, uint32_t src_port, int *ret_fd);

/* The guest said HELLO and its control stream is open. */
bool guest_link_is_up(const struct guest_link *g);

/* Asks for an orderly end. -ENOTCONN while it is not up. */
int guest_link_shutdown(struct guest_link *g, uint64_t grace_ns);

/*
 * Asks for a beat. -ENOTCONN while it is not up; -EAGAIN when the guest
 * does not even read. Pings that were not answered do not add up.
 */
int guest_link_ping(struct guest_link *g);

/* Has a signal sent to the agent's process: not to its children. -ENOTCONN, -EAGAIN, -EINVAL. */
int guest_link_signal(struct guest_link *g, int signo);

/* Takes what is still in the streams; called when the VMM has ended. */
void guest_link_drain(struct guest_link *g);
