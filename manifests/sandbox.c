#include <manifests/sandbox.h>

#include <errno.h>
#include <stddef.h>
#include <stdio.h>

#include <base/cleanup.h>
#include <base/units.h>

#include "ini_doc.h"
#include "ini_keys.h"

#define LIMIT(key) .section = "limits", .offset = offsetof(struct sandbox, limit[key])
#define COUNT(low, up)                                                                             \
	.parse = value_u64, .min = (low), .max = (up), .expected = "a whole number such as 8"
#define SIZE                                                                                       \
	.parse = value_size, .min = 1ULL << 20, .max = 1ULL << 60, .expected = "a size such as 4G"
#define RATE                                                                                       \
	.parse = value_size, .min = 4ULL << 10, .max = 1ULL << 40,                                 \
	.expected = "a size such as 20M", .range = "4K to 1T"
#define SIZE_RANGE .range = "1M to 1048576T"

static const char *const sections[] = { "limits" };

static const struct ini_key keys[SANDBOX_KEYS] = {
	[SANDBOX_AGENTS] = { .name = "agents",
		LIMIT(SANDBOX_AGENTS),
		COUNT(0, 1000000),
		.range = "0 to 1000000" },
	[SANDBOX_VCPUS] = { .name = "vcpus",
		LIMIT(SANDBOX_VCPUS),
		COUNT(1, 32),
		.range = "1 to 32" },
	[SANDBOX_VCPUS_TOTAL] = { .name = "vcpus-total",
		LIMIT(SANDBOX_VCPUS_TOTAL),
		COUNT(1, 1000000),
		.range = "1 to 1000000" },
	[SANDBOX_MEMORY] = { .name = "memory", LIMIT(SANDBOX_MEMORY), SIZE, SIZE_RANGE },
	[SANDBOX_MEMORY_TOTAL] = { .name = "memory-total",
		LIMIT(SANDBOX_MEMORY_TOTAL),
		SIZE,
		SIZE_RANGE },
	[SANDBOX_STATE] = { .name = "state",
		LIMIT(SANDBOX_STATE),
		SIZE,
		.or_zero = true,
		.range = "0, or 1M to 1048576T" },
	[SANDBOX_STATE_TOTAL] = { .name = "state-total",
		LIMIT(SANDBOX_STATE_TOTAL),
		SIZE,
		.or_zero = true,
		.range = "0, or 1M to 1048576T" },
	[SANDBOX_DISK_BANDWIDTH] = { .name = "disk-bandwidth",
		LIMIT(SANDBOX_DISK_BANDWIDTH),
		RATE },
	[SANDBOX_DISK_OPS] = { .name = "disk-ops",
		LIMIT(SANDBOX_DISK_OPS),
		COUNT(1, 1000000000),
		.range = "1 to 1000000000" },
	[SANDBOX_VSOCK_BANDWIDTH] = { .name = "vsock-bandwidth",
		LIMIT(SANDBOX_VSOCK_BANDWIDTH),
		RATE },
};

static int on_section(void *user, unsigned line, const char *name, struct kerr *e)
{
	return ini_keys_section(user, line, name, e);
}

static int on_pair(void *user, unsigned line, const char *section, const char *key,
	const char *value, struct kerr *e)
{
	return ini_keys_pair(user, line, section, key, value, e);
}

int sandbox_parse(
	const char *file, const char *data, size_t len, struct sandbox *ret, struct kerr *e)
{
	static const struct ini_doc_events events = { .section = on_section, .pair = on_pair };
	struct sandbox s = { 0 };
	unsigned section_line[array_size(sections)] = { 0 };
	struct ini_keys p = {
		.file = file,
		.keys = keys,
		.count = SANDBOX_KEYS,
		.sections = sections,
		.section_count = array_size(sections),
		.key_line = s.line,
		.section_line = section_line,
		.out = &s,
	};
	int r;

	if (len > SANDBOX_MAX_BYTES)
		return kerr_set(e, EFBIG, "%s: %zu bytes: expected at most %u", file, len,
			SANDBOX_MAX_BYTES);
	(void)snprintf(s.file, sizeof(s.file), "%s", file);
	r = ini_doc_parse(file, data, len, MANIFEST_LINE_MAX, &events, &p, e);
	if (r == 0)
		*ret = s;
	return r;
}

static bool is_size(enum sandbox_key key)
{
	return keys[key].parse == value_size;
}

static void format(enum sandbox_key key, uint64_t v, char out[static 32])
{
	if (is_size(key))
		units_format_size(v, out, 32);
	else
		(void)snprintf(out, 32, "%llu", (unsigned long long)v);
}

static int check_one(const struct sandbox *s, enum sandbox_key key, uint64_t want, const char *file,
	unsigned line, struct kerr *e)
{
	char asked[32];
	char most[32];
	char where[16] = "";

	if (s->line[key] == 0 || want <= s->limit[key])
		return 0;
	format(key, want, asked);
	format(key, s->limit[key], most);
	if (line)
		(void)snprintf(where, sizeof(where), ":%u", line);
	return kerr_set(e, EPERM, "%s%s: %s = %s%s is more than %s:%u allows: %s = %s", file, where,
		keys[key].name, asked, line ? "" : " (the default)", s->file, s->line[key],
		keys[key].name, most);
}

int sandbox_check_manifest(
	const struct sandbox *s, const struct manifest *m, const char *file, struct kerr *e)
{
	int r = check_one(s, SANDBOX_VCPUS, m->vcpus, file, m->vcpus_line, e);

	if (r == 0)
		r = check_one(s, SANDBOX_MEMORY, m->memory, file, m->memory_line, e);
	if (r == 0)
		r = check_one(s, SANDBOX_STATE, m->state, file, m->state_line, e);
	if (r == 0)
		r = check_one(s, SANDBOX_DISK_BANDWIDTH, m->disk_rate.bytes, file,
			m->disk_bandwidth_line, e);
	if (r == 0)
		r = check_one(s, SANDBOX_DISK_OPS, m->disk_rate.ops, file, m->disk_ops_line, e);
	if (r == 0)
		r = check_one(s, SANDBOX_VSOCK_BANDWIDTH, m->vsock_rate.bytes, file,
			m->vsock_bandwidth_line, e);
	return r;
}

int sandbox_check_change(const struct sandbox *s, enum sandbox_key key, uint64_t want,
	const char *name, struct kerr *e)
{
	char asked[32] = "none";
	char most[32];

	if (s->line[key] == 0 || (want && want <= s->limit[key]))
		return 0;
	if (want)
		format(key, want, asked);
	format(key, s->limit[key], most);
	return kerr_set(e, EPERM, "agent %s: %s = %s is more than %s:%u allows: %s = %s", name,
		keys[key].name, asked, s->file, s->line[key], keys[key].name, most);
}

int sandbox_check_total(const struct sandbox *s, enum sandbox_key key, uint64_t have, uint64_t want,
	const char *what, const char *whose, struct kerr *e)
{
	char asked[32];
	char had[32];
	char most[32];
	uint64_t sum;

	if (s->line[key] == 0 ||
		(!__builtin_add_overflow(have, want, &sum) && sum <= s->limit[key]))
		return 0;
	format(key, want, asked);
	format(key, have, had);
	format(key, s->limit[key], most);
	return kerr_set(e, EPERM,
		"%s: %s more, with the %s of %s, is more than %s:%u allows: %s = %s", what, asked,
		had, whose, s->file, s->line[key], keys[key].name, most);
}
