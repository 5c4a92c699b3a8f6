#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lines.h"
#include "url.h"

static char seen[256];

static int note(void *user, const char *line, size_t len)
{
	(void)user;
	(void)snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "[%.*s]", (int)len, line);
	return len == 4 && memcmp(line, "stop", 4) == 0 ? 1 : 0;
}

/* However it is cut, the same lines come out. */
START_TEST(test_cut_anywhere)
{
	static const char text[] = "one\n\ntwo\r\n\rthree\nrest";
	const size_t len = sizeof(text) - 1;
	struct lines l = { 0 };

	seen[0] = '\0';
	ck_assert_int_eq(lines_feed(&l, text, (size_t)_i, note, NULL), 0);
	ck_assert_int_eq(lines_feed(&l, text + _i, len - (size_t)_i, note, NULL), 0);
	ck_assert_str_eq(seen, "[one][][two][\rthree]");
	lines_done(&l);
}
END_TEST

START_TEST(test_enough)
{
	struct lines l = { 0 };

	seen[0] = '\0';
	ck_assert_int_eq(lines_feed(&l, "a\nstop\nb\n", 9, note, NULL), 1);
	ck_assert_str_eq(seen, "[a][stop]");
	lines_done(&l);
}
END_TEST

START_TEST(test_too_long)
{
	struct lines l = { 0 };
	char *big = calloc(1, 1 << 20);
	int r = 0;

	ck_assert_ptr_nonnull(big);
	memset(big, 'x', 1 << 20);
	for (unsigned i = 0; i <= LINES_MAX >> 20 && r == 0; i++)
		r = lines_feed(&l, big, 1 << 20, note, NULL);
	ck_assert_int_eq(r, -EMSGSIZE);
	lines_done(&l);
	free(big);
}
END_TEST

static const struct {
	const char *ref;
	const char *path;
} refs[] = {
	{ "plain-Name_1.x~", "/v1/agents/plain-Name_1.x~/stop" },
	{ "../panic", "/v1/agents/..%2Fpanic/stop" },
	{ "..", "/v1/agents/%2E%2E/stop" },
	{ ".", "/v1/agents/%2E/stop" },
	{ "a?b=c&d#e", "/v1/agents/a%3Fb%3Dc%26d%23e/stop" },
	{ "\xc3\xa4 %\r\n\x7f", "/v1/agents/%C3%A4%20%25%0D%0A%7F/stop" },
};

START_TEST(test_url)
{
	struct url *u = url_agent(refs[_i].ref, "stop");

	ck_assert_str_eq(url_text(u), refs[_i].path);
	url_query(u, "a", "x y");
	url_query_u64(u, "b", UINT64_MAX);
	ck_assert_str_eq(url_text(u) + strlen(refs[_i].path), "?a=x%20y&b=18446744073709551615");
	url_free(u);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lines");
	TCase *t = tcase_create("all");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, test_cut_anywhere, 0, 22);
	tcase_add_test(t, test_enough);
	tcase_add_test(t, test_too_long);
	tcase_add_loop_test(t, test_url, 0, (int)(sizeof(refs) / sizeof(refs[0])));
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
