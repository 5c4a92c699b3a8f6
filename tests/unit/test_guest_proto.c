#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <wire/guest_proto.h>

START_TEST(a_frame_comes_back_as_it_was_written)
{
	static uint8_t buf[GUEST_FRAME_HDR_LEN + GUEST_FRAME_MAX];
	struct guest_frame_hdr h = { 0 };
	struct guest_writer w;
	struct guest_value v;
	_cleanup_free_ char *s = NULL;
	size_t pos = 0;
	uint32_t n = 0;
	uint64_t big = 0;
	int len;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_CONFIG);
	guest_put_text(&w, GUEST_F_HOSTNAME, "echo-mint");
	guest_put_u32(&w, GUEST_F_HAS_STATE, 1);
	guest_put_u64(&w, GUEST_F_TIME_NS, 0x0123456789abcdefULL);
	guest_put_text(&w, GUEST_F_CWD, "");
	len = guest_writer_end(&w);
	ck_assert_int_eq(len, 8 + (8 + 9) + (8 + 4) + (8 + 8) + 8);
	ck_assert_int_eq(guest_hdr_decode(buf, &h), 0);
	ck_assert_uint_eq(h.type, GUEST_CONFIG);
	ck_assert_uint_eq(h.len, (uint32_t)len - 8);

	ck_assert_int_eq(guest_field_next(buf + 8, h.len, &pos, &v), 1);
	ck_assert_int_eq(v.field, GUEST_F_HOSTNAME);
	ck_assert_int_eq(guest_value_text(&v, &s), 0);
	ck_assert_str_eq(s, "echo-mint");
	ck_assert_int_eq(guest_field_next(buf + 8, h.len, &pos, &v), 1);
	ck_assert_int_eq(guest_value_u32(&v, &n), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(guest_value_u64(&v, &big), -EPROTO);
	ck_assert_int_eq(guest_field_next(buf + 8, h.len, &pos, &v), 1);
	ck_assert_int_eq(guest_value_u64(&v, &big), 0);
	ck_assert_uint_eq(big, 0x0123456789abcdefULL);
	ck_assert_int_eq(guest_value_u32(&v, &n), -EPROTO);
	ck_assert_int_eq(guest_field_next(buf + 8, h.len, &pos, &v), 1);
	ck_assert_uint_eq(v.len, 0);
	ck_assert_int_eq(guest_field_next(buf + 8, h.len, &pos, &v), 0);
}
END_TEST

START_TEST(numbers_are_little_endian)
{
	static const uint8_t want[] = { 3, 0, 0, 0, 12, 0, 0, 0, 10, 0, 0, 0, 4, 0, 0, 0, 0x39,
		0x30, 0, 0 };
	uint8_t buf[64];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_READY);
	guest_put_u32(&w, GUEST_F_PID, 12345);
	ck_assert_int_eq(guest_writer_end(&w), (int)sizeof(want));
	ck_assert_mem_eq(buf, want, sizeof(want));
}
END_TEST

START_TEST(a_writer_never_passes_its_buffer)
{
	static uint8_t big[GUEST_FRAME_HDR_LEN + GUEST_FRAME_MAX + 1];
	struct guest_writer w;
	uint8_t buf[24];

	memset(buf, 0x5a, sizeof(buf));
	for (size_t cap = 0; cap < 23; cap++) {
		guest_writer_begin(&w, buf, cap, GUEST_ERROR);
		guest_put_text(&w, GUEST_F_TEXT, "1234567"); /* 8 + 8 + 7 */
		ck_assert_int_eq(guest_writer_end(&w), -EMSGSIZE);
		for (size_t i = cap; i < sizeof(buf); i++)
			ck_assert_uint_eq(buf[i], 0x5a);
	}
	guest_writer_begin(&w, buf, 23, GUEST_ERROR);
	guest_put_text(&w, GUEST_F_TEXT, "1234567");
	ck_assert_int_eq(guest_writer_end(&w), 23);
	ck_assert_uint_eq(buf[23], 0x5a);

	/* An overflow is remembered, whatever fits afterwards. */
	guest_writer_begin(&w, buf, 20, GUEST_ERROR);
	guest_put_text(&w, GUEST_F_TEXT, "too long for it");
	guest_put_raw(&w, "", 0);
	ck_assert_int_eq(guest_writer_end(&w), -EMSGSIZE);

	/* A payload of the most is fine, one byte more is not, whatever the buffer holds. */
	guest_writer_begin(&w, big, sizeof(big), GUEST_STDOUT);
	guest_put_raw(&w, big + 8, GUEST_FRAME_MAX);
	ck_assert_int_eq(guest_writer_end(&w), (int)(GUEST_FRAME_HDR_LEN + GUEST_FRAME_MAX));
	guest_writer_begin(&w, big, sizeof(big), GUEST_STDOUT);
	guest_put_raw(&w, big + 8, GUEST_FRAME_MAX);
	guest_put_raw(&w, "x", 1);
	ck_assert_int_eq(guest_writer_end(&w), -EMSGSIZE);
}
END_TEST

