#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <base/kerr.h>

/*
 * Writes a "newc" archive (Linux Documentation/driver-api/early-userspace/
 * buffer-format.rst). Reproducible: inode numbers count up, owner 0:0,
 * time 0, nothing of the host enters. Parents go in before children.
 */
struct cpio {
	int fd; /* borrowed; written at its own offset */
	uint32_t ino;
	uint64_t written;
};

/* mode with its S_IF… type; rdev for devices, else 0; data for files, else NULL and 0. */
int cpio_add(struct cpio *c, const char *name, mode_t mode, dev_t rdev, const void *data,
	size_t len, struct kerr *e);

/* The end mark, and zeros up to a multiple of 512 bytes. */
int cpio_finish(struct cpio *c, struct kerr *e);
