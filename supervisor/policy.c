#include "policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <base/cleanup.h>
#include <base/units.h>

#include "agent.h"
#include "ceiling.h"

#define NO_CEILING SANDBOX_KEYS
#define NO_LIMIT   LIMIT_COUNT

static void in_count(uint64_t v, char *buf, size_t len)
{
	(void)snprintf(buf, len, "%llu", (unsigned long long)v);
}

/* What the manifest says of one agent, in the order in which people ask for it. */
static const struct row {
	const char *name;
	void (*format)(uint64_t v, char *buf, size_t len);
	enum limit_name limit; /* or where in the manifest: */
	size_t value, line;
	enum sandbox_key ceiling;
	const char *zero; /* 0 in words */
	const char *by;
} rows[] = {
#define FIELD(v, l)                                                                                \
	.limit = NO_LIMIT, .value = offsetof(struct manifest, v),                                  \
	.line = offsetof(struct manifest, l)
#define LIMIT(n, l) .limit = (n), .line = offsetof(struct manifest, l)
	{ "memory", units_format_size, FIELD(memory, memory_line), SANDBOX_MEMORY, "0",
		"size of the VM; memory.max is more by what the VMM may take" },
	{ "state", units_format_size, FIELD(state, state_line), SANDBOX_STATE, "no disk",
		"size of the state disk, RLIMIT_FSIZE" },
	{ "console", units_format_size, FIELD(console_max, console_line), NO_CEILING, "0", "VMM" },
	{ "log", units_format_size, FIELD(log_max, log_line), NO_CEILING, "0", "kosvmd" },
	{ "cpu", units_format_share, LIMIT(LIMIT_CPU, cpu_line), SANDBOX_CPU, "no limit",
		"cpu.max" },
	{ "cpu-weight", in_count, LIMIT(LIMIT_CPU_WEIGHT, cpu_weight_line), NO_CEILING, "100",
		"cpu.weight" },
	{ "disk-bandwidth", units_format_size, LIMIT(LIMIT_DISK_BANDWIDTH, disk_bandwidth_line),
		SANDBOX_DISK_BANDWIDTH, "no limit", "VMM, io.max" },
	{ "disk-ops", in_count, LIMIT(LIMIT_DISK_OPS, disk_ops_line), SANDBOX_DISK_OPS, "no limit",
		"VMM, io.max" },
	{ "disk-burst", units_format_size, LIMIT(LIMIT_DISK_BURST, disk_burst_line),
		SANDBOX_DISK_BANDWIDTH, "one second's worth", "VMM" },
	{ "vsock-bandwidth", units_format_size, LIMIT(LIMIT_VSOCK_BANDWIDTH, vsock_bandwidth_line),
		SANDBOX_VSOCK_BANDWIDTH, "no limit", "VMM" },
	{ "vsock-burst", units_format_size, LIMIT(LIMIT_VSOCK_BURST, vsock_burst_line),
		SANDBOX_VSOCK_BANDWIDTH, "one second's worth", "VMM" },
#undef FIELD
#undef LIMIT
};

/* What all agents together may have. */
static const struct total {
	const char *name;
	enum sandbox_key key;
	void (*format)(uint64_t v, char *buf, size_t len);
} totals[] = {
	{ "agents", SANDBOX_AGENTS, in_count },
	{ "vcpus-total", SANDBOX_VCPUS_TOTAL, in_count },
	{ "memory-total", SANDBOX_MEMORY_TOTAL, units_format_size },
	{ "state-total", SANDBOX_STATE_TOTAL, units_format_size },
};

static const void *at(const struct manifest *m, size_t offset)
{
	return (const char *)m + offset;
}

static void place(const char *file, unsigned line, char out[static 320])
{
	out[0] = '\0';
	if (line)
		(void)snprintf(out, 320, "%.300s:%u", file, line);
}

static json_t *told(const char *name, const char *value, const char *from, const char *where,
	const char *most, const char *most_where, const char *by)
{
	return json_pack("{s:s, s:s, s:s, s:o, s:s, s:o, s:s}", "name", name, "value", value,
		"from", from, "where", api_text(where), "most", most, "most_where",
		api_text(most_where), "by", by);
}

