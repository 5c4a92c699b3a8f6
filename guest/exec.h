#pragma once

#include <stddef.h>
#include <stdint.h>

#include <wire/guest_proto.h>

struct conn;

/*
 * Processes that the host asks for on the service port: programs (EXEC),
 * and copies (COPY_IN, COPY_OUT), which are processes of ours. A slow
 * reader stops only its own.
 */
#define EXEC_MAX       32u   /* processes */
#define EXEC_HANGUP_MS 2000u /* from SIGHUP to SIGKILL when the host is gone */

/* The first frame of a stream was of that type. 0 or -EPROTO. */
int exec_begin(struct conn *c, enum guest_frame_type type, const uint8_t *payload, size_t len);
