#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <wire/guest_proto.h>

/* Where forward puts what it reads: a stream, or the agent's output. Embedded in its owner. */
struct sink {
	/* False: nobody wants it, the bytes are thrown away. */
	bool (*keeps)(const struct sink *s);
	/* Bytes that `reserve` can give a place to at the moment. */
	size_t (*room)(const struct sink *s);
	/* A place for `len` bytes, no more than room said; valid until the commit. */
	uint8_t *(*reserve)(struct sink *s, size_t len);
	/* Takes the `len` bytes, at most those reserved, that were written there. */
	void (*commit)(struct sink *s, enum guest_frame_type type, size_t len);
};