static json_t *explain(
	const struct agent *a, const struct row *r, const struct limits *l, const char *file)
{
	const struct sandbox *box = &a->sup->sandbox;
	bool is_limit = r->limit != NO_LIMIT;
	uint64_t v = is_limit ? l->value[r->limit] : *(const uint64_t *)at(&a->manifest, r->value);
	unsigned line = *(const unsigned *)at(&a->manifest, r->line);
	const char *from = is_limit ? l->from[r->limit] : line ? "manifest" : "default";
	unsigned most_line = r->ceiling == NO_CEILING ? 0 : box->line[r->ceiling];
	char where[320];
	char most_where[320];
	char text[32];
	char most[32] = "";

	/* 0 in the manifest is a limit that is not there. */
	if (*from == 'd' && line)
		from = "manifest";
	if (*from == 's')
		place(box->file, most_line, where);
	else
		place(file, line, where);
	place(box->file, most_line, most_where);
	if (v)
		r->format(v, text, sizeof(text));
	else
		(void)snprintf(text, sizeof(text), "%s", r->zero);
	if (most_line)
		r->format(box->limit[r->ceiling], most, sizeof(most));
	return told(r->name, text, from, where, most, most_where, r->by);
}

static json_t *explain_vcpus(const struct agent *a, const char *file)
{
	const struct sandbox *box = &a->sup->sandbox;
	char where[320];
	char most_where[320];
	char text[32];
	char most[32] = "";

	place(file, a->manifest.vcpus_line, where);
	place(box->file, box->line[SANDBOX_VCPUS], most_where);
	in_count(a->manifest.vcpus, text, sizeof(text));
	if (box->line[SANDBOX_VCPUS])
		in_count(box->limit[SANDBOX_VCPUS], most, sizeof(most));
	return told("vcpus", text, a->manifest.vcpus_line ? "manifest" : "default", where, most,
		most_where, "size of the VM");
}

static json_t *explain_limits(const struct agent *a, const char *file)
{
	const struct sandbox *box = &a->sup->sandbox;
	json_t *list = json_array();
	struct limits l;
	char where[320];
	char text[32];

	limits_of(a, &l);
	(void)json_array_append_new(list, explain_vcpus(a, file));
	for (size_t i = 0; i < array_size(rows); i++)
		(void)json_array_append_new(list, explain(a, &rows[i], &l, file));
	for (size_t i = 0; i < array_size(totals); i++) {
		unsigned line = box->line[totals[i].key];

		place(box->file, line, where);
		(void)snprintf(text, sizeof(text), "no limit");
		if (line)
			totals[i].format(box->limit[totals[i].key], text, sizeof(text));
		(void)json_array_append_new(list,
			told(totals[i].name, text, line ? "sandbox" : "default", where, "", "",
				"kosvmd, for all agents together"));
	}
	return list;
}

static void agentp_free(struct agent **a)
{
	if (*a)
		manifest_done(&(*a)->manifest);
	free(*a);
}

int policy_explain(
	struct sup *s, const char *file, const char *text, size_t len, json_t **ret, struct kerr *e)
{
	_cleanup_(agentp_free) struct agent *a = calloc(1, sizeof(*a));
	struct kerr why = { 0 };
	int r;

	if (!a)
		return kerr_errno(e, ENOMEM, "policy");
	/* One that is asked about only: in no list, without a row. */
	a->sup = s;
	r = manifest_parse(file, text, len, &a->manifest, e);
	if (r < 0)
		return r;
	r = ceiling_check_create(a, file, &why);
	*ret = json_pack("{s:o, s:o, s:o, s:o}", "limits", explain_limits(a, file), "isolation",
		isolation_describe(&s->isolation, &s->sandbox), "quotas",
		quotas_describe(&s->quotas), "refused", r < 0 ? api_text(why.msg) : json_null());
	return *ret ? 0 : kerr_errno(e, ENOMEM, "policy");
}
