#include "ini_doc.h"

#include <errno.h>
#include <ini.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "text.h"

struct doc {
	const char *file;
	const char *data;
	size_t len;
	size_t at;     /* the next line starts here */
	unsigned line; /* the one inih has in hand, from 1 */
	bool in_section;
	const struct ini_doc_events *events;
	void *user;
	struct kerr *e;
	int error; /* the first one: nothing is called after it */
};

/*
 * Debian's inih takes its options from variables of the process, and its
 * defaults suit us badly: it cuts lines at 200 bytes, cuts values at " ;"
 * and joins indented lines to the key before. With realloc off, inih hands
 * its reader ini_max_line bytes of a block of ini_initial_alloc.
 */
static void inih_options(void)
{
	ini_allow_multiline = false;
	ini_allow_inline_comments = false;
	ini_allow_bom = false;
	ini_allow_no_value = false;
	ini_stop_on_first_error = true;
	ini_use_stack = false;
	ini_allow_realloc = false;
	ini_max_line = INI_DOC_LINE_MAX + 3; /* \r, \n and NUL */
	ini_initial_alloc = INI_DOC_LINE_MAX + 3;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static int bad_line(struct doc *d, const char *expected)
{
	return kerr_set(d->e, EINVAL, "%s:%u: expected %s", d->file, d->line, expected);
}

/* "[name]" and nothing around it; inih would pass over what follows the bracket. */
static int check_section(struct doc *d, const char *s, size_t len)
{
	char name[INI_DOC_SECTION_MAX + 1];

	if (len < 3 || s[len - 1] != ']' || len - 2 > INI_DOC_SECTION_MAX)
		return bad_line(d, "[section] alone on its line");
	for (size_t i = 1; i < len - 1; i++) {
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '-'))
			return bad_line(d, "[section] in lower-case letters, digits and -");
	}
	memcpy(name, s + 1, len - 2);
	name[len - 2] = '\0';
	d->in_section = true;
	return d->events->section(d->user, d->line, name, d->e);
}

/* inih would take ':' for '=' as well, and a key of no letters. */
static int check_pair(struct doc *d, const char *s, size_t len)
{
	const char *eq = memchr(s, '=', len);
	size_t key_len;

	if (!eq || memchr(s, ':', (size_t)(eq - s)))
		return bad_line(d, "key = value, [section] or a # comment");
	key_len = (size_t)(eq - s);
	while (key_len > 0 && is_blank(s[key_len - 1]))
		key_len--;
	if (key_len == 0 || key_len > INI_DOC_KEY_MAX)
		return bad_line(d, "a key of 1 to 127 characters before the =");
	if (!d->in_section)
		return bad_line(d, "a [section] before the first key");
	return 0;
}

static int check_shape(struct doc *d, const char *s, size_t len)
{
	while (len > 0 && is_blank(*s)) {
		s++;
		len--;
	}
	while (len > 0 && (is_blank(s[len - 1]) || s[len - 1] == '\r'))
		len--;
	if (len == 0 || *s == '#' || *s == ';')
		return 0;
	return *s == '[' ? check_section(d, s, len) : check_pair(d, s, len);
}

/*
 * Gives inih one line and, by that, us its number: inih is done with a
 * line before it asks for the next.
 */
static char *next_line(char *buf, int num, void *stream)
{
	struct doc *d = stream;
	const char *s = d->data + d->at;
	const char *end;
	size_t len;

	if (d->error || d->at == d->len)
		return NULL;
	end = memchr(s, '\n', d->len - d->at);
	len = end ? (size_t)(end - s) : d->len - d->at;
	d->at += len + (end ? 1 : 0);
	d->line++;
	if (num < 1 || len >= (size_t)num)
		d->error = kerr_set(d->e, EOVERFLOW,
			"%s:%u: this build of inih takes lines of %d bytes only", d->file, d->line,
			num - 1);
	else
		d->error = check_shape(d, s, len);
	if (d->error)
		return NULL;
	memcpy(buf, s, len);
	buf[len] = '\0';
	return buf;
}

static int on_pair(void *user, const char *section, const char *name, const char *value)
{
	struct doc *d = user;

	if (!d->error)
		d->error = d->events->pair(d->user, d->line, section, name, value, d->e);
	return d->error == 0;
}

/* Every byte, before inih sees the first. */
static int check_bytes(struct doc *d, size_t line_max)
{
	unsigned line = 1;
	size_t start = 0;

	for (size_t at = 0; at < d->len;) {
		size_t n = text_char(d->data + at, d->len - at);

		if (d->data[at] == '\n') {
			line++;
			start = ++at;
			continue;
		}
		if (d->data[at] == '\r' && at + 1 < d->len && d->data[at + 1] == '\n') {
			at++;
			continue;
		}
		if (n == 0)
			return kerr_set(d->e, EINVAL,
				"%s:%u: byte 0x%02x at column %zu: expected UTF-8 text without "
				"control characters and byte order mark",
				d->file, line, (unsigned char)d->data[at], at - start + 1);
		at += n;
		if (at - start > line_max)
			return kerr_set(d->e, EINVAL,
				"%s:%u: the line is too long: expected at most %zu bytes", d->file,
				line, line_max);
	}
	return 0;
}

int ini_doc_parse(const char *file, const char *data, size_t len, size_t line_max,
	const struct ini_doc_events *events, void *user, struct kerr *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct doc d = {
		.file = file,
		.data = data,
		.len = len,
		.events = events,
		.user = user,
		.e = e,
	};
	int r;

	if (line_max > INI_DOC_LINE_MAX)
		line_max = INI_DOC_LINE_MAX;
	r = check_bytes(&d, line_max);
	if (r < 0)
		return r;
	(void)pthread_once(&once, inih_options);
	r = ini_parse_stream(next_line, &d, on_pair, &d);
	if (d.error)
		return d.error;
	if (r == -2)
		return kerr_set(e, ENOMEM, "%s: out of memory", file);
	if (r != 0) /* inih refused a line whose shape we took */
		return kerr_set(e, EINVAL, "%s:%d: expected key = value", file, r);
	return 0;
}
