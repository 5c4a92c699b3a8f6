#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "backlog.h"

static struct backlog b;
static uint8_t in[BACKLOG_BYTES], out[BACKLOG_BYTES];

static void setup(void)
{
	b = (struct backlog){ 0 };
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7 + i / 251);
}

/* Takes the next record and compares it with what was put in from `from` on. */
static size_t take(size_t from)
{
	enum guest_frame_type type;
	size_t len = backlog_next(&b, &type);

	if (len == 0)
		return 0;
	ck_assert_int_eq(type, from % 2 ? GUEST_STDERR : GUEST_STDOUT);
	backlog_give(&b, out);
	ck_assert_mem_eq(out, in + from, len);
	return len;
}

START_TEST(in_order_and_again)
{
	backlog_add(&b, GUEST_STDOUT, in, 10);
	backlog_add(&b, GUEST_STDOUT, in + 10, 1);
	backlog_add(&b, GUEST_STDERR, in + 11, 1000);
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(take(0), 10);
		ck_assert_uint_eq(take(10), 1);
		ck_assert_uint_eq(take(11), 1000);
		ck_assert_uint_eq(take(1011), 0);
		ck_assert(backlog_all_given(&b));
		backlog_rewind(&b);
	}
	ck_assert_uint_eq(take(0), 10);
	ck_assert_int_eq(backlog_ack(&b, 10), 0);
	backlog_rewind(&b);
	ck_assert_uint_eq(take(10), 1);
	/* Half a record is not forgotten. */
	ck_assert_uint_eq(take(11), 1000);
	ck_assert_int_eq(backlog_ack(&b, 1000), 0);
	backlog_rewind(&b);
	ck_assert_uint_eq(take(11), 1000);
	ck_assert_int_eq(backlog_ack(&b, 1000), 0);
	ck_assert_uint_eq(b.len, 0);
}
END_TEST

START_TEST(what_was_not_given_cannot_be_acknowledged)
{
	ck_assert_int_eq(backlog_ack(&b, 0), 0);
	ck_assert_int_eq(backlog_ack(&b, 1), -EPROTO);
	backlog_add(&b, GUEST_STDOUT, in, 10);
	ck_assert_int_eq(backlog_ack(&b, 1), -EPROTO);
	ck_assert_uint_eq(take(0), 10);
	ck_assert_int_eq(backlog_ack(&b, UINT64_MAX), -EPROTO);
	ck_assert_int_eq(backlog_ack(&b, 10), 0);
	ck_assert_int_eq(backlog_ack(&b, 10), 0); /* the same again */
	ck_assert_int_eq(backlog_ack(&b, 9), 0);
}
END_TEST

START_TEST(full)
{
	size_t room = backlog_room(&b);

	ck_assert_uint_eq(room, BACKLOG_BYTES - 4);
	backlog_add(&b, GUEST_STDOUT, in, room);
	ck_assert_uint_eq(backlog_room(&b), 0);
	ck_assert_uint_eq(take(0), room);
	ck_assert_int_eq(backlog_ack(&b, room), 0);
	ck_assert_uint_eq(backlog_room(&b), room);
}
END_TEST

/* Every place of the ring is an edge once; streams break at any point. */
START_TEST(round_and_round)
{
	size_t added = 0;
	size_t taken = 0;
	size_t acked = 0;
	size_t stream = 0;

	srandom(1);
	for (int i = 0; i < 200000; i++) {
		size_t len = (size_t)random() % 3000 + 1;

		switch (random() % 4) {
		case 0:
		case 1:
			if (backlog_room(&b) < len || added + len > sizeof(in))
				break;
			backlog_add(&b, added % 2 ? GUEST_STDERR : GUEST_STDOUT, in + added, len);
			added += len;
			break;
		case 2:
			taken += take(taken);
			break;
		default:
			if (random() % 20 == 0) {
				backlog_rewind(&b);
				taken = stream = acked;
			} else if (taken > acked) {
				ck_assert_int_eq(backlog_ack(&b, taken - stream), 0);
				acked = taken;
			}
		}
		if (acked == added && added > sizeof(in) - 3000)
			added = taken = acked = 0, stream = 0, backlog_rewind(&b);
	}
	ck_assert_uint_gt(b.head, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("guest_backlog");
	TCase *t = tcase_create("guest_backlog");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, in_order_and_again);
	tcase_add_test(t, what_was_not_given_cannot_be_acknowledged);
	tcase_add_test(t, full);
	tcase_add_test(t, round_and_round);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
