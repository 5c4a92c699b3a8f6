#pragma once

#include <stddef.h>

#include <base/kerr.h>

/*
 * An INI document, read by inih under one strict reading: one line is one
 * section, one "key = value", one comment (# or ; at its start) or blank.
 * No inline comments, no continuation lines, no "key: value", no byte
 * order mark; nothing inih would cut short or pass over in silence.
 *
 * Events come in the order of the lines. One that returns a negative code
 * has set e and ends the parse. Strings live during the call only.
 */
#define INI_DOC_SECTION_MAX 31u
#define INI_DOC_KEY_MAX     127u

struct ini_doc_events {
	int (*section)(void *user, unsigned line, const char *name, struct kerr *e);
	/* No pair comes before the first section. */
	int (*pair)(void *user, unsigned line, const char *section, const char *key,
		const char *value, struct kerr *e);
};

/* line_max: bytes without the line's end, at most INI_DOC_LINE_MAX. */
#define INI_DOC_LINE_MAX 1024u
int ini_doc_parse(const char *file, const char *data, size_t len, size_t line_max,
	const struct ini_doc_events *events, void *user, struct kerr *e);
