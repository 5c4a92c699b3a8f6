#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <base/clock.h>

#include "when.h"

#define S   CLOCK_NS_PER_S
#define NOW (1800000000ULL * S)

static const struct {
	const char *text;
	uint64_t ns; /* 0: refused */
} cases[] = {
	{ "10m", NOW - 600 * S },
	{ "1h30m", NOW - 5400 * S },
	{ "2d", NOW - 2 * 86400 * S },
	{ "1500ms", NOW - 1500000000ULL },
	{ "1700000000", 1700000000ULL * S },
	{ "1700000000.5", 1700000000ULL * S + S / 2 },
	{ "1700000000.0000000019", 1700000000ULL * S + 1 },
	{ "2026-01-02T03:04:05Z", 1767323045ULL * S },
	{ "2026-01-02T03:04:05.25Z", 1767323045ULL * S + S / 4 },
	{ "2026-01-02 03:04:05z", 1767323045ULL * S },
	{ "2026-01-02T05:34:05+02:30", 1767323045ULL * S },
	{ "2026-01-01T22:04:05-05:00", 1767323045ULL * S },
	/* Local time: TZ is three hours east, below. */
	{ "2026-01-02T06:04:05", 1767323045ULL * S },
	{ "2026-01-02T06:04", 1767323040ULL * S },
	{ "2026-01-02", 1767301200ULL * S },
	{ "2024-02-29", 1709154000ULL * S },
	{ "", 0 },
	{ "x", 0 },
	{ "-5m", 0 },
	{ " 5m", 0 },
	{ "5", 5 * S },
	{ "5y", 0 },
	{ "5m ", 0 },
	{ "5mm", 0 },
	{ "99999999999", 0 },
	{ "18446744073709551616", 0 },
	{ "9999999999999999999d", 0 },
	{ "1700000000.", 0 },
	{ "2026-1-2", 0 },
	{ "2026-13-02", 0 },
	{ "2026-00-02", 0 },
	{ "2026-01-32", 0 },
	{ "2026-02-31", 0 },
	{ "2025-02-29", 0 },
	{ "2026-01-02T", 0 },
	{ "2026-01-02T24:00", 0 },
	{ "2026-01-02T03:60", 0 },
	{ "2026-01-02T03:04:61", 0 },
	{ "2026-01-02T03:04:05.", 0 },
	{ "2026-01-02T03:04:05+2", 0 },
	{ "2026-01-02T03:04:05+24:00", 0 },
	{ "2026-01-02T03:04:05Zx", 0 },
	{ "1969-12-31", 0 },
	{ "9999-01-01", 0 },
};

START_TEST(test_when)
{
	uint64_t ns = 0;
	int r = when_parse(cases[_i].text, NOW, &ns);

	if (cases[_i].ns == 0) {
		ck_assert_msg(r == -EINVAL, "%s was taken as %llu", cases[_i].text,
			(unsigned long long)ns);
		return;
	}
	ck_assert_msg(r == 0, "%s was refused", cases[_i].text);
	ck_assert_msg(ns == cases[_i].ns, "%s: %llu", cases[_i].text, (unsigned long long)ns);
}
END_TEST

START_TEST(test_longer_than_time)
{
	uint64_t ns = 7;

	ck_assert_int_eq(when_parse("10m", 5, &ns), 0);
	ck_assert_uint_eq(ns, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("when");
	TCase *t = tcase_create("all");
	SRunner *sr = srunner_create(s);
	int failed;

	(void)setenv("TZ", "EAST-3", 1);
	tzset();
	tcase_add_loop_test(t, test_when, 0, (int)(sizeof(cases) / sizeof(cases[0])));
	tcase_add_test(t, test_longer_than_time);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
