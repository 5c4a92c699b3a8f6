#include "when.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <base/clock.h>
#include <base/units.h>

#define SECONDS_MAX 9000000000ULL /* the year 2255; in nanoseconds it fits */

/* Digits at *s, at most max of them. */
static int number(const char **s, size_t min, size_t max, int64_t *ret)
{
	int64_t n = 0;
	size_t i;

	for (i = 0; i < max && isdigit((unsigned char)(*s)[i]); i++)
		n = n * 10 + ((*s)[i] - '0');
	if (i < min)
		return -EINVAL;
	*s += i;
	*ret = n;
	return 0;
}

/* ".5" at *s, if it is there; digits past the ninth are dropped. */
static int fraction(const char **s, uint64_t *ns)
{
	uint64_t unit = CLOCK_NS_PER_S / 10;

	*ns = 0;
	if (**s != '.')
		return 0;
	++*s;
	if (!isdigit((unsigned char)**s))
		return -EINVAL;
	for (; isdigit((unsigned char)**s); ++*s) {
		*ns += (uint64_t)(**s - '0') * unit;
		unit /= 10;
	}
	return 0;
}

static int parse_duration(const char *s, uint64_t *ret)
{
	uint64_t sum = 0;

	while (*s) {
		char part[32];
		uint64_t ns;
		size_t n = strspn(s, "0123456789");

		n += strcspn(s + n, "0123456789");
		if (n >= sizeof(part))
			return -EINVAL;
		memcpy(part, s, n);
		part[n] = '\0';
		if (units_parse_duration(part, &ns) < 0 || __builtin_add_overflow(sum, ns, &sum))
			return -EINVAL;
		s += n;
	}
	*ret = sum;
	return 0;
}

static int parse_seconds(const char *s, uint64_t *ret)
{
	int64_t seconds;
	uint64_t ns;

	if (number(&s, 1, 10, &seconds) < 0 || fraction(&s, &ns) < 0 || *s ||
		(uint64_t)seconds > SECONDS_MAX)
		return -EINVAL;
	*ret = (uint64_t)seconds * CLOCK_NS_PER_S + ns;
	return 0;
}

/* "Z", "+02:00" or nothing. */
static int parse_zone(const char *s, bool *local, int64_t *offset)
{
	int64_t hours = 0;
	int64_t minutes = 0;
	char sign = *s;

	*local = *s == '\0';
	*offset = 0;
	if (*local || strcmp(s, "Z") == 0 || strcmp(s, "z") == 0)
		return 0;
	s++;
	if ((sign != '+' && sign != '-') || number(&s, 2, 2, &hours) < 0 || *s++ != ':' ||
		number(&s, 2, 2, &minutes) < 0 || *s || hours > 23 || minutes > 59)
		return -EINVAL;
	*offset = (hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
	return 0;
}

static int parse_clock(const char **s, int64_t clock[3], uint64_t *ns)
{
	if (number(s, 2, 2, &clock[0]) < 0 || *(*s)++ != ':' || number(s, 2, 2, &clock[1]) < 0)
		return -EINVAL;
	if (**s == ':') {
		++*s;
		if (number(s, 2, 2, &clock[2]) < 0 || fraction(s, ns) < 0)
			return -EINVAL;
	}
	return clock[0] > 23 || clock[1] > 59 || clock[2] > 60 ? -EINVAL : 0;
}

static int parse_date(const char *s, uint64_t *ret)
{
	int64_t year, month, day, offset, seconds;
	int64_t clock[3] = { 0 };
	struct tm tm = { .tm_isdst = -1 };
	uint64_t ns = 0;
	bool local;

	if (number(&s, 4, 4, &year) < 0 || *s++ != '-' || number(&s, 2, 2, &month) < 0 ||
		*s++ != '-' || number(&s, 2, 2, &day) < 0)
		return -EINVAL;
	if (year < 1970 || year > 2250 || month < 1 || month > 12 || day < 1 || day > 31)
		return -EINVAL;
	if (*s == 'T' || *s == 't' || *s == ' ') {
		s++;
		if (parse_clock(&s, clock, &ns) < 0)
			return -EINVAL;
	}
	if (parse_zone(s, &local, &offset) < 0)
		return -EINVAL;
	tm.tm_year = (int)year - 1900;
	tm.tm_mon = (int)month - 1;
	tm.tm_mday = (int)day;
	tm.tm_hour = (int)clock[0];
	tm.tm_min = (int)clock[1];
	tm.tm_sec = (int)clock[2];
	seconds = (local ? mktime(&tm) : timegm(&tm)) - offset;
	/* The library carries the 31st of February on into March. */
	if (seconds < 0 || tm.tm_mon != (int)month - 1)
		return -EINVAL;
	*ret = (uint64_t)seconds * CLOCK_NS_PER_S + ns;
	return 0;
}

int when_parse(const char *text, uint64_t now_ns, uint64_t *ret_ns)
{
	uint64_t ns;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	if (parse_seconds(text, ret_ns) == 0 || parse_date(text, ret_ns) == 0)
		return 0;
	if (parse_duration(text, &ns) < 0)
		return -EINVAL;
	*ret_ns = ns < now_ns ? now_ns - ns : 0;
	return 0;
}
