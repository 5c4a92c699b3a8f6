#pragma once

#include <stdint.h>

#include <base/kerr.h>

/*
 * Turns stretches of zeroes of 64 KiB and more into holes: a third of a
 * kernel image, which then takes no room and is not read at each boot. The
 * contents stay as they are. A file system without holes is no error;
 * *ret_bytes is what was given back.
 */
int sparse_dig(int fd, uint64_t size, uint64_t *ret_bytes, struct kerr *e);
