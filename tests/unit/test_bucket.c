/* The token bucket: exact sums, at any rate, over any time. */
#include <check.h>
#include <stdlib.h>

#include <base/clock.h>
#include <devices/bucket.h>

#define S CLOCK_NS_PER_S

static struct bucket b;

START_TEST(without_a_limit)
{
	bucket_sum t;

	bucket_init(&b, 0, 0, 5);
	t = bucket_ask(&b, UINT64_MAX, 6);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 6), 0);
	ck_assert_uint_eq(bucket_available(&b, 6), UINT64_MAX);
	ck_assert_uint_eq(bucket_until_ns(&b, UINT64_MAX, 6), 0);
	bucket_give_back(&b, 100, 6);
	/* A limit that comes later begins full, and knows nothing of what was. */
	bucket_set(&b, 10, 30, 7);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 7), 0);
	ck_assert_uint_eq(bucket_available(&b, 7), 30);
}
END_TEST

START_TEST(burst_then_rate)
{
	bucket_sum t;

	bucket_init(&b, 1000, 0, 0); /* a burst of one second */
	ck_assert_uint_eq(bucket_available(&b, 0), 1000);
	t = bucket_ask(&b, 1000, 0);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 0), 0);
	ck_assert_uint_eq(bucket_available(&b, 0), 0);
	t = bucket_ask(&b, 1, 0);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 0), S / 1000);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, S / 1000 - 1), 1);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, S / 1000), 0);
	t = bucket_ask(&b, 500, S / 1000);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, S / 1000), S / 2);
	ck_assert_uint_eq(bucket_until_ns(&b, 500, S / 1000), S);
	ck_assert_uint_eq(
		bucket_until_ns(&b, 1u << 30, S / 1000), S + S / 2); /* the burst at most */
}
END_TEST

START_TEST(first_come_first_served)
{
	bucket_sum large, small;

	bucket_init(&b, 100, 10, 0);
	(void)bucket_ask(&b, 10, 0);
	large = bucket_ask(&b, 1000, 0); /* a hundred bursts */
	small = bucket_ask(&b, 1, 0);
	ck_assert_uint_eq(bucket_wait_ns(&b, large, 0), 10 * S);
	ck_assert_uint_eq(bucket_wait_ns(&b, small, 0), 10 * S + S / 100);
	ck_assert_uint_eq(bucket_wait_ns(&b, large, 10 * S), 0);
	ck_assert_uint_eq(bucket_wait_ns(&b, small, 10 * S), S / 100);
	ck_assert_uint_eq(bucket_available(&b, 10 * S), 0);
	ck_assert_uint_eq(bucket_available(&b, 11 * S), 10);
}
END_TEST

START_TEST(long_rest)
{
	bucket_init(&b, 1000, 5000, 1);
	(void)bucket_ask(&b, 5000, 1);
	ck_assert_uint_eq(bucket_available(&b, UINT64_MAX), 5000);
	bucket_init(&b, UINT64_MAX, UINT64_MAX, 0);
	ck_assert_uint_eq(bucket_available(&b, 0), UINT64_MAX);
	(void)bucket_ask(&b, UINT64_MAX, 0);
	ck_assert_uint_eq(bucket_available(&b, 0), 0);
	ck_assert_uint_eq(bucket_available(&b, UINT64_MAX), UINT64_MAX);
}
END_TEST

START_TEST(clock_that_stands_or_goes_back)
{
	bucket_sum t;

	bucket_init(&b, 10, 10, 100 * S);
	t = bucket_ask(&b, 20, 100 * S);
	for (int i = 0; i < 1000; i++)
		ck_assert_uint_eq(bucket_wait_ns(&b, t, 100 * S), S);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 0), S);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 100 * S + S / 2), S / 2);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 3), S / 2);
	/* What was counted once is not counted again. */
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 100 * S + S / 2), S / 2);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 101 * S), 0);
}
END_TEST

/* Looks that come far oftener than tokens lose none of them. */
START_TEST(tiny_rate)
{
	uint64_t now = 0;
	bucket_sum t;

	bucket_init(&b, 1, 1, 0);
	(void)bucket_ask(&b, 1, 0);
	t = bucket_ask(&b, 3, 0);
	while (bucket_wait_ns(&b, t, now)) {
		ck_assert_uint_eq(bucket_wait_ns(&b, t, now), 3 * S - now);
		now += 1234567;
	}
	ck_assert_uint_ge(now, 3 * S);
	ck_assert_uint_lt(now, 3 * S + 1234567);
}
END_TEST

