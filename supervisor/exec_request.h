#pragma once

#include <jansson.h>

#include <base/kerr.h>

/*
 * What clients ask of the guest's service port, as JSON, and the first
 * frame of the stream made of it (wire/guest_proto.h). Keys that are not
 * named here are passed over. check: 0, -EINVAL or -E2BIG with a text.
 * send: writes the frame of a checked request to a fresh stream at once;
 * never waits.
 */

/* EXEC: {"argv": [..], "env": [..], "user": "..", "cwd": "..", "tty": true, "rows": 24, "cols": 80}
 */
int exec_request_check(const json_t *args, struct kerr *e);
int exec_request_send(int fd, const json_t *args, struct kerr *e);

/* ATTACH: {"rows": 24, "cols": 80}; args may be NULL */
int attach_request_check(const json_t *args, struct kerr *e);
int attach_request_send(int fd, const json_t *args, struct kerr *e);

/* COPY_IN, COPY_OUT: {"path": "/absolute", "direction": "in" or "out", "owners": false} */
int copy_request_check(const json_t *args, struct kerr *e);
int copy_request_send(int fd, const json_t *args, struct kerr *e);
