#pragma once

#include <sys/types.h>

#include "decompress.h"

#define STREAM_CHUNK (256u * 1024)

/* The buffers between the file and one of the libraries. */
struct stream {
	struct decompress *d;
	uint8_t *in;    /* STREAM_CHUNK bytes */
	uint8_t *out;   /* STREAM_CHUNK bytes */
	uint64_t taken; /* bytes of the input that have been read */
	struct kerr *e;
};

/* Reads the next piece into in; 0 at the end of the input, or -errno. */
ssize_t stream_fill(struct stream *s);

/* Reads exactly len bytes to buf; -EBADMSG when the input is too short. */
int stream_read(struct stream *s, void *buf, size_t len);

/* Appends to the output, within out_max. */
int stream_emit(struct stream *s, const void *buf, size_t len);

int stream_damaged(struct stream *s, const char *method, const char *how);

int decompress_lz4_legacy(struct stream *s);
