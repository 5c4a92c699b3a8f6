#include "minisign_text.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include <manifests/minisign.h>

#include "text.h"

int minisign_text_init(
	struct minisign_text *t, const char *file, const char *text, size_t len, struct kerr *e)
{
	if (len == 0)
		return kerr_set(e, EINVAL, "%s: empty", file);
	if (len > MINISIGN_FILE_MAX)
		return kerr_set(e, EINVAL, "%s: %zu bytes: expected at most %u", file, len,
			MINISIGN_FILE_MAX);
	*t = (struct minisign_text){ .file = file, .at = text, .end = text + len };
	return 0;
}

/* what: for the message when there is no line. */
static int next_line(struct minisign_text *t, const char *what, const char **ret, size_t *ret_len,
	struct kerr *e)
{
	const char *nl = memchr(t->at, '\n', (size_t)(t->end - t->at));
	size_t len = (size_t)((nl ? nl : t->end) - t->at);

	t->line++;
	if (t->at == t->end)
		return kerr_set(
			e, EINVAL, "%s:%u: ends too early: expected %s", t->file, t->line, what);
	if (len >= MINISIGN_COMMENT_MAX + sizeof(MINISIGN_UNTRUSTED))
		return kerr_set(e, EINVAL, "%s:%u: the line is too long: expected %s", t->file,
			t->line, what);
	if (text_span(t->at, len) != len)
		return kerr_set(e, EINVAL, "%s:%u: byte 0x%02x: expected UTF-8 text", t->file,
			t->line, (unsigned char)t->at[text_span(t->at, len)]);
	*ret = t->at;
	*ret_len = len;
	t->at += len + (nl ? 1 : 0);
	return 0;
}

int minisign_text_comment(struct minisign_text *t, const char *prefix, const char **ret,
	size_t *ret_len, struct kerr *e)
{
	size_t prefix_len = strlen(prefix);
	const char *s = "";
	size_t len = 0;
	int r = next_line(t, prefix, &s, &len, e);

	if (r < 0)
		return r;
	if (len < prefix_len || memcmp(s, prefix, prefix_len) != 0)
		return kerr_set(e, EINVAL, "%s:%u: expected a line that begins with \"%s\"",
			t->file, t->line, prefix);
	if (len - prefix_len >= MINISIGN_COMMENT_MAX)
		return kerr_set(e, EINVAL,
			"%s:%u: the comment is too long: expected at most %u bytes", t->file,
			t->line, MINISIGN_COMMENT_MAX - 1);
	*ret = s + prefix_len;
	*ret_len = len - prefix_len;
	return 0;
}

int minisign_text_base64(
	struct minisign_text *t, const char *what, uint8_t *out, size_t len, struct kerr *e)
{
	const char *s = "";
	const char *end = NULL;
	size_t text_len = 0;
	size_t n = 0;
	int r = next_line(t, what, &s, &text_len, e);

	if (r < 0)
		return r;
	if (text_len != (len + 2) / 3 * 4 ||
		sodium_base642bin(out, len, s, text_len, NULL, &n, &end,
			sodium_base64_VARIANT_ORIGINAL) != 0 ||
		n != len || end != s + text_len)
		return kerr_set(e, EINVAL, "%s:%u: expected %s: %zu characters of base64", t->file,
			t->line, what, (len + 2) / 3 * 4);
	return 0;
}

int minisign_text_end(const struct minisign_text *t, struct kerr *e)
{
	if (t->at != t->end)
		return kerr_set(
			e, EINVAL, "%s:%u: expected the end of the file", t->file, t->line + 1);
	return 0;
}
