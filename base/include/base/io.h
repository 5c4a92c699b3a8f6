#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <base/kerr.h>

/*
 * Whole-buffer input and output: EINTR and short transfers are handled.
 * Each returns 0 or -errno; reading past the end is -ENODATA.
 */
int io_read_full(int fd, void *buf, size_t len);
int io_write_full(int fd, const void *buf, size_t len);
int io_pread_full(int fd, void *buf, size_t len, uint64_t offset);
int io_pwrite_full(int fd, const void *buf, size_t len, uint64_t offset);

/*
 * Reads the rest of fd into a fresh NUL-terminated buffer (the NUL is not
 * counted). More than max bytes is -EFBIG. The caller frees *ret_data.
 * `what` names the input in the message.
 */
int io_read_all(
	int fd, size_t max, const char *what, char **ret_data, size_t *ret_len, struct kerr *e);

/*
 * Replaces the file `name` in directory dirfd: temporary file, fsync,
 * rename, fsync of the directory. On failure nothing half-made stays.
 */
int io_write_file_at(
	int dirfd, const char *name, const void *data, size_t len, mode_t mode, struct kerr *e);

/* Sets or clears O_NONBLOCK. 0 or -errno. */
int io_set_nonblock(int fd, int on);
