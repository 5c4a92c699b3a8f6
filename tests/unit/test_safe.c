#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>

#include "safe.h"

/* What others say, on its way to a terminal. */
struct sample {
	const char *from, *to;
};

static const struct sample samples[] = {
	{ "plain text, 100 %", "plain text, 100 %" },
	/* ECMA-48: CSI, OSC, DCS, and the short ones */
	{ "\x1b[2J", "?[2J" },
	{ "\x1b]0;title\x07", "?]0;title?" },
	{ "\x1b]52;c;cm0=\x1b\\", "?]52;c;cm0=?\\" },
	{ "\x1bP$q\x1b\\", "?P$q?\\" },
	{ "a\rb\bc\x7f", "a?b?c?" },
	{ "\x0e\x0f\x05\x0b\x0c", "?????" },
	/* the controls of one byte, and of one character in UTF-8 */
	{ "\x9b"
	  "2J",
		"?2J" },
	{ "\xc2\x9b"
	  "2J",
		"??2J" },
	{ "\xc2\x90\xc2\x9d", "????" },
	/* overlong: no UTF-8, but some terminals take it for U+009B and U+001B */
	{ "\xe0\x82\x9b"
	  "2J",
		"???2J" },
	{ "\xf0\x80\x82\x9b"
	  "2J",
		"????2J" },
	{ "\xc0\x9b[2J", "??[2J" },
	{ "\xe0\x80\x9b[2J", "???[2J" },
	/* more than U+10FFFF, halves of pairs, and bytes that are none */
	{ "\xf5\x80\x80\x80", "????" },
	{ "\xfe\xff", "??" },
	/* characters stay, of every length */
	{ "\xc3\xa4\xc2\xa0\xe2\x82\xac\xf0\x9f\x99\x82",
		"\xc3\xa4\xc2\xa0\xe2\x82\xac\xf0\x9f\x99\x82" },
	{ "\xc3\x9b\xc5\x9b", "\xc3\x9b\xc5\x9b" }, /* 9b inside a character is no control */
	{ "\xe2\x9b\x84", "\xe2\x9b\x84" },
	/* a character that never ends hides no control */
	{ "\xe2\x1b[2J", "\xe2?[2J" },
	{ "\xc3\x1b[2J", "\xc3?[2J" },
};

START_TEST(controls_are_marks)
{
	const struct sample *p = &samples[_i];
	_cleanup_free_ char *text = strdup(p->from);
	struct safe s = { 0 };

	safe_filter(&s, text, strlen(text), true);
	ck_assert_str_eq(text, p->to);
}
END_TEST

/* In pieces of one byte: what was let through before is still no control with what follows. */
START_TEST(in_pieces)
{
	const struct sample *p = &samples[_i];
	struct safe s = { 0 };
	char out[64] = "";
	size_t n = strlen(p->from);

	for (size_t i = 0; i < n; i++) {
		out[i] = p->from[i];
		safe_filter(&s, &out[i], 1, true);
	}
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)out[i];

		ck_assert_uint_ge(c, 0x20);
		ck_assert_uint_ne(c, 0x7f);
		if (i > 0 && (unsigned char)out[i - 1] == 0xc2)
			ck_assert(c < 0x80 || c > 0x9f);
	}
	ck_assert_int_eq(strcmp(p->from, p->to) == 0, strcmp(out, p->to) == 0 && !strchr(out, '?'));
}
END_TEST

START_TEST(lines_stay_where_they_may)
{
	char text[] = "a\n\tb\r\n";
	struct safe s = { 0 };

	safe_filter(&s, text, strlen(text), true);
	ck_assert_str_eq(text, "a\n\tb?\n");
	safe_filter(&s, text, strlen(text), false);
	ck_assert_str_eq(text, "a??b??");
}
END_TEST

START_TEST(one_line)
{
	char buf[64] = "";
	FILE *f = fmemopen(buf, sizeof(buf), "w");

	ck_assert_ptr_nonnull(f);
	safe_print(f, "x\x1b[31m\n\xc3\xa4\xc2\x9by");
	(void)fclose(f);
	ck_assert_ptr_null(strchr(buf, '\n'));
	ck_assert_ptr_null(strchr(buf, 0x1b));
	ck_assert_ptr_null(strstr(buf, "\xc2\x9b"));
	ck_assert_ptr_nonnull(strstr(buf, "\xc3\xa4"));
}
END_TEST

/* Into a file everything goes as it is: only terminals obey. */
START_TEST(only_for_terminals)
{
	_cleanup_close_ int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	_cleanup_close_ int tty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	char text[] = "\x1b[2J";
	struct safe s = { 0 };

	ck_assert_int_ge(tty, 0);
	safe_for_terminal(&s, null, text, 4);
	ck_assert_str_eq(text, "\x1b[2J");
	safe_for_terminal(&s, tty, text, 4);
	ck_assert_str_eq(text, "?[2J");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("safe");
	TCase *t = tcase_create("safe");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(t, controls_are_marks, 0, (int)array_size(samples));
	tcase_add_loop_test(t, in_pieces, 0, (int)array_size(samples));
	tcase_add_test(t, lines_stay_where_they_may);
	tcase_add_test(t, one_line);
	tcase_add_test(t, only_for_terminals);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
