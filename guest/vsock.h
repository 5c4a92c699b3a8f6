#pragma once

#include <stdint.h>

#include <base/kerr.h>
#include <wire/guest_proto.h>

/*
 * The guest's ends of the service streams (vsock(7)). The ports we dial
 * from are below 1024: only root in the guest can take those, so the host
 * can tell kosvm-init from the agent by the source port.
 */
#define VSOCK_SRC_FIRST                                                                            \
	512u /* each attempt takes the next: one just closed is busy for a while                   \
	      */
#define VSOCK_SRC_END GUEST_SRC_PORT_END

/* There is vsock at all. 0, or -errno with a text. */
int vsock_probe(struct kerr *e);

/* Begins to connect to (host, port) and does not wait: the socket, or -errno. For dial.h. */
int vsock_dial_host(uint32_t port);

/* Listens on port. The fd (non-blocking), or -errno. */
int vsock_listen(uint32_t port, struct kerr *e);

/* Accepts one connection. Peers that are not the host are closed: -EACCES. */
int vsock_accept_host(int listen_fd);
