#include <base/units.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <base/clock.h>

/* Leading digits of *s; leaves *s behind them. */
static int parse_digits(const char **s, uint64_t *ret)
{
	uint64_t v = 0;
	const char *p = *s;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
			__builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return -ERANGE;
	}
	*s = p;
	*ret = v;
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static int parse_with_units(const char *s, const struct unit *units, uint64_t *ret)
{
	uint64_t v;
	int r = parse_digits(&s, &v);

	if (r < 0)
		return r;
	for (const struct unit *u = units; u->name; u++) {
		if (strcmp(s, u->name) == 0)
			return __builtin_mul_overflow(v, u->factor, ret) ? -ERANGE : 0;
	}
	if (v == 0 && *s == '\0') {
		*ret = 0;
		return 0;
	}
	return -EINVAL;
}

int units_parse_size(const char *s, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "K", 1ULL << 10 },
		{ "M", 1ULL << 20 },
		{ "G", 1ULL << 30 },
		{ "T", 1ULL << 40 },
		{ 0 },
	};

	return parse_with_units(s, units, ret_bytes);
}

int units_parse_duration(const char *s, uint64_t *ret_ns)
{
	static const struct unit units[] = {
		{ "ms", CLOCK_NS_PER_MS },
		{ "s", CLOCK_NS_PER_S },
		{ "m", 60 * CLOCK_NS_PER_S },
		{ "h", 3600 * CLOCK_NS_PER_S },
		{ "d", 86400 * CLOCK_NS_PER_S },
		{ 0 },
	};

	return parse_with_units(s, units, ret_ns);
}

int units_parse_share(const char *s, uint64_t *ret_permille)
{
	uint64_t n = 0;
	unsigned decimals = 0;
	int r = parse_digits(&s, &n);

	if (r < 0)
		return r;
	if (*s == '.' && (s[1] < '0' || s[1] > '9'))
		return -EINVAL;
	if (*s == '.')
		s++;
	for (; *s >= '0' && *s <= '9'; s++, decimals++) {
		if (decimals == 3 || __builtin_mul_overflow(n, 10, &n) ||
			__builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
			return -ERANGE;
	}
	for (; decimals < 3; decimals++) {
		if (__builtin_mul_overflow(n, 10, &n))
			return -ERANGE;
	}
	if (*s == '%') {
		if (n % 100 != 0)
			return -ERANGE;
		n /= 100;
		s++;
	}
	if (*s != '\0')
		return -EINVAL;
	*ret_permille = n;
	return 0;
}

int units_parse_u64(const char *s, uint64_t max, uint64_t *ret)
{
	uint64_t v;
	int r = parse_digits(&s, &v);

	if (r < 0)
		return r;
	if (*s != '\0')
		return -EINVAL;
	if (v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

void units_format_size(uint64_t bytes, char *buf, size_t len)
{
	static const char suffix[] = "BKMGTP";
	double v = (double)bytes;
	unsigned i = 0;

	while (v >= 1024.0 && i < sizeof(suffix) - 2) {
		v /= 1024.0;
		i++;
	}
	(void)snprintf(
		buf, len, v - (double)(uint64_t)v < 0.05 ? "%.0f%c" : "%.1f%c", v, suffix[i]);
}

void units_format_duration(uint64_t ns, char *buf, size_t len)
{
	uint64_t s = ns / CLOCK_NS_PER_S;

	if (s < 60)
		(void)snprintf(buf, len, "%.1fs", (double)ns / (double)CLOCK_NS_PER_S);
	else if (s < 3600)
		(void)snprintf(buf, len, "%um%02us", (unsigned)(s / 60), (unsigned)(s % 60));
	else if (s < 86400)
		(void)snprintf(buf, len, "%uh%02um", (unsigned)(s / 3600), (unsigned)(s / 60 % 60));
	else
		(void)snprintf(buf, len, "%llud%02uh", (unsigned long long)(s / 86400),
			(unsigned)(s / 3600 % 24));
}

void units_format_share(uint64_t permille, char *buf, size_t len)
{
	if (permille % 10)
		(void)snprintf(buf, len, "%llu.%llu%%", (unsigned long long)permille / 10,
			(unsigned long long)permille % 10);
	else
		(void)snprintf(buf, len, "%llu%%", (unsigned long long)permille / 10);
}
