#pragma once

#include <jansson.h>

#include <base/kerr.h>

/*
 * The request of `kosvm exec`, {"argv": [..], "env": [..], "user": "..",
 * "cwd": ".."}, and the EXEC frame made of it (wire/guest_proto.h).
 */
int exec_request_check(const json_t *args, struct kerr *e);

/* Writes the frame of a checked request to a fresh stream at once; never waits. */
int exec_request_send(int fd, const json_t *args, struct kerr *e);
