/* Turns of several disks under one limit. */
#include <check.h>
#include <stdlib.h>

#include <base/clock.h>
#include <devices/throttle.h>

#define MS CLOCK_NS_PER_MS

static uint64_t now;
static struct throttle *t;

static uint64_t test_clock(void)
{
	return now;
}

static void set_up(void)
{
	const struct rate_limit limit = { .bytes = 1000, .ops = 100, .burst = 100 };

	now = 77;
	t = throttle_new(test_clock);
	ck_assert_ptr_nonnull(t);
	throttle_set(t, &limit);
}

static void tear_down(void)
{
	throttle_free(t);
}

START_TEST(two_in_turn)
{
	struct throttle_turn a = { 0 }, b = { 0 };

	throttle_ask(t, &a, 300);
	throttle_ask(t, &b, 10);
	ck_assert_uint_eq(throttle_wait_ns(t, &a), 200 * MS);
	ck_assert_uint_eq(throttle_wait_ns(t, &b), 210 * MS);
	/* Asking again does not change one's place. */
	throttle_ask(t, &a, 300);
	throttle_ask(t, &a, 200);
	ck_assert_uint_eq(throttle_wait_ns(t, &a), 200 * MS);
	now += 200 * MS;
	ck_assert_uint_eq(throttle_wait_ns(t, &a), 0);
	ck_assert_uint_eq(throttle_wait_ns(t, &b), 10 * MS);
	throttle_drop(t, &a);
	ck_assert_uint_eq(throttle_wait_ns(t, &b), 10 * MS); /* spent is spent */
}
END_TEST

START_TEST(given_up)
{
	struct throttle_turn a = { 0 }, b = { 0 };

	throttle_ask(t, &a, 5000);
	throttle_ask(t, &b, 200);
	ck_assert_uint_eq(throttle_wait_ns(t, &b), 5100 * MS);
	throttle_drop(t, &a);
	throttle_drop(t, &a); /* once is all there is to give back */
	ck_assert_uint_eq(throttle_wait_ns(t, &b), 100 * MS);
	/* A larger one than it was asked for goes to the end. */
	throttle_ask(t, &a, 50);
	ck_assert_uint_eq(throttle_wait_ns(t, &a), 150 * MS);
	throttle_ask(t, &b, 300);
	ck_assert_uint_eq(throttle_wait_ns(t, &b), 250 * MS);
}
END_TEST

START_TEST(operations)
{
	struct throttle_turn turn = { 0 };

	for (int i = 0; i < 100; i++) {
		throttle_ask(t, &turn, 0);
		ck_assert_uint_eq(throttle_wait_ns(t, &turn), 0);
		throttle_drop(t, &turn);
	}
	throttle_ask(t, &turn, 0);
	ck_assert_uint_eq(throttle_wait_ns(t, &turn), 10 * MS);
	now += 10 * MS;
	ck_assert_uint_eq(throttle_wait_ns(t, &turn), 0);
}
END_TEST

START_TEST(charged_later)
{
	struct throttle_turn turn = { 0 };

	throttle_charge(t, 1100);
	throttle_ask(t, &turn, 0);
	ck_assert_uint_eq(throttle_wait_ns(t, &turn), 1000 * MS);
	throttle_set(t, &(struct rate_limit){ 0 });
	ck_assert_uint_eq(throttle_wait_ns(t, &turn), 0);
}
END_TEST

START_TEST(no_limit_no_end)
{
	struct throttle *plain = throttle_new(NULL);
	struct throttle_turn turn = { 0 };

	throttle_ask(plain, &turn, UINT64_MAX);
	ck_assert_uint_eq(throttle_wait_ns(plain, &turn), 0);
	throttle_free(plain);
	throttle_free(NULL);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { two_in_turn, given_up, operations, charged_later,
		no_limit_no_end };
	Suite *s = suite_create("throttle");
	TCase *c = tcase_create("throttle");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(c, set_up, tear_down);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(c, tests[i]);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
