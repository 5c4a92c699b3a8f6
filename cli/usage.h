#pragma once

#include <stddef.h>

#include <jansson.h>

/* What agents use, from answers of /v1/stats, for stats and top. */

/* Percent of one CPU between two lists, NULL for an earlier one: -1 when it cannot be known yet. */
double usage_cpu(const json_t *earlier, const json_t *stats);

struct usage_text {
	char cpu[16];
	char memory[40]; /* "12M / 128M" */
	char vsock[40];  /* from the guest / to it */
	char block[40];  /* read / written */
};
void usage_format(const json_t *stats, double cpu, struct usage_text *ret);
