#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <base/kerr.h>
#include <wire/guest_proto.h>

/*
 * Copies into and out of the guest, each in a process of its own that ends
 * with it: a tar stream on descriptor 0 or 1, what went wrong as a text on
 * descriptor 2. It is root's, for it has to read and write what belongs to
 * others, but it is shut off: no /proc, /sys and /dev are there for it, and
 * of root's capabilities only those that see to files. The agent may change
 * the tree while it is copied: below the path that was asked for no
 * symbolic link is ever followed.
 */
struct copy_request {
	bool in;
	bool owners; /* those in the stream; else uid, gid */
	char *path;
	uid_t uid;
	gid_t gid;
	const char *root; /* NULL: the whole guest; a directory in tests */
};

/* Of a COPY_IN or COPY_OUT frame. Zeroed by the caller before. */
int copy_request_decode(struct copy_request *q, enum guest_frame_type type, const uint8_t *payload,
	size_t len, struct kerr *e);
void copy_request_done(struct copy_request *q);

/* The process: gives its exit code, 0 or 1. arg: struct copy_request. For child_spec.run. */
int copy_main(const void *arg);

/* ---- the two halves; paths are those of the process's own root ---- */

int copy_out(const struct copy_request *q, int fd, struct kerr *e);
int copy_in(const struct copy_request *q, int fd, struct kerr *e);
