#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <base/kerr.h>
#include <base/loop.h>

#include "feed.h"
#include "forward.h"

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

/* What goes into a terminal and what comes out of it. */
struct pty_use {
	struct loop *loop;
	struct feed *in;
	void (*ready)(struct feed *f);
	struct forward *out;
	struct sink *sink; /* as STDOUT frames */
	void (*moved)(struct forward *f);
};

/*
 * Opens `in` and `out` on copies of the master, and makes fds[1] and fds[2]
 * copies of the slave fds[0]. 0 or -errno; what was opened is the owner's
 * to close in any case.
 */
int pty_connect(int master, const struct pty_use *use, int fds[3]);

/* Bounded to GUEST_WINSIZE_MAX; a 0 changes nothing. The foreground group gets SIGWINCH. */
void pty_resize(int master, uint32_t rows, uint32_t cols);

/* The fields of a WINSIZE frame, or those of one that may have them: 0 or -EPROTO. */
int pty_size_decode(const uint8_t *payload, size_t len, uint32_t *ret_rows, uint32_t *ret_cols);
