#pragma once

#include <stddef.h>

/* Lines out of pieces that are cut anywhere. Zeroed at first; lines_done frees. */
#define LINES_MAX (16u << 20)

struct lines {
	char *buf;
	size_t len, cap;
};

/*
 * fn gets each whole line without its end ("\n" or "\r\n"). 0, what fn
 * returned when that was not 0, or -EMSGSIZE for a line longer than
 * LINES_MAX.
 */
int lines_feed(struct lines *l, const char *data, size_t len,
	int (*fn)(void *user, const char *line, size_t len), void *user);
void lines_done(struct lines *l);
