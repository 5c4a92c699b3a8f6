#pragma once

#include "mock_vsock.h"

/*
 * An owner of a vsock device for the tests: it remembers what it was
 * told, and keeps the far ends of the host sockets.
 */
#define HOST_CID 2u
#define FIX_LOG  1200

struct fixture {
	struct mock_vsock m;
	unsigned asked; /* guest_connect calls, and the last one */
	uint64_t ask_id, ask_cid;
	uint32_t ask_port, ask_src;
	enum { FIX_WAIT, FIX_REFUSE, FIX_ACCEPT } answer;
	int ends[FIX_LOG]; /* by guest port, with FIX_ACCEPT */
	unsigned done;     /* connect_done calls, and the last one */
	uint64_t done_id;
	int done_result;
};

/* Default configuration where cfg is NULL; not started when buffers is 0. */
void fix_init(struct fixture *f, struct virtio_vsock_config *cfg, unsigned buffers);
void fix_done(struct fixture *f);

/* A non-blocking socket pair: the device's end and ours. */
void fix_pair(int *ret_dev, int *ret_ours);

/* Guest packet from guest_port to (HOST_CID, port) with plenty of credit. */
void fix_send(struct fixture *f, uint16_t op, uint32_t port, uint32_t guest_port, uint32_t flags,
	const void *data, uint32_t len);
/* The next packet must be of this op; returns it. */
struct vsock_packet fix_expect(struct fixture *f, uint16_t op, void *data);
/* Nothing comes. */
void fix_expect_none(struct fixture *f);

/* An open stream from guest_port to (HOST_CID, port); returns our end. */
int fix_open(struct fixture *f, uint32_t port, uint32_t guest_port);
/* An open stream made by the host to guest_port; *ret_port is the local one. */
int fix_open_to_guest(struct fixture *f, uint32_t guest_port, uint32_t *ret_port);

/* The loop runs until fd has an end of file or an error; false after ten seconds. */
bool fix_wait_end(struct fixture *f, int fd);
uint64_t fix_conns(struct fixture *f);
