#include "limits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/units.h>

#include "agent.h"

#define KIB (UINT64_C(1) << 10)
#define TIB (UINT64_C(1) << 40)

static void format_count(uint64_t v, char *buf, size_t len)
{
	(void)snprintf(buf, len, "%llu", (unsigned long long)v);
}

static const struct limit {
	const char *key;  /* of the API and the database */
	const char *name; /* of manifest and sandbox.ini */
	void (*format)(uint64_t v, char *buf, size_t len);
	uint64_t min, max; /* 0 is allowed besides */
	int ceiling;       /* enum sandbox_key; -1: none */
} limits[LIMIT_COUNT] = {
	[LIMIT_DISK_BANDWIDTH] = { "disk_bandwidth", "disk-bandwidth", units_format_size, 4 * KIB,
		TIB, SANDBOX_DISK_BANDWIDTH },
	[LIMIT_DISK_OPS] = { "disk_ops", "disk-ops", format_count, 1, 1000000000,
		SANDBOX_DISK_OPS },
	[LIMIT_DISK_BURST] = { "disk_burst", "disk-burst", units_format_size, 4 * KIB, TIB, -1 },
	[LIMIT_VSOCK_BANDWIDTH] = { "vsock_bandwidth", "vsock-bandwidth", units_format_size,
		4 * KIB, TIB, SANDBOX_VSOCK_BANDWIDTH },
	[LIMIT_VSOCK_BURST] = { "vsock_burst", "vsock-burst", units_format_size, 4 * KIB, TIB, -1 },
	[LIMIT_CPU] = { "cpu_permille", "cpu", units_format_share, 10, 32000, SANDBOX_CPU },
	[LIMIT_CPU_WEIGHT] = { "cpu_weight", "cpu-weight", format_count, 1, 10000, -1 },
};

static void decrefp(json_t **o)
{
	json_decref(*o);
}

static void in_words(const struct limit *l, uint64_t v, char out[static 32])
{
	if (v == 0)
		(void)snprintf(out, 32, "none");
	else
		l->format(v, out, 32);
}

static bool in_range(const struct limit *l, json_int_t v)
{
	return v == 0 || (v > 0 && (uint64_t)v >= l->min && (uint64_t)v <= l->max);
}

int limits_parse(const char *text, struct limits_changed *ret, struct kerr *e)
{
	_cleanup_(decrefp) json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	struct limits_changed c = { 0 };

	if (!json_is_object(o))
		return kerr_set(e, EINVAL, "database: overrides is not a JSON object");
	for (int i = 0; i < LIMIT_COUNT; i++) {
		const json_t *v = json_object_get(o, limits[i].key);

		if (!v)
			continue;
		if (!json_is_integer(v) || !in_range(&limits[i], json_integer_value(v)))
			return kerr_set(e, EINVAL, "database: overrides: %s is out of range",
				limits[i].key);
		c.set[i] = true;
		c.value[i] = (uint64_t)json_integer_value(v);
	}
	*ret = c;
	return 0;
}

char *limits_format(const struct limits_changed *c)
{
	_cleanup_(decrefp) json_t *o = json_object();

	for (int i = 0; i < LIMIT_COUNT; i++) {
		if (c->set[i] &&
			json_object_set_new(
				o, limits[i].key, json_integer((json_int_t)c->value[i])) < 0)
			return NULL;
	}
	return o ? json_dumps(o, JSON_COMPACT) : NULL;
}

static int change_one(struct limits_changed *c, int i, const json_t *v, struct kerr *e)
{
	char least[32];
	char most[32];

	c->set[i] = !json_is_null(v);
	c->value[i] = 0;
	if (!c->set[i])
		return 0;
	if (!in_range(&limits[i], json_integer_value(v))) {
		in_words(&limits[i], limits[i].min, least);
		in_words(&limits[i], limits[i].max, most);
		return kerr_set(e, EINVAL, "%s = %lld: expected %s to %s, or 0 for no limit",
			limits[i].key, (long long)json_integer_value(v), least, most);
	}
	c->value[i] = (uint64_t)json_integer_value(v);
	return 0;
}

int limits_change(
	struct limits_changed *c, const json_t *body, char *what, size_t len, struct kerr *e)
{
	size_t n = 0;

