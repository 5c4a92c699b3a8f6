#pragma once

#include <stdbool.h>

#include <base/kerr.h>
#include <base/loop.h>
#include <wire/board.h>

/*
 * What the tests of supervisor/ share: a loop, a directory that goes
 * again, and the count of open descriptors, which must be the same
 * afterwards as before.
 */
extern struct loop *fx_loop;
extern int fx_dir;
extern char fx_path[64];
extern struct kerr fx_err;

void fx_setup(void);
void fx_teardown(void);

/* Runs the loop until *flag is set; fails after 30 s. */
void fx_until(const bool *flag);
/* Runs the loop for some milliseconds. */
void fx_run_ms(int ms);
int fx_open_fds(void);

/* From now on pidfd means a process that has ended: no signal arrives where it went before. */
void fx_unkillable(int pidfd);

/* A whole file of fx_dir, NUL-terminated; to be freed. */
char *fx_read(const char *name);

/* A board of four descriptors that is complete; cmdline: the fake VMM's orders. */
void fx_board(struct board *b, const char *cmdline);
