#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include <base/kerr.h>
#include <wire/limits.h>

/*
 * How much of the host's disks, vsock and processors an agent may have, and who says so: a
 * person who changed it (`kosvm update`, kept with the agent across restarts),
 * else its manifest, else nobody; and over it all the ceilings of sandbox.ini.
 * 0 is no limit; under a ceiling it is the ceiling. Loop thread.
 */
enum limit_name {
	LIMIT_DISK_BANDWIDTH,
	LIMIT_DISK_OPS,
	LIMIT_DISK_BURST,
	LIMIT_VSOCK_BANDWIDTH,
	LIMIT_VSOCK_BURST,
	LIMIT_CPU,
	LIMIT_CPU_WEIGHT,
	LIMIT_COUNT,
};

/* What was changed. */
struct limits_changed {
	bool set[LIMIT_COUNT];
	uint64_t value[LIMIT_COUNT];
};

/* What holds. */
struct limits {
	uint64_t value[LIMIT_COUNT];
	const char *from[LIMIT_COUNT]; /* "default", "manifest", "update", "sandbox" */
};

struct agent;

/* text: what the database keeps, a JSON object. *ret is untouched on failure. */
int limits_parse(const char *text, struct limits_changed *ret, struct kerr *e);
/* For the database; malloc'd. NULL: no memory. */
char *limits_format(const struct limits_changed *c);

/*
 * Changes c as the body of a PATCH says (checked against its table): a number,
 * or null for what the manifest says; reset comes first. `what` gets it in
 * words. -EINVAL: out of range, or there is nothing to change.
 */
int limits_change(
	struct limits_changed *c, const json_t *body, char *what, size_t len, struct kerr *e);

/* What was changed against the host's ceilings: -EPERM with both. */
int limits_check(const struct agent *a, const struct limits_changed *c, struct kerr *e);

void limits_of(const struct agent *a, struct limits *ret);
/* Is there one, or was one changed? A VMM from before there were any is better left alone. */
bool limits_any(const struct agent *a);
void limits_rates(const struct limits *l, struct rate_limit *disk, struct rate_limit *vsock);
/* {"disk_bandwidth": {"value": 20971520, "from": "update"}, …} */
json_t *limits_describe(const struct agent *a);
