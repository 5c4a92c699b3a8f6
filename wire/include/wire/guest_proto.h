#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>

/*
 * Frames between the host and kosvm-init, over virtio-vsock streams.
 * Little-endian; a header of 8 bytes and at most GUEST_FRAME_MAX bytes of
 * payload. The host believes nothing in them: they are the guest's word.
 *
 * Control stream: the guest connects to (host CID 2, GUEST_PORT_CONTROL).
 *   guest: HELLO (fields PROTO_VERSION, KERNEL)
 *   host:  CONFIG (fields below)
 *   guest: READY when the agent was started (field PID), or ERROR (TEXT)
 *   guest: EXITED when the agent ended (CODE or SIGNAL)
 *   host:  SHUTDOWN (GRACE_MS): the guest ends the agent, syncs, unmounts,
 *          says BYE and powers off. The log stream ends before BYE. After it
 *          the guest waits up to 0.3 s for the host to close: a power-off
 *          drops what is still on its way
 *   either: PING, answered by PONG with the same payload
 * Log stream: the guest connects to (2, GUEST_PORT_LOG) and sends STDOUT
 *   and STDERR frames of the agent.
 * kosvm-init dials both from source ports below 1024, which only root in
 * the guest can bind.
 * Exec streams: the host connects to the guest's GUEST_PORT_EXEC.
 *   host:  EXEC (fields ARGV, ENV, USER, CWD), then STDIN frames (empty:
 *          end of input) and SIGNAL (SIGNAL)
 *   guest: STDOUT, STDERR, then EXITED (CODE or SIGNAL) or ERROR (CODE 126
 *          or 127, TEXT) as the last frame; it closes when the host does,
 *          or two seconds later
 */
#define GUEST_PROTO_VERSION 1
#define GUEST_SRC_PORT_END  1024u /* the guest dials from a port below: root's alone (vsock(7)) */
#define GUEST_PORT_CONTROL  1024u
#define GUEST_PORT_LOG      1025u
#define GUEST_PORT_EXEC     1026u
#define GUEST_FRAME_MAX     65536u
#define GUEST_CID_HOST      2u

enum guest_frame_type {
	GUEST_HELLO = 1,
	GUEST_CONFIG,
	GUEST_READY,
	GUEST_ERROR,
	GUEST_EXITED,
	GUEST_SHUTDOWN,
	GUEST_BYE,
	GUEST_PING,
	GUEST_PONG,
	GUEST_EXEC,
	GUEST_STDIN,
	GUEST_STDOUT,
	GUEST_STDERR,
	GUEST_SIGNAL,
};

struct guest_frame_hdr {
	uint16_t type;
	uint16_t reserved; /* 0 */
	uint32_t len;
};
#define GUEST_FRAME_HDR_LEN 8u

/* Fields inside a payload: tag u16, zero u16, length u32, bytes (no padding). */
enum guest_field {
	GUEST_F_PROTO_VERSION = 1, /* u32 */
	GUEST_F_KERNEL,            /* text: release of the guest's kernel */
	GUEST_F_HOSTNAME,          /* text */
	GUEST_F_ARGV,              /* text, once an argument, in order */
	GUEST_F_ENV,               /* text NAME=value, once a variable */
	GUEST_F_USER,              /* text: name, uid or uid:gid */
	GUEST_F_CWD,               /* text: absolute path */
	GUEST_F_TIME_NS,           /* u64: host's CLOCK_REALTIME */
	GUEST_F_HAS_STATE,         /* u32: 1 when a state disk is there */
	GUEST_F_PID,               /* u32 */
	GUEST_F_CODE,              /* u32: exit code */
	GUEST_F_SIGNAL,            /* u32: signal number */
	GUEST_F_GRACE_MS,          /* u32 */
	GUEST_F_TEXT,              /* text for a person */
};

/* ---- writing: a bounded buffer; an overflow is remembered and reported once at the end ---- */
struct guest_writer {
	uint8_t *buf; /* caller's, GUEST_FRAME_HDR_LEN + GUEST_FRAME_MAX at most */
	size_t cap;
	size_t len;
	bool overflow;
};

void guest_writer_begin(
	struct guest_writer *w, uint8_t *buf, size_t cap, enum guest_frame_type type);
void guest_put_text(struct guest_writer *w, enum guest_field f, const char *s);
void guest_put_u32(struct guest_writer *w, enum guest_field f, uint32_t v);
void guest_put_u64(struct guest_writer *w, enum guest_field f, uint64_t v);
void guest_put_raw(struct guest_writer *w, const void *data, size_t len); /* for stream frames */
/* Fills in the length: total bytes to send, or -EMSGSIZE. */
int guest_writer_end(struct guest_writer *w);

/* ---- reading ---- */

/* Checks a header: type known, reserved 0, len <= GUEST_FRAME_MAX. 0 or -EPROTO. */
int guest_hdr_decode(const uint8_t raw[static 8], struct guest_frame_hdr *ret);

struct guest_value {
	enum guest_field field;
	const uint8_t *data; /* inside the payload, not NUL-terminated */
	uint32_t len;
};

/*
 * Walks the fields of a payload: *pos starts at 0. 1 and *ret filled, 0 at
 * the end, -EPROTO when a field does not fit. Unknown tags are passed on.
 */
int guest_field_next(const uint8_t *payload, size_t len, size_t *pos, struct guest_value *ret);

/* Exact-width numbers; -EPROTO on another length. */
int guest_value_u32(const struct guest_value *v, uint32_t *ret);
int guest_value_u64(const struct guest_value *v, uint64_t *ret);
/* A fresh NUL-terminated copy without inner NULs; -EPROTO, -ENOMEM. The caller frees. */
int guest_value_text(const struct guest_value *v, char **ret);
