#include <manifests/sandbox.h>

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

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

#define NEED_FORM "required, if-possible or off"
#define PROTECTION(p, n)                                                                           \
	[SANDBOX_KEYS + (p)] = { .section = "isolation",                                           \
		.name = (n),                                                                       \
		.parse = value_choice,                                                             \
		.offset = offsetof(struct sandbox, need[p]),                                       \
		.choices = need_words,                                                             \
		.expected = NEED_FORM }

static const char *const sections[] = { "limits", "isolation", "identity" };
static const char *const unenforced_words[] = { "refuse", "allow", NULL };
static const char *const need_words[] = { "required", "if-possible", "off", NULL };

/* Behind those of enum sandbox_key and enum sandbox_protection. */
enum { KEY_JAIL = SANDBOX_KEYS + SANDBOX_PROTECTIONS, KEY_UIDS, KEY_UNENFORCED, KEY_COUNT };

/* What is read before the keys are weighed against each other. */
struct reading {
	struct sandbox s; /* first: the keys' offsets are its own */
	enum sandbox_need jail;
	unsigned key_line[KEY_COUNT];
};

/* "FIRST-LAST": ordinary uids, none of the two that stand for nobody. */
static int value_uids(const struct ini_key *k, const char *v, void *out, struct kerr *e)
{
	struct sandbox_uids *uids = (void *)((char *)out + k->offset);
	char first[12] = "";
	const char *dash = strchr(v, '-');
	uint64_t a = 0;
	uint64_t b = 0;

	if (!dash || (size_t)(dash - v) >= sizeof(first))
		return kerr_set(e, EINVAL, "expected %s", k->expected);
	memcpy(first, v, (size_t)(dash - v));
	if (units_parse_u64(first, k->max, &a) < 0 || units_parse_u64(dash + 1, k->max, &b) < 0 ||
		a < k->min || b < a)
		return kerr_set(e, EINVAL, "expected %s", k->expected);
	if (a <= 65535 && b >= 65534)
		return kerr_set(e, EINVAL,
			"expected a range without 65534 and 65535: they are everybody's that has "
			"no user");
	*uids = (struct sandbox_uids){ (uint32_t)a, (uint32_t)b };
	return 0;
}

static const struct ini_key keys[KEY_COUNT] = {
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
	[SANDBOX_CPU] = { .name = "cpu",
		LIMIT(SANDBOX_CPU),
		.parse = value_share,
		.min = 10,
		.max = 32000,
		.expected = "a share of processors such as 50% or 1.5",
		.range = "1% to 3200%" },
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
	PROTECTION(SANDBOX_MOUNT, "mount"),
	PROTECTION(SANDBOX_NETWORK, "network"),
	PROTECTION(SANDBOX_IPC, "ipc"),
	PROTECTION(SANDBOX_PID, "pid"),
	PROTECTION(SANDBOX_UTS, "uts"),
	PROTECTION(SANDBOX_CGROUP, "cgroup"),
	PROTECTION(SANDBOX_TIME, "time"),
	PROTECTION(SANDBOX_IDENTITY, "identity"),
	PROTECTION(SANDBOX_RLIMITS, "rlimits"),
	PROTECTION(SANDBOX_CAPABILITIES, "capabilities"),
	PROTECTION(SANDBOX_SECCOMP, "seccomp"),
	PROTECTION(SANDBOX_LANDLOCK, "landlock"),
	[KEY_JAIL] = { .section = "isolation",
		.name = "jail",
		.parse = value_choice,
		.offset = offsetof(struct reading, jail),
		.choices = need_words,
		.expected = NEED_FORM },
	[KEY_UIDS] = { .section = "identity",
		.name = "uids",
		.parse = value_uids,
		.offset = offsetof(struct sandbox, uids),
		.min = 1000,
		.max = UINT32_MAX - 2,
		.expected = "FIRST-LAST, both 1000 to 4294967293, such as 1879048192-1879113727" },
	[KEY_UNENFORCED] = { .section = "limits",
		.name = "unenforced-quotas",
		.parse = value_choice,
		.offset = offsetof(struct sandbox, unenforced),
		.choices = unenforced_words,
		.expected = "refuse or allow" },
};

const char *sandbox_protection_name(enum sandbox_protection p)
{
	return keys[SANDBOX_KEYS + p].name;
}

const char *sandbox_need_name(enum sandbox_need n)
{
	return need_words[n];
}

void sandbox_init(struct sandbox *s, const char *file)
{
	*s = (struct sandbox){ .uids = { SANDBOX_UID_FIRST, SANDBOX_UID_LAST } };
	(void)snprintf(s->file, sizeof(s->file), "%s", file);
}

/* A key of its own wins over "jail", wherever they stand. */
static void settle(struct reading *r)
{
	struct sandbox *s = &r->s;

	for (int k = 0; k < SANDBOX_KEYS; k++)
		s->line[k] = r->key_line[k];
	for (int p = 0; p < SANDBOX_PROTECTIONS; p++) {
		s->need_line[p] = r->key_line[SANDBOX_KEYS + p];
		if (s->need_line[p] || !r->key_line[KEY_JAIL])
			continue;
		s->need_line[p] = r->key_line[KEY_JAIL];
		s->need[p] = r->jail;
	}
	s->uids_line = r->key_line[KEY_UIDS];
}

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
	struct reading got = { 0 };
	unsigned section_line[array_size(sections)] = { 0 };
	struct ini_keys p = {
		.file = file,
		.keys = keys,
		.count = KEY_COUNT,
		.sections = sections,
		.section_count = array_size(sections),
		.key_line = got.key_line,
		.section_line = section_line,
		.out = &got,
	};
	int r;

	if (len > SANDBOX_MAX_BYTES)
		return kerr_set(e, EFBIG, "%s: %zu bytes: expected at most %u", file, len,
			SANDBOX_MAX_BYTES);
	sandbox_init(&got.s, file);
	r = ini_doc_parse(file, data, len, MANIFEST_LINE_MAX, &events, &p, e);
	if (r < 0)
		return r;
	settle(&got);
	*ret = got.s;
	return 0;
}

static void format(enum sandbox_key key, uint64_t v, char out[static 32])
{
	if (keys[key].parse == value_size)
		units_format_size(v, out, 32);
	else if (keys[key].parse == value_share)
		units_format_share(v, out, 32);
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
		r = check_one(s, SANDBOX_CPU, m->cpu, file, m->cpu_line, e);
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
