#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>

#include "users.h"

/*
 * A program to run, as CONFIG and EXEC name it, and what else CONFIG says.
 * Comes from the host, checked all the same.
 */
#define COMMAND_WORDS_MAX 1024u /* arguments, and variables */

struct words {
	char **v; /* NULL-terminated once there is one */
	size_t n;
};

struct command {
	struct words argv;
	struct words env; /* NAME=value */
	char *user;       /* NULL: not given */
	char *cwd;        /* NULL: not given; else absolute */
	char *hostname;   /* NULL: not given */
	uint64_t time_ns; /* 0: not given */
	bool has_state;
	bool tty; /* runs on a terminal of rows x cols, 0 when not given */
	uint32_t rows, cols;
	bool open_stdin; /* its input is fed; without, it is empty */
};

/* Fields of a CONFIG or EXEC payload. -EPROTO with the reason. Zeroed by the caller before. */
int command_decode(struct command *c, const uint8_t *payload, size_t len, struct kerr *e);
void command_done(struct command *c);

/*
 * The environment: PATH, HOME, USER, LOGNAME, on a terminal TERM, then the variables of
 * `base` (may be NULL), then those of `c`; a later one replaces an earlier
 * one of its name. The caller frees with words_done.
 */
int command_environ(const struct command *c, const struct command *base, const struct user *u,
	const char *home, struct words *ret);

/* Adds a copy of s. 0, -ENOMEM, -E2BIG. */
int words_add(struct words *w, const char *s);
void words_done(struct words *w);

/* The value of NAME in a list of NAME=value, or NULL. */
const char *words_env(const struct words *w, const char *name);
