#pragma once

#include <stddef.h>

#include "sink.h"

/* What a copy says of its failure: a sink that keeps the first bytes as a text. */
struct note {
	struct sink sink;
	char text[512]; /* always ended by a NUL */
	size_t len;
};

void note_init(struct note *n);
