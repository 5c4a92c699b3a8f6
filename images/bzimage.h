#pragma once

#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>

/*
 * The set-up header of an x86 bzImage (Linux Documentation/arch/x86/boot.rst)
 * as far as it says where the packed kernel lies. Hostile input.
 */
#define BZIMAGE_HEADER_LEN 0x250u

struct bzimage {
	uint16_t version;        /* boot protocol, at least 0x0208 */
	uint64_t payload_offset; /* in the file */
	uint32_t payload_length; /* within the file */
};

/*
 * head: the first bytes of the file. -ENOEXEC: no bzImage at all, or one
 * too old; -EBADMSG: a bzImage whose payload is not within its file.
 */
int bzimage_parse(
	const uint8_t *head, size_t len, uint64_t file_size, struct bzimage *ret, struct kerr *e);
