#pragma once

#include <stddef.h>

/*
 * How many letters must be inserted, deleted, replaced or swapped with
 * their neighbour to make b of a. Strings over 32 bytes are as far as can be.
 */
unsigned nearest_distance(const char *a, const char *b);

/* Whether somebody who wrote `given` may have meant `known`. */
int nearest_plausible(const char *given, const char *known, unsigned distance);
