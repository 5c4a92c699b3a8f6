#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <devices/gmem.h>

static uint8_t low[8192], high[4096];

static struct gmem two_regions(void)
{
	struct gmem m = { 0 };

	ck_assert_int_eq(gmem_add(&m, 0, low, sizeof(low)), 0);
	ck_assert_int_eq(gmem_add(&m, UINT64_C(1) << 32, high, sizeof(high)), 0);
	return m;
}

START_TEST(add_refuses_overlap_wrap_and_nothing)
{
	struct gmem m = two_regions();

	ck_assert_int_eq(gmem_add(&m, 8191, high, 1), -EINVAL);
	ck_assert_int_eq(gmem_add(&m, 0, high, UINT64_MAX), -EINVAL);
	ck_assert_int_eq(gmem_add(&m, (UINT64_C(1) << 32) - 1, low, 2), -EINVAL);
	ck_assert_int_eq(gmem_add(&m, UINT64_MAX - 1, low, 2), -EINVAL);
	ck_assert_int_eq(gmem_add(&m, 1 << 20, low, 0), -EINVAL);
	ck_assert_int_eq(gmem_add(&m, 1 << 20, NULL, 1), -EINVAL);
	ck_assert_uint_eq(m.count, 2);
	/* Touching is no overlap. */
	ck_assert_int_eq(gmem_add(&m, 8192, high, 1), 0);
	ck_assert_int_eq(gmem_add(&m, (UINT64_C(1) << 32) - 1, high, 1), 0);
	ck_assert_int_eq(gmem_add(&m, 1 << 20, high, 1), -ENOSPC);
}
END_TEST

START_TEST(at_checks_start_length_and_overflow)
{
	struct gmem m = two_regions();
	const gpa_t top = UINT64_C(1) << 32;

	ck_assert_ptr_eq(gmem_at(&m, 0, sizeof(low)), low);
	ck_assert_ptr_eq(gmem_at(&m, 8191, 1), low + 8191);
	ck_assert_ptr_eq(gmem_at(&m, top + 1, 4095), high + 1);
	ck_assert_ptr_null(gmem_at(&m, 0, sizeof(low) + 1));
	ck_assert_ptr_null(gmem_at(&m, 8191, 2));
	ck_assert_ptr_null(gmem_at(&m, 8192, 1));
	ck_assert_ptr_null(gmem_at(&m, top - 1, 1));
	ck_assert_ptr_null(gmem_at(&m, top, UINT64_MAX));
	ck_assert_ptr_null(gmem_at(&m, top, UINT64_MAX - top + 1));
	ck_assert_ptr_null(gmem_at(&m, UINT64_MAX, 1));
	ck_assert_ptr_null(gmem_at(&m, UINT64_MAX, UINT64_MAX));
}
END_TEST

START_TEST(at_with_no_bytes_wants_an_address_inside)
{
	struct gmem m = two_regions();

	ck_assert_ptr_eq(gmem_at(&m, 8191, 0), low + 8191);
	ck_assert_ptr_null(gmem_at(&m, 8192, 0));
}
END_TEST

START_TEST(at_never_joins_neighbours)
{
	struct gmem m = two_regions();

	ck_assert_int_eq(gmem_add(&m, 8192, high, 4096), 0);
	ck_assert_ptr_null(gmem_at(&m, 8190, 4));
	ck_assert_ptr_eq(gmem_at(&m, 8192, 4), high);
}
END_TEST

START_TEST(copies_are_whole_or_nothing)
{
	struct gmem m = two_regions();
	char buf[4] = "abc";

	ck_assert_int_eq(gmem_write(&m, 8188, buf, 4), 0);
	memset(buf, 0, sizeof(buf));
	ck_assert_int_eq(gmem_read(&m, 8188, buf, 4), 0);
	ck_assert_str_eq(buf, "abc");
	memset(low + 8188, 'z', 4);
	ck_assert_int_eq(gmem_write(&m, 8189, buf, 4), -EFAULT);
	ck_assert_mem_eq(low + 8188, "zzzz", 4);
	ck_assert_int_eq(gmem_read(&m, 8189, buf, 4), -EFAULT);
	ck_assert_str_eq(buf, "abc");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gmem");
	TCase *t = tcase_create("gmem");
	SRunner *r;
	int failed;

	tcase_add_test(t, add_refuses_overlap_wrap_and_nothing);
	tcase_add_test(t, at_checks_start_length_and_overflow);
	tcase_add_test(t, at_with_no_bytes_wants_an_address_inside);
	tcase_add_test(t, at_never_joins_neighbours);
	tcase_add_test(t, copies_are_whole_or_nothing);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