START_TEST(headers_out_of_the_rules_are_refused)
{
	static const struct {
		uint8_t raw[8];
		int want;
	} cases[] = {
		{ { GUEST_HELLO, 0, 0, 0, 0, 0, 0, 0 }, 0 },
		{ { GUEST_FRAME_LAST, 0, 0, 0, 0, 0, 1, 0 }, 0 }, /* 65536 */
		{ { 0, 0, 0, 0, 0, 0, 0, 0 }, -EPROTO },          /* no type */
		{ { GUEST_FRAME_LAST + 1, 0, 0, 0, 0, 0, 0, 0 }, -EPROTO },
		{ { GUEST_HELLO, 1, 0, 0, 0, 0, 0, 0 }, -EPROTO },   /* type 257 */
		{ { GUEST_HELLO, 0, 1, 0, 0, 0, 0, 0 }, -EPROTO },   /* reserved */
		{ { GUEST_HELLO, 0, 0, 128, 0, 0, 0, 0 }, -EPROTO }, /* reserved, high */
		{ { GUEST_HELLO, 0, 0, 0, 1, 0, 1, 0 }, -EPROTO },   /* 65537 */
		{ { GUEST_HELLO, 0, 0, 0, 0, 0, 0, 128 }, -EPROTO }, /* 2 GiB */
		{ { GUEST_HELLO, 0, 0, 0, 255, 255, 255, 255 }, -EPROTO },
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		struct guest_frame_hdr h = { .type = 99 };

		ck_assert_int_eq(guest_hdr_decode(cases[i].raw, &h), cases[i].want);
		if (cases[i].want < 0)
			ck_assert_uint_eq(h.type, 99); /* written on success only */
	}
}
END_TEST

/* Walks a payload in a heap block of exactly its size, so that ASan sees each byte too far. */
static int walk(const uint8_t *payload, size_t len, int *ret_fields)
{
	_cleanup_free_ uint8_t *exact = malloc(len ? len : 1);
	struct guest_value v;
	size_t pos = 0;
	int r;

	ck_assert_ptr_nonnull(exact);
	if (len)
		memcpy(exact, payload, len);
	*ret_fields = 0;
	while ((r = guest_field_next(exact, len, &pos, &v)) > 0) {
		ck_assert(v.data >= exact && v.data + v.len <= exact + len);
		++*ret_fields;
	}
	return r;
}

START_TEST(fields_that_do_not_fit_are_refused)
{
	static const uint8_t good[] = { 4, 0, 0, 0, 2, 0, 0, 0, 'a', 'b' };
	uint8_t bad[sizeof(good)];
	int n;

	ck_assert_int_eq(walk(good, 0, &n), 0);
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(walk(good, sizeof(good), &n), 0);
	ck_assert_int_eq(n, 1);
	for (size_t len = 1; len < sizeof(good); len++)
		ck_assert_int_eq(walk(good, len, &n), -EPROTO);

	memcpy(bad, good, sizeof(bad));
	bad[2] = 1; /* the zero that is not */
	ck_assert_int_eq(walk(bad, sizeof(bad), &n), -EPROTO);
	memcpy(bad, good, sizeof(bad));
	memset(bad + 4, 0xff, 4); /* a length that would wrap around */
	ck_assert_int_eq(walk(bad, sizeof(bad), &n), -EPROTO);
	memcpy(bad, good, sizeof(bad));
	bad[4] = 1; /* one byte left over: no field */
	ck_assert_int_eq(walk(bad, sizeof(bad), &n), -EPROTO);
	ck_assert_int_eq(n, 1);
	memcpy(bad, good, sizeof(bad));
	bad[0] = bad[1] = 0xff; /* of a later version: passed on */
	ck_assert_int_eq(walk(bad, sizeof(bad), &n), 0);
	ck_assert_int_eq(n, 1);
}
END_TEST

START_TEST(a_position_outside_is_refused)
{
	uint8_t payload[8] = { 4 };
	struct guest_value v;
	size_t pos = 9;

	ck_assert_int_eq(guest_field_next(payload, 8, &pos, &v), -EPROTO);
}
END_TEST

START_TEST(texts_have_no_inner_nul)
{
	struct guest_value v = { .data = (const uint8_t *)"a\0b", .len = 3 };
	char *s = NULL;

	ck_assert_int_eq(guest_value_text(&v, &s), -EPROTO);
	ck_assert_ptr_null(s);
	v.len = 1;
	ck_assert_int_eq(guest_value_text(&v, &s), 0);
	ck_assert_str_eq(s, "a");
	free(s);
	v.len = 0;
	v.data = NULL;
	ck_assert_int_eq(guest_value_text(&v, &s), 0);
	ck_assert_str_eq(s, "");
	free(s);
}
END_TEST

START_TEST(numbers_have_exact_widths)
{
	static const uint8_t raw[9];
	uint32_t n;
	uint64_t big;

	for (uint32_t len = 0; len <= 9; len++) {
		struct guest_value v = { .data = raw, .len = len };

		ck_assert_int_eq(guest_value_u32(&v, &n), len == 4 ? 0 : -EPROTO);
		ck_assert_int_eq(guest_value_u64(&v, &big), len == 8 ? 0 : -EPROTO);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("guest_proto");
	TCase *t = tcase_create("guest_proto");
	SRunner *sr;
	int failed;

	tcase_add_test(t, a_frame_comes_back_as_it_was_written);
	tcase_add_test(t, numbers_are_little_endian);
	tcase_add_test(t, a_writer_never_passes_its_buffer);
	tcase_add_test(t, headers_out_of_the_rules_are_refused);
	tcase_add_test(t, fields_that_do_not_fit_are_refused);
	tcase_add_test(t, a_position_outside_is_refused);
	tcase_add_test(t, texts_have_no_inner_nul);
	tcase_add_test(t, numbers_have_exact_widths);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
