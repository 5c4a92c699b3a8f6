#pragma once

#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>
#include <wire/guest_proto.h>

/*
 * The host's end of a service stream to kosvm-init (wire/guest_proto.h):
 * frames cut out of what arrives. What they say is the guest's word.
 */
#define FRAMES_BUF (GUEST_FRAME_HDR_LEN + GUEST_FRAME_MAX)

struct frames {
	int fd; /* the caller's, blocking */
	size_t len, pos;
	uint8_t buf[FRAMES_BUF];
};
struct frames *frames_new(int fd);
void frames_free(struct frames *f);

/*
 * The next whole frame of what is there already: 1, 0 when more has to be
 * read first, -EPROTO. The payload is good until the next call of
 * frames_read.
 */
int frames_next(struct frames *f, struct guest_frame_hdr *ret, uint8_t **ret_payload);
/* Reads what has come; waits when nothing has. 0, -ECONNRESET at the end of the stream, -errno. */
int frames_read(struct frames *f);
/* Both in one: waits for a whole frame. 0 or -errno. */
int frames_wait(struct frames *f, struct guest_frame_hdr *ret, uint8_t **ret_payload);

/* A frame of raw bytes (STDIN); at most GUEST_FRAME_MAX. 0 or -errno. */
int frames_send_raw(struct frames *f, enum guest_frame_type type, const void *data, size_t len);

/*
 * EXITED or ERROR: *ret_code is the exit code it stands for (128 + signal);
 * text (the caller's to free) is ERROR's, else NULL. 0 or -EPROTO.
 */
int frames_end(
	const struct guest_frame_hdr *h, const uint8_t *payload, int *ret_code, char **ret_text);

/* What -errno of these means to a person; returns r. `what` did not end: "the command". */
int frames_explain(int r, const char *what, struct kerr *e);
