#include "text.h"

#include <stdbool.h>
#include <stdint.h>

/* Code points that are well-formed and yet hide or move what a person reads. */
static bool misleading(uint32_t c)
{
	return (c >= 0x80 && c <= 0x9f) ||                   /* C1 controls */
		(c >= 0x2028 && c <= 0x202e) ||              /* separators, embeddings, overrides */
		(c >= 0x2066 && c <= 0x2069) ||              /* isolates */
		c == 0x200e || c == 0x200f || c == 0x061c || /* direction marks */
		c == 0xfeff;                                 /* byte order mark */
}

size_t text_char(const char *s, size_t len)
{
	const uint8_t *p = (const uint8_t *)s;
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c;
	size_t n;

	if (len == 0)
		return 0;
	if (p[0] < 0x80)
		return p[0] == '\t' || (p[0] >= 0x20 && p[0] != 0x7f) ? 1 : 0;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (n > len)
		return 0;
	c = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fu);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) || misleading(c))
		return 0;
	return n;
}

size_t text_span(const char *s, size_t len)
{
	size_t at = 0;

	while (at < len) {
		size_t n = text_char(s + at, len - at);

		if (n == 0)
			break;
		at += n;
	}
	return at;
}
