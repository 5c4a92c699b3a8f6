#include "safe.h"

#include <unistd.h>

/* Whether c may follow what was read; keeps count of the continuation bytes of UTF-8. */
static bool harmless(struct safe *s, unsigned char c, bool lines)
{
	unsigned char lead = s->lead;

	if (c >= 0x80 && c <= 0xbf) {
		/* A byte of its own, or U+0080 to U+009F: the controls of ISO 6429 in one
		 * character. */
		bool ok = s->need > 0 && !(lead == 0xc2 && c <= 0x9f);

		if (s->need > 0)
			s->need--;
		s->lead = 0;
		return ok;
	}
	s->lead = c;
	s->need = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc2 ? 1 : 0;
	if (lines && (c == '\n' || c == '\t'))
		return true;
	return c >= 0x20 && c != 0x7f;
}

void safe_filter(struct safe *s, void *data, size_t len, bool lines)
{
	unsigned char *p = data;

	for (size_t i = 0; i < len; i++) {
		bool two = s->lead == 0xc2 && i > 0;

		if (harmless(s, p[i], lines))
			continue;
		if (two && p[i] >= 0x80)
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
