#include "nearest.h"

#include <limits.h>
#include <string.h>

#define WORD_MAX 32u

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Optimal string alignment: Levenshtein's table with one more step back for a swap. */
unsigned nearest_distance(const char *a, const char *b)
{
	unsigned d[WORD_MAX + 1][WORD_MAX + 1];
	size_t la = strlen(a);
	size_t lb = strlen(b);

	if (la > WORD_MAX || lb > WORD_MAX)
		return UINT_MAX;
	for (size_t i = 0; i <= la; i++)
		d[i][0] = (unsigned)i;
	for (size_t j = 0; j <= lb; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		for (size_t j = 1; j <= lb; j++) {
			unsigned change = a[i - 1] == b[j - 1] ? 0 : 1;

			d[i][j] = least(
				least(d[i - 1][j] + 1, d[i][j - 1] + 1), d[i - 1][j - 1] + change);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
		}
	}
	return d[la][lb];
}

int nearest_plausible(const char *given, const char *known, unsigned distance)
{
	size_t longer = strlen(given) > strlen(known) ? strlen(given) : strlen(known);

	return distance <= 1 + longer / 4 && distance < longer;
}
