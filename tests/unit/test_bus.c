#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bus.h>

struct probe {
	uint64_t offset;
	uint32_t len;
	uint8_t data[8];
	unsigned reads, writes;
};

static void probe_read(void *user, uint64_t offset, void *buf, uint32_t len)
{
	struct probe *p = user;

	p->offset = offset;
	p->len = len;
	p->reads++;
	memset(buf, 0x42, len);
}

static void probe_write(void *user, uint64_t offset, const void *buf, uint32_t len)
{
	struct probe *p = user;

	p->offset = offset;
	p->len = len;
	p->writes++;
	memcpy(p->data, buf, len);
}

static int add(struct bus *b, struct probe *p, uint64_t base, uint64_t len)
{
	struct bus_window w = {
		.base = base, .len = len, .user = p, .read = probe_read, .write = probe_write
	};

	return bus_add(b, &w);
}

START_TEST(windows_may_not_overlap)
{
	struct bus b = { 0 };
	struct probe p = { 0 };

	ck_assert_int_eq(add(&b, &p, 0x1000, 0x1000), 0);
	ck_assert_int_eq(add(&b, &p, 0x1000, 1), -EEXIST);
	ck_assert_int_eq(add(&b, &p, 0x1fff, 1), -EEXIST);
	ck_assert_int_eq(add(&b, &p, 0xfff, 2), -EEXIST);
	ck_assert_int_eq(add(&b, &p, 0, 0x10000), -EEXIST);
	ck_assert_int_eq(add(&b, &p, 0x2000, 0), -EINVAL);
	ck_assert_int_eq(add(&b, &p, UINT64_MAX, 2), -EINVAL);
	ck_assert_int_eq(add(&b, &p, 0xfff, 1), 0);
	ck_assert_int_eq(add(&b, &p, 0x2000, 1), 0);
	ck_assert_uint_eq(b.count, 3);
}
END_TEST

START_TEST(table_is_bounded)
{
	struct bus b = { 0 };
	struct probe p = { 0 };

	/* From the top down, so that every one moves the others. */
	for (uint64_t i = BUS_MAX_WINDOWS; i > 0; i--)
		ck_assert_int_eq(add(&b, &p, i * 16, 16), 0);
	ck_assert_int_eq(add(&b, &p, 0, 16), -ENOSPC);
	for (unsigned i = 1; i < b.count; i++)
		ck_assert_uint_lt(b.windows[i - 1].base, b.windows[i].base);
}
END_TEST

START_TEST(accesses_find_their_window)
{
	struct bus b = { 0 };
	struct probe low = { 0 };
	struct probe high = { 0 };
	uint64_t v = 0;

	ck_assert_int_eq(add(&b, &high, 0x2000, 8), 0);
	ck_assert_int_eq(add(&b, &low, 0x1000, 16), 0);
	bus_read(&b, 0x1004, &v, 4);
	ck_assert_uint_eq(v, 0x42424242);
	ck_assert_uint_eq(low.offset, 4);
	ck_assert_uint_eq(low.len, 4);
	v = 0x1122334455667788;
	bus_write(&b, 0x2000, &v, 8);
	ck_assert_uint_eq(high.writes, 1);
	ck_assert_mem_eq(high.data, &v, 8);
	bus_read(&b, 0x100f, &v, 1);
	ck_assert_uint_eq(low.reads, 2);
	ck_assert_uint_eq(high.reads, 0);
}
END_TEST

START_TEST(nobody_answers)
{
	const uint64_t nowhere[] = { 0, 0xfff, 0x1010, 0x2008, UINT64_MAX };
	struct bus_window deaf = { .base = 0x3000, .len = 4 };
	struct bus b = { 0 };
	struct probe p = { 0 };
	uint64_t v;

	bus_read(&b, 0, &v, 8);
	ck_assert_uint_eq(v, UINT64_MAX);
	ck_assert_int_eq(add(&b, &p, 0x1000, 16), 0);
	ck_assert_int_eq(add(&b, &p, 0x2000, 8), 0);
	ck_assert_int_eq(bus_add(&b, &deaf), 0);
	for (size_t i = 0; i < 5; i++) {
		v = 0;
		bus_read(&b, nowhere[i], &v, 1);
		ck_assert_uint_eq(v, 0xff);
		bus_write(&b, nowhere[i], &v, 1);
	}
	/* Over the end of a window, and of the address space. */
	bus_read(&b, 0x100d, &v, 4);
	bus_read(&b, 0x2001, &v, 8);
	bus_write(&b, 0xffe, &v, 4);
	bus_read(&b, UINT64_MAX - 2, &v, 8);
	v = 0;
	bus_read(&b, 0x3000, &v, 4);
	ck_assert_uint_eq(v, 0xffffffff);
	bus_write(&b, 0x3000, &v, 4);
	ck_assert_uint_eq(p.reads + p.writes, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bus");
	TCase *tc = tcase_create("bus");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, windows_may_not_overlap);
	tcase_add_test(tc, table_is_bounded);
	tcase_add_test(tc, accesses_find_their_window);
	tcase_add_test(tc, nobody_answers);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
