#pragma once

#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>

/*
 * The lines of minisign's files. Each is bounded by MINISIGN_COMMENT_MAX,
 * ends in \n (the last may lack it) and is text: no \r, no NUL.
 */
struct minisign_text {
	const char *file;
	const char *at, *end;
	unsigned line; /* the one taken last, from 1 */
};

/* Bounds the whole: 1 to MINISIGN_FILE_MAX bytes. */
int minisign_text_init(
	struct minisign_text *t, const char *file, const char *text, size_t len, struct kerr *e);

/* The next line must begin with prefix; *ret points into the text behind it. */
int minisign_text_comment(struct minisign_text *t, const char *prefix, const char **ret,
	size_t *ret_len, struct kerr *e);

/* The next line must be base64, canonical and padded, of exactly len bytes. what: "a …". */
int minisign_text_base64(
	struct minisign_text *t, const char *what, uint8_t *out, size_t len, struct kerr *e);

/* Nothing may follow. */
int minisign_text_end(const struct minisign_text *t, struct kerr *e);

#define MINISIGN_UNTRUSTED "untrusted comment: "
#define MINISIGN_TRUSTED   "trusted comment: "

/* minisign_pub_decode that also hands out the comment, cut at a character to fit. */
struct minisign_pub;
int minisign_pub_read(const char *file, const char *text, size_t len, struct minisign_pub *ret,
	char *comment, size_t comment_size, struct kerr *e);