	*what = '\0';
	if (json_is_true(json_object_get(body, "reset"))) {
		*c = (struct limits_changed){ 0 };
		n = (size_t)snprintf(what, len, "limits as the manifest says");
	}
	for (int i = 0; i < LIMIT_COUNT; i++) {
		const json_t *v = json_object_get(body, limits[i].key);
		char text[32];

		if (!v)
			continue;
		if (change_one(c, i, v, e) < 0)
			return -e->code;
		in_words(&limits[i], c->value[i], text);
		if (n < len)
			n += (size_t)snprintf(what + n, len - n, "%s%s = %s", n ? ", " : "",
				limits[i].name, c->set[i] ? text : "as the manifest says");
	}
	return n ? 0
		 : kerr_set(e, EINVAL,
			   "body: nothing to change: expected disk_bandwidth or "
			   "another limit");
}

int limits_check(const struct agent *a, const struct limits_changed *c, struct kerr *e)
{
	for (int i = 0; i < LIMIT_COUNT; i++) {
		int r = 0;

		if (c->set[i] && limits[i].ceiling >= 0)
			r = sandbox_check_change(&a->sup->sandbox,
				(enum sandbox_key)limits[i].ceiling, c->value[i], a->row.name, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One second's worth of the ceiling is what may pass at once: a burst is no way around it. */
static void keep_burst(const struct agent *a, struct limits *l, int burst, enum sandbox_key key)
{
	const struct sandbox *box = &a->sup->sandbox;

	if (box->line[key] == 0 || l->value[burst] <= box->limit[key])
		return;
	l->value[burst] = box->limit[key];
	l->from[burst] = "sandbox";
}

void limits_of(const struct agent *a, struct limits *ret)
{
	const struct sandbox *box = &a->sup->sandbox;
	const uint64_t asked[LIMIT_COUNT] = {
		[LIMIT_DISK_BANDWIDTH] = a->manifest.disk_rate.bytes,
		[LIMIT_DISK_OPS] = a->manifest.disk_rate.ops,
		[LIMIT_DISK_BURST] = a->manifest.disk_rate.burst,
		[LIMIT_VSOCK_BANDWIDTH] = a->manifest.vsock_rate.bytes,
		[LIMIT_VSOCK_BURST] = a->manifest.vsock_rate.burst,
		[LIMIT_CPU] = a->manifest.cpu,
		[LIMIT_CPU_WEIGHT] = a->manifest.cpu_weight,
	};

	for (int i = 0; i < LIMIT_COUNT; i++) {
		int key = limits[i].ceiling;
		bool changed = a->changed.set[i];

		ret->value[i] = changed ? a->changed.value[i] : asked[i];
		ret->from[i] = changed ? "update" : asked[i] ? "manifest" : "default";
		if (ret->value[i] == 0 && key >= 0 && box->line[key]) {
			ret->value[i] = box->limit[key];
			ret->from[i] = "sandbox";
		}
	}
	keep_burst(a, ret, LIMIT_DISK_BURST, SANDBOX_DISK_BANDWIDTH);
	keep_burst(a, ret, LIMIT_VSOCK_BURST, SANDBOX_VSOCK_BANDWIDTH);
}

bool limits_any(const struct agent *a)
{
	struct limits l;
	bool any = false;

	limits_of(a, &l);
	for (int i = 0; i < LIMIT_COUNT; i++)
		any = any || l.value[i] || a->changed.set[i];
	return any;
}

void limits_rates(const struct limits *l, struct rate_limit *disk, struct rate_limit *vsock)
{
	*disk = (struct rate_limit){
		.bytes = l->value[LIMIT_DISK_BANDWIDTH],
		.ops = l->value[LIMIT_DISK_OPS],
		.burst = l->value[LIMIT_DISK_BURST],
	};
	*vsock = (struct rate_limit){
		.bytes = l->value[LIMIT_VSOCK_BANDWIDTH],
		.burst = l->value[LIMIT_VSOCK_BURST],
	};
}

json_t *limits_describe(const struct agent *a)
{
	json_t *o = json_object();
	struct limits l;

	limits_of(a, &l);
	for (int i = 0; i < LIMIT_COUNT; i++)
		(void)json_object_set_new(o, limits[i].key,
			json_pack(
				"{s:I, s:s}", "value", (json_int_t)l.value[i], "from", l.from[i]));
	return o;
}
