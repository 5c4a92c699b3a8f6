#include <check.h>
#include <errno.h>
#include <string.h>

#include "keys.h"
#include "signame.h"

static const struct {
	const char *text;
	const char *bytes; /* NULL: refused */
	size_t len;
} sequences[] = {
	{ "ctrl-p,ctrl-q", "\x10\x11", 2 },
	{ "a", "a", 1 },
	{ "ctrl-@,ctrl-[,ctrl-_", "\0\x1b\x1f", 3 },
	{ "", "", 0 },
	{ "ctrl-", NULL, 0 },
	{ "ctrl-1", NULL, 0 },
	{ "ctrl-pp", NULL, 0 },
	{ "ab", NULL, 0 },
	{ "a,", NULL, 0 },
	{ ",a", NULL, 0 },
	{ "a,b,c,d,e,f,g,h,i", NULL, 0 },
	{ "\x01", NULL, 0 },
};

START_TEST(test_parse)
{
	struct keys k = { 0 };
	int r = keys_parse(sequences[_i].text, &k);

	ck_assert_int_eq(r, sequences[_i].bytes ? 0 : -EINVAL);
	if (r == 0) {
		ck_assert_uint_eq(k.len, sequences[_i].len);
		ck_assert_mem_eq(k.sequence, sequences[_i].bytes, k.len);
	}
}
END_TEST

/* What was typed in pieces, and what of it is passed on; '|' parts the pieces. */
static const struct {
	const char *typed;
	const char *passed;
	bool left;
} typing[] = {
	{ "abc", "abc", false },
	{ "a\x10"
	  "b",
		"a\x10"
		"b",
		false },
	{ "a\x10|b",
		"a\x10"
		"b",
		false },
	{ "a\x10\x11", "a", true },
	{ "a\x10|\x11", "a", true },
	{ "\x10\x10\x11", "\x10", true },
	{ "\x11\x10", "\x11", false },
	{ "\x10\x11more", "", true },
};

START_TEST(test_filter)
{
	struct keys k;
	uint8_t out[64 + KEYS_MAX];
	char passed[128] = "";
	const char *p = typing[_i].typed;
	bool left = false;

	ck_assert_int_eq(keys_parse(KEYS_DEFAULT, &k), 0);
	while (*p && !left) {
		size_t n = strcspn(p, "|");
		size_t len = 0;

		left = keys_filter(&k, (const uint8_t *)p, n, out, &len);
		ck_assert_uint_le(len, n + KEYS_MAX);
		strncat(passed, (const char *)out, len);
		p += n + (p[n] == '|');
	}
	ck_assert(left == typing[_i].left);
	ck_assert_str_eq(passed, typing[_i].passed);
}
END_TEST

START_TEST(test_no_keys)
{
	struct keys k;
	uint8_t out[4 + KEYS_MAX];
	size_t len = 0;

	ck_assert_int_eq(keys_parse("", &k), 0);
	ck_assert(!keys_filter(&k, (const uint8_t *)"\x10\x11", 2, out, &len));
	ck_assert_uint_eq(len, 2);
}
END_TEST

START_TEST(test_signame)
{
	ck_assert_int_eq(signame_parse("TERM"), 15);
	ck_assert_int_eq(signame_parse("SIGTERM"), 15);
	ck_assert_int_eq(signame_parse("sigkill"), 9);
	ck_assert_int_eq(signame_parse("1"), 1);
	ck_assert_int_eq(signame_parse("64"), 64);
	ck_assert_int_eq(signame_parse("0"), -EINVAL);
	ck_assert_int_eq(signame_parse("65"), -EINVAL);
	ck_assert_int_eq(signame_parse("-9"), -EINVAL);
	ck_assert_int_eq(signame_parse(""), -EINVAL);
	ck_assert_int_eq(signame_parse("SIG"), -EINVAL);
	ck_assert_int_eq(signame_parse("SIGSIGTERM"), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("keys");
	TCase *t = tcase_create("all");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, test_parse, 0, (int)(sizeof(sequences) / sizeof(sequences[0])));
	tcase_add_loop_test(t, test_filter, 0, (int)(sizeof(typing) / sizeof(typing[0])));
	tcase_add_test(t, test_no_keys);
	tcase_add_test(t, test_signame);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
