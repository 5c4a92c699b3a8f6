#pragma once

#include <stdarg.h>

/*
 * The error report that travels with every failing call.
 *
 * Functions return 0 (or a count) on success and -errno on failure; the
 * text for a person is left in a caller-owned struct kerr, which is always
 * the last parameter. NULL is allowed everywhere: the text is then dropped.
 * A kerr is plain data, may be copied, and needs no clean-up.
 */
struct kerr {
	int code;      /* positive errno, 0 when nothing failed */
	char msg[508]; /* one line, NUL-terminated, no trailing newline */
};

/* Stores code (a positive errno) and the formatted text; returns -code. */
int kerr_set(struct kerr *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As kerr_set with ": strerror(code)" appended. */
int kerr_errno(struct kerr *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Puts "fmt: " in front of the message that is there; keeps the code.
 * Returns -code. The front is kept whole and the tail is cut if both do
 * not fit.
 */
int kerr_wrap(struct kerr *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
