#pragma once

#include <stdint.h>

#include <base/kerr.h>

/*
 * The guest's ends of the service streams (vsock(7)). The ports we dial
 * from are below 1024: only root in the guest can take those, so the host
 * can tell kosvm-init from the agent by the source port.
 */
#define VSOCK_SRC_CONTROL 1022u
#define VSOCK_SRC_LOG     1023u

/* Connects to (host, port), for at most timeout_ms. The fd, or -errno. */
int vsock_dial_host(uint32_t port, uint32_t src_port, unsigned timeout_ms, struct kerr *e);

/* Listens on port. The fd (non-blocking), or -errno. */
int vsock_listen(uint32_t port, struct kerr *e);

/* Accepts one connection. Peers that are not the host are closed: -EACCES. */
int vsock_accept_host(int listen_fd);
