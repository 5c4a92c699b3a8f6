#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <base/loop.h>

#include "chan.h"

/* The control stream to the host: see wire/guest_proto.h. */
struct link;
struct link_ops {
	void (*config)(struct link *l, const uint8_t *payload, size_t len); /* once */
	void (*shutdown)(struct link *l, uint32_t grace_ms);                /* once */
	/* The host is gone, or broke the rules (err < 0). */
	void (*lost)(struct link *l, int err);
};

struct link {
	const struct link_ops *ops;
	bool configured, stopping;
	struct chan chan;
};
#define LINK_GRACE_MS 10000u /* when SHUTDOWN names none */

/* fd: the connected stream, the link's on success. Says HELLO. */
int link_start(struct link *l, struct loop *loop, int fd, const struct link_ops *ops);

/* Each is a no-op when the link is not open. */
void link_ready(struct link *l, uint32_t pid);
void link_error(struct link *l, const char *text);
void link_exited(struct link *l, int status);

/* Says BYE and waits, bounded, until the host has read it and closed. */
void link_bye(struct link *l);
