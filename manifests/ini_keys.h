#pragma once

#include <stddef.h>

#include <base/kerr.h>

#include "value.h"

/*
 * The sections and keys of one of our INI files, as a table, and one parse by
 * it: what is unknown, given twice or missing is one error "FILE:LINE: key =
 * value: expected …". The events of ini_doc.h are handed on to it.
 */
struct ini_keys {
	const char *file; /* in messages */
	const struct ini_key *keys;
	size_t count;
	const char *const *sections;
	size_t section_count;
	unsigned *key_line;     /* of count: where it stands; 0: nowhere */
	unsigned *section_line; /* of section_count */
	void *out;              /* the struct that the keys' offsets mean */
};

int ini_keys_section(struct ini_keys *p, unsigned line, const char *name, struct kerr *e);
int ini_keys_pair(struct ini_keys *p, unsigned line, const char *section, const char *name,
	const char *v, struct kerr *e);
/* Behind the last event: defaults for keys that are not there; a required one is an error. */
int ini_keys_fill_in(struct ini_keys *p, struct kerr *e);

/* Puts "FILE:LINE: key = value: " in front of what e says; returns e's code. */
int ini_keys_wrap(
	const struct ini_keys *p, unsigned line, const char *key, const char *v, struct kerr *e);