START_TEST(huge_rate)
{
	bucket_sum t;

	bucket_init(&b, UINT64_MAX, 1, 0); /* of which at least a hundredth is the burst */
	ck_assert_uint_eq(bucket_available(&b, 0), UINT64_MAX / 100);
	t = bucket_ask(&b, UINT64_MAX, 0);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 0), S - S / 100 + 1); /* rounded up */
	t = bucket_ask(&b, UINT64_MAX, 0);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 0), 2 * S - S / 100 + 1);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 2 * S), 0);
	/* Longer than a clock counts. */
	bucket_init(&b, 1, 1, 0);
	t = bucket_ask(&b, UINT64_MAX, 0);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 0), UINT64_MAX);
	ck_assert_uint_gt(bucket_wait_ns(&b, t, UINT64_MAX), 0);
}
END_TEST

START_TEST(changes)
{
	bucket_sum t;

	bucket_init(&b, 100, 100, 0);
	(void)bucket_ask(&b, 100, 0);
	t = bucket_ask(&b, 1000, 0);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 0), 10 * S);
	/* In debt: what is owed is paid at the new rate, the second that passed at the old one. */
	bucket_set(&b, 9000, 50, S);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, S), S / 10);
	bucket_set(&b, 1, 1, S);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, S), 900 * S);
	bucket_set(&b, 0, 0, 2 * S);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 2 * S), 0);
	bucket_set(&b, 10, 10, 2 * S);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 2 * S), 0);
	/* Not in debt: what is in hand stays, up to the burst. */
	bucket_init(&b, 100, 1000, 0);
	bucket_set(&b, 100, 10, 0);
	ck_assert_uint_eq(bucket_available(&b, 0), 10);
	bucket_set(&b, 100, 1000, 0);
	ck_assert_uint_eq(bucket_available(&b, 0), 10);
	/* Changed back and forth it gives nothing away. */
	for (int i = 0; i < 1000; i++)
		bucket_set(&b, i % 2 ? 100 : 99, 1000, 0);
	ck_assert_uint_eq(bucket_available(&b, 0), 10);
}
END_TEST

START_TEST(given_back)
{
	bucket_sum t;

	bucket_init(&b, 10, 10, 0);
	(void)bucket_ask(&b, 10, 0);
	(void)bucket_ask(&b, 100, 0);
	t = bucket_ask(&b, 5, 0);
	bucket_give_back(&b, 100, 0);
	ck_assert_uint_eq(bucket_wait_ns(&b, t, 0), S / 2);
	bucket_give_back(&b, UINT64_MAX, 0); /* never more than the burst */
	ck_assert_uint_eq(bucket_available(&b, 0), 10);
}
END_TEST

/* Whatever is asked when: never more than burst + rate x time, and all of it in the end. */
START_TEST(bound_holds)
{
	static const uint64_t rates[] = { 1, 7, 4096, 20 << 20, UINT64_C(1) << 40 };
	unsigned seed = 1;

	for (unsigned i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		uint64_t now = 1000, passed = 0, burst;

		bucket_init(&b, rates[i], rates[i] / 3, now);
		burst = b.burst;
		for (int k = 0; k < 3000; k++) {
			uint64_t n = (uint64_t)rand_r(&seed) % (3 * rates[i] + 2);
			bucket_sum t = bucket_ask(&b, n, now), most;

			/* Looked at too early now and then, as by somebody who was woken. */
			now += bucket_wait_ns(&b, t, now) / 2;
			now += bucket_wait_ns(&b, t, now);
			ck_assert_uint_eq(bucket_wait_ns(&b, t, now), 0);
			passed += n;
			most = (bucket_sum)(now - 1000) * rates[i] / S + burst;
			ck_assert(passed <= most);
			if (k % 10 == 0)
				now += (uint64_t)rand_r(&seed);
		}
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { without_a_limit, burst_then_rate, first_come_first_served,
		long_rest, clock_that_stands_or_goes_back, tiny_rate, huge_rate, changes,
		given_back, bound_holds };
	Suite *s = suite_create("bucket");
	TCase *t = tcase_create("bucket");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(t, tests[i]);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
