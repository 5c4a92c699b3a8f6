#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <base/kerr.h>
#include <base/loop.h>

#include "feed.h"
#include "forward.h"
#include "sink.h"

/*
 * What a process has for its standard input, output and error, seen from
 * our end: pipes, or one terminal. Embedded in whoever owns the process.
 */
struct streams {
	struct loop *loop;
	struct feed in;
	struct forward out, err;
	int tty; /* the terminal's master, or -1 */
	/* Output moved, ended or settled. May free. */
	void (*moved)(struct streams *s);
	/* The input takes bytes again. */
	void (*ready)(struct streams *s);
};

void streams_init(struct streams *s, struct loop *loop, void (*moved)(struct streams *s),
	void (*ready)(struct streams *s));

/*
 * Opens pipes, or a terminal of uid (rows, cols: 0 for pty.h's), whose output
 * is all STDOUT. The process's ends come into theirs (all -1 before), which
 * the caller closes in any case; streams_done closes ours. fed: false for an
 * input from /dev/null.
 */
int streams_pipes(
	struct streams *s, struct sink *out, struct sink *err, bool fed, int theirs[static 3]);
int streams_terminal(struct streams *s, struct sink *out, uid_t uid, uint32_t rows, uint32_t cols,
	int theirs[static 3], struct kerr *e);

/* The process has ended: its input closes, and what it wrote until now is waited for. */
void streams_settle(struct streams *s);

/* All of that is in the sinks, or gone. */
bool streams_settled(const struct streams *s);

/* A sink has room again. */
void streams_resume(struct streams *s);

/* Closes everything; of a terminal that is a hang-up. */
void streams_done(struct streams *s);
