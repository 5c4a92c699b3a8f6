#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/*
 * Text from others (a guest, a file's name) on a terminal: control
 * characters, the one-character ones of ISO 6429 (U+0080 to U+009F) too,
 * become '?', so that no terminal obeys them. Zeroed, it stands at the
 * beginning of a stream; it remembers a character cut in two.
 */
struct safe {
	unsigned char lead; /* the byte before, when a character began with it */
	unsigned char need; /* bytes its character still lacks */
};

/* In place; with `lines`, newline and tab stay. */
void safe_filter(struct safe *s, void *data, size_t len, bool lines);
/* safe_filter for what is about to be written to fd, when that is a terminal; else untouched. */
void safe_for_terminal(struct safe *s, int fd, void *data, size_t len);
/* One line's text. */
void safe_print(FILE *f, const char *text);
