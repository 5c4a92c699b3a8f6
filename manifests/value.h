#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>
#include <manifests/manifest.h>

/*
 * One key of an INI file of ours, whose values go to a struct. The parsers
 * below write the field at `offset` of it; on a mistake they leave it and put
 * "expected …" into e, for ini_keys.h to put file, line, key and value in front.
 */
struct ini_key {
	const char *section, *name;
	int (*parse)(const struct ini_key *k, const char *value, void *out, struct kerr *e);
	size_t offset;
	bool required;
	const char *standard;       /* what stands when the key does not; NULL: the field's zero */
	const char *expected;       /* the form, for "expected %s" */
	const char *range;          /* the bounds, for "expected %s" */
	uint64_t min, max, step;    /* numbers; step 0: any */
	bool or_zero;               /* 0 is allowed besides min..max */
	const char *const *choices; /* words, in the order of the field's enum; then NULL */
};

int value_name(const struct ini_key *k, const char *v, void *out, struct kerr *e);
int value_u32(const struct ini_key *k, const char *v, void *out, struct kerr *e);
int value_u64(const struct ini_key *k, const char *v, void *out, struct kerr *e);
int value_share(const struct ini_key *k, const char *v, void *out, struct kerr *e);
int value_size(const struct ini_key *k, const char *v, void *out, struct kerr *e);
int value_duration(const struct ini_key *k, const char *v, void *out, struct kerr *e);
int value_digest(const struct ini_key *k, const char *v, void *out, struct kerr *e);
int value_command(const struct ini_key *k, const char *v, void *out, struct kerr *e);
int value_user(const struct ini_key *k, const char *v, void *out, struct kerr *e);
int value_workdir(const struct ini_key *k, const char *v, void *out, struct kerr *e);
/* The field is an enum of the size of an int that counts from 0. */
int value_choice(const struct ini_key *k, const char *v, void *out, struct kerr *e);
