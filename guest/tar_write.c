#include <stdio.h>
#include <string.h>

#include "tar.h"

/* Offsets and lengths in a header block. */
struct span {
	size_t at, len;
};
static const struct span name_span = { 0, 100 }, mode_span = { 100, 8 }, uid_span = { 108, 8 },
			 gid_span = { 116, 8 }, size_span = { 124, 12 }, mtime_span = { 136, 12 },
			 sum_span = { 148, 8 }, link_span = { 157, 100 };
#define TYPE_AT  156
#define MAGIC_AT 257

/* Octal digits and a NUL. False when it does not fit: then all digits are 7s. */
static bool put_octal(uint8_t *block, struct span s, uint64_t v)
{
	bool fits = v < 1ULL << (3 * (s.len - 1));

	for (size_t i = s.len - 1; i-- > 0; v >>= 3)
		block[s.at + i] = fits ? (uint8_t)('0' + (v & 7)) : '7';
	return fits;
}

/* False when it is longer than its place. */
static bool put_text(uint8_t *block, struct span s, const char *text)
{
	size_t len = strlen(text);

	memcpy(block + s.at, text, len < s.len ? len : s.len);
	return len <= s.len;
}

static void put_frame(uint8_t *block, char type)
{
	unsigned sum = 0;

	block[TYPE_AT] = (uint8_t)type;
	memcpy(block + MAGIC_AT, "ustar\00000", 8);
	memset(block + sum_span.at, ' ', sum_span.len);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += block[i];
	(void)put_octal(block, (struct span){ sum_span.at, 7 }, sum);
	block[sum_span.at + 6] = 0;
}

/* One record of a pax header, "LEN KEY=VALUE\n", where LEN counts itself. */
static size_t put_record(uint8_t *to, const char *key, const char *value)
{
	size_t rest = strlen(key) + strlen(value) + 3;
	size_t len = rest + 1;
	char head[32];

	while (len != rest + (size_t)snprintf(head, sizeof(head), "%zu", len))
		len = rest + (size_t)snprintf(head, sizeof(head), "%zu", len);
	return (size_t)sprintf((char *)to, "%zu %s=%s\n", len, key, value);
}

static size_t put_number(uint8_t *to, const char *key, int64_t value)
{
	char digits[24];

	(void)snprintf(digits, sizeof(digits), "%lld", (long long)value);
	return put_record(to, key, digits);
}

static bool is_ascii(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s > 0x7e)
			return false;
	}
	return true;
}

size_t tar_encode(const struct tar_entry *t, uint8_t *buf)
{
	uint8_t *records = buf + TAR_BLOCK;
	uint8_t block[TAR_BLOCK] = { 0 };
	size_t len = 0;
	size_t at = 0;
	bool name_fits = put_text(block, name_span, t->name);
	bool link_fits = put_text(block, link_span, t->link);

	memset(buf, 0, TAR_HEADERS_MAX);
	/* Names are bytes; without this word a reader takes them for UTF-8. */
	if ((!name_fits && !is_ascii(t->name)) || (!link_fits && !is_ascii(t->link)))
		len += put_record(records + len, "hdrcharset", "BINARY");
	if (!name_fits)
		len += put_record(records + len, "path", t->name);
	if (!link_fits)
		len += put_record(records + len, "linkpath", t->link);
	(void)put_octal(block, mode_span, t->mode);
	if (!put_octal(block, uid_span, t->uid))
		len += put_number(records + len, "uid", t->uid);
	if (!put_octal(block, gid_span, t->gid))
		len += put_number(records + len, "gid", t->gid);
	if (!put_octal(block, size_span, t->size))
		len += put_number(records + len, "size", (int64_t)t->size);
	if (!put_octal(block, mtime_span, (uint64_t)t->mtime))
		len += put_number(records + len, "mtime", t->mtime);
	put_frame(block, (char)t->type);
	if (len) {
		(void)put_text(buf, name_span, "PaxHeader");
		(void)put_octal(buf, mode_span, 0644);
		(void)put_octal(buf, uid_span, 0);
		(void)put_octal(buf, gid_span, 0);
		(void)put_octal(buf, size_span, len);
		(void)put_octal(buf, mtime_span, 0);
		put_frame(buf, 'x');
		records[len] = 0; /* the NUL of sprintf */
		at = TAR_BLOCK + len + tar_padding(len);
	}
	memcpy(buf + at, block, TAR_BLOCK);
	return at + TAR_BLOCK;
}
