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
 * Control stream: the guest connects to (host CID 2, GUEST_PORT_CONTROL),
 * and again, for ever, whenever it is lost: kosvmd may be away for a while.
 *   guest: HELLO (PROTO_VERSION, KERNEL, PHASE; with PHASE_RUNS PID, with
 *          PHASE_ENDED CODE or SIGNAL); ERROR (TEXT) behind it when the
 *          guest could not start the agent
 *   host:  CONFIG (HOSTNAME, USER, CWD, ARGV, ENV, TIME_NS, HAS_STATE, TTY,
 *          ROWS, COLS, STDIN) to PHASE_WANTS_CONFIG, else WELCOME (TIME_NS)
 *   guest: READY when the agent was started (PID), or ERROR (TEXT)
 *   guest: EXITED when the agent ended (CODE or SIGNAL)
 *   host:  SIGNAL (SIGNAL): sent to the agent's process, if it runs
 *   host:  SHUTDOWN (GRACE_MS): the guest ends the agent, syncs, unmounts,
 *          says BYE and powers off. The log stream ends before BYE. After it
 *          the guest waits up to 0.3 s for the host to close: a power-off
 *          drops what is still on its way
 *   either: PING, answered by PONG with the same payload
 * Log stream: the guest connects to (2, GUEST_PORT_LOG), and again when it
 *   is lost, and sends STDOUT and STDERR frames of the agent.
 *   host:  ACK (BYTES): so many bytes of payload since this stream began
 *          are on disk. The guest keeps what is not acknowledged and sends
 *          it again on the next stream: each record at least once
 * kosvm-init dials both from source ports below 1024, which only root in
 * the guest can bind.
 *
 * Service streams: the host connects to the guest's GUEST_PORT_EXEC. The
 * first frame says what for; after the last one the guest closes when the
 * host does, or two seconds later. Every refusal is ERROR (CODE, TEXT).
 * Program:
 *   host:  EXEC (ARGV, ENV, USER, CWD, TTY, ROWS, COLS), then STDIN frames
 *          (empty: end of input), SIGNAL (SIGNAL) to its process group,
 *          with TTY also WINSIZE (ROWS, COLS)
 *   guest: STDOUT, STDERR (never with TTY), then EXITED (CODE or SIGNAL) or
 *          ERROR (CODE 126 or 127, TEXT) as the last frame
 *   The host closing early is a hang-up: SIGHUP, later SIGKILL.
 * The agent's own input and output:
 *   host:  ATTACH (optional ROWS, COLS), then STDIN (if CONFIG had TTY or
 *          STDIN; empty: end of input, with TTY its end-of-file key),
 *          WINSIZE, SIGNAL (to the agent's process)
 *   guest: STDOUT, STDERR from now on, then EXITED (CODE or SIGNAL) at the
 *          agent's end. Who takes nothing for GUEST_ATTACH_STALL_MS while
 *          there is more gets ERROR and the end. Closing detaches
 * A file or tree out of the guest:
 *   host:  COPY_OUT (PATH absolute)
 *   guest: STDOUT frames, a tar stream (pax) whose names begin with the
 *          last part of PATH; then EXITED (CODE 0) or ERROR (CODE, TEXT)
 * A file or tree into the guest:
 *   host:  COPY_IN (PATH absolute; OWNERS 1 to keep the owners in the tar,
 *          else all belongs to the agent's user), a tar stream in STDIN
 *          frames, an empty one at its end. PATH is a directory that is
 *          there, which the names are below; or it is not one and its
 *          parent is: then the first part of each name, the same in all,
 *          becomes the last part of PATH. A PATH that ends in / must be a
 *          directory.
 *   guest: EXITED (CODE 0) when all is there, or ERROR (CODE, TEXT)
 */
#define GUEST_PROTO_VERSION   2
#define GUEST_SRC_PORT_END    1024u /* the guest dials from a port below: root's alone (vsock(7)) */
#define GUEST_PORT_CONTROL    1024u
#define GUEST_PORT_LOG        1025u
#define GUEST_PORT_EXEC       1026u
#define GUEST_FRAME_MAX       65536u
#define GUEST_CID_HOST        2u
#define GUEST_ATTACH_STALL_MS 5000u

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
	GUEST_WELCOME,
	GUEST_ACK,
	GUEST_WINSIZE,
	GUEST_ATTACH,
	GUEST_COPY_OUT,
	GUEST_COPY_IN,
	GUEST_FRAME_LAST = GUEST_COPY_IN,
};

/* Where the guest is, in HELLO. */
enum guest_phase {
	GUEST_PHASE_WANTS_CONFIG = 0, /* also when there is no such field */
	GUEST_PHASE_RUNS,             /* the agent was started */
	GUEST_PHASE_ENDED,            /* and has ended; the guest waits for SHUTDOWN */
};

struct guest_frame_hdr {
	uint16_t type;
	uint16_t reserved; /* 0 */
	uint32_t len;
};
#define GUEST_FRAME_HDR_LEN 8u
#define GUEST_WINSIZE_MAX   4096u /* rows, columns */

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
	GUEST_F_PHASE,             /* u32: enum guest_phase */
	GUEST_F_TTY,               /* u32: 1 for a terminal */
	GUEST_F_ROWS,              /* u32: of the terminal, at most GUEST_WINSIZE_MAX */
	GUEST_F_COLS,              /* u32 */
	GUEST_F_STDIN,             /* u32: 1 when ATTACH may feed the agent's input */
	GUEST_F_BYTES,             /* u64 */
	GUEST_F_PATH,              /* text: absolute path */
	GUEST_F_OWNERS,            /* u32: 1 to keep owners */
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

/*
 * Small frames, each by one call into a buffer of GUEST_SMALL_FRAME bytes:
 * the total to send, or -EMSGSIZE.
 */
#define GUEST_SMALL_FRAME 64u
int guest_make_u32(uint8_t *buf, enum guest_frame_type type, enum guest_field f, uint32_t v);
int guest_make_u64(uint8_t *buf, enum guest_frame_type type, enum guest_field f, uint64_t v);
int guest_make_signal(uint8_t *buf, uint32_t signo);
int guest_make_winsize(uint8_t *buf, uint32_t rows, uint32_t cols);
/* rows or cols 0: not said. */
int guest_make_attach(uint8_t *buf, uint32_t rows, uint32_t cols);
/* COPY_OUT or COPY_IN; cap: the length of path and GUEST_SMALL_FRAME at least. */
int guest_make_copy(
	uint8_t *buf, size_t cap, enum guest_frame_type type, const char *path, bool owners);

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
