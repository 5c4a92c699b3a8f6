#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <base/kerr.h>

/* Terminals for programs: see pty(7), ioctl_tty(2). */
#define PTY_ROWS 24u
#define PTY_COLS 80u

/*
 * A fresh pair: master for us, slave for the program that becomes the
 * leader of a session on it, owned by uid. rows, cols: 0 for PTY_ROWS and
 * PTY_COLS. Both close-on-exec. While a slave is open, of whomever, the
 * master does not end.
 */
int pty_open(
	uid_t uid, uint32_t rows, uint32_t cols, int *ret_master, int *ret_slave, struct kerr *e);

/* Bounded to GUEST_WINSIZE_MAX; a 0 changes nothing. The foreground group gets SIGWINCH. */
void pty_resize(int master, uint32_t rows, uint32_t cols);

/* The fields of a WINSIZE frame, or those of one that may have them: 0 or -EPROTO. */
int pty_size_decode(const uint8_t *payload, size_t len, uint32_t *ret_rows, uint32_t *ret_cols);
