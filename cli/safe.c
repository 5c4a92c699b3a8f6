#include "safe.h"

#include <unistd.h>

/*
 * Whether c may be the second byte of a character: not in the longer
 * spelling of a shorter one, for which some terminals would still take it
 * (U+009B in three bytes), nor in U+0080 to U+009F, the controls of ISO 6429
 * in one character (RFC 3629, table of section 4).
 */
static bool fits_behind(unsigned char lead, unsigned char c)
{
	switch (lead) {
	case 0xc2:
	case 0xe0:
		return c >= 0xa0;
	case 0xed:
		return c <= 0x9f;
	case 0xf0:
		return c >= 0x90;
	case 0xf4:
		return c <= 0x8f;
	default:
		return true;
	}
}

/* Bytes that follow a first one; 0 for a byte that is none. */
static unsigned char followers(unsigned char lead)
{
	if (lead < 0xc2 || lead > 0xf4)
		return 0;
	return lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
}

/* Whether c may follow what was read; keeps count of the continuation bytes of UTF-8. */
static bool harmless(struct safe *s, unsigned char c, bool lines)
{
	if (c >= 0x80 && c <= 0xbf) {
		bool ok = s->need > 0 && (s->lead == 0 || fits_behind(s->lead, c));

		s->need = ok ? s->need - 1 : 0;
		s->lead = 0;
		return ok;
	}
	s->need = followers(c);
	s->lead = s->need > 0 ? c : 0;
	if (c >= 0x80)
		return s->need > 0;
	if (lines && (c == '\n' || c == '\t'))
		return true;
	return c >= 0x20 && c != 0x7f;
}

void safe_filter(struct safe *s, void *data, size_t len, bool lines)
{
	unsigned char *p = data;

	for (size_t i = 0; i < len; i++) {
		bool begun = s->lead != 0 && i > 0;

		if (harmless(s, p[i], lines))
			continue;
		if (begun && p[i] >= 0x80 && p[i] <= 0xbf)
			p[i - 1] = '?'; /* half a character is none */
		p[i] = '?';
	}
}

void safe_for_terminal(struct safe *s, int fd, void *data, size_t len)
{
	if (isatty(fd))
		safe_filter(s, data, len, true);
}

void safe_print(FILE *f, const char *text)
{
	struct safe s = { 0 };

	for (; *text; text++) {
		char c = *text;

		safe_filter(&s, &c, 1, false);
		(void)fputc(c, f);
	}
}
