/* What kosvmd makes of sandbox.ini's [isolation] and [identity] on this host. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <jail/spawn.h>
#include <wire/board.h>

#include "identity.h"
#include "isolation.h"

static char dir[40];
static char passwd[64], group[64], subuid[64];
static struct sandbox box;
static struct isolation isolation;
static struct kerr e;

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static void setup(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/kosvm-isolation-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(passwd, sizeof(passwd), "%s/passwd", dir);
	(void)snprintf(group, sizeof(group), "%s/group", dir);
	(void)snprintf(subuid, sizeof(subuid), "%s/subuid", dir);
	e = (struct kerr){ 0 };
	sandbox_init(&box, "/etc/kosvm/sandbox.ini");
	box.uids = (struct sandbox_uids){ 200000, 265535 };
}

static void teardown(void)
{
	(void)unlink(passwd);
	(void)unlink(group);
	(void)unlink(subuid);
	(void)rmdir(dir);
}

static int check(void)
{
	return identity_check(&box, passwd, group, subuid, &e);
}

START_TEST(a_range_that_is_free)
{
	ck_assert_int_eq(check(), 0); /* not one of the files */
	put(passwd,
		"root:x:0:0::/:/bin/sh\nanna:x:1000:1000::/:/bin/sh\nlow:x:199999:0::/:/\n"
		"high:x:265536:0::/:/\n");
	put(group, "root:x:0:\nhigh:x:265536:\n");
	put(subuid, "anna:100000:100000\nhigh:265536:65536\nbroken\nbroken:x:1\nnone:200000:0\n");
	ck_assert_msg(check() == 0, "%s", e.msg);
}
END_TEST

static const struct {
	const char *passwd, *group, *subuid, *who;
} taken[] = {
	{ "anna:x:200000:1000::/:/\n", "", "", "user anna of" },
	{ "anna:x:265535:1000::/:/\n", "", "", "user anna of" },
	{ "", "staff:x:233333:\n", "", "group staff of" },
	{ "", "", "anna:100000:100001\n", "the subordinate range of anna of" },
	{ "", "", "anna:265535:1\n", "the subordinate range of anna of" },
	{ "", "", "anna:1:4294967295\n", "the subordinate range of anna of" },
};

START_TEST(a_range_that_is_somebodys)
{
	put(passwd, taken[_i].passwd);
	put(group, taken[_i].group);
	put(subuid, taken[_i].subuid);
	ck_assert_int_eq(check(), -EEXIST);
	ck_assert_msg(strstr(e.msg, taken[_i].who) != NULL, "%s", e.msg);
	ck_assert_ptr_nonnull(strstr(e.msg,
		"uids 200000-265535 (the default of "
		"/etc/kosvm/sandbox.ini) are not free: "));
	ck_assert_ptr_nonnull(strstr(e.msg, "give agents others, with uids = FIRST-LAST"));
}
END_TEST

START_TEST(all_off)
{
	for (int p = 0; p < SANDBOX_PROTECTIONS; p++) {
		box.need[p] = SANDBOX_OFF;
		box.need_line[p] = 2;
	}
	isolation_probe(&isolation, &box);
	ck_assert_uint_eq(isolation.jail, 0);
	ck_assert_uint_eq(isolation.confine, 0);
	for (int p = 0; p < SANDBOX_PROTECTIONS; p++) {
		ck_assert(!isolation.on[p]);
		ck_assert_str_eq(isolation.why[p], "off by /etc/kosvm/sandbox.ini:2");
	}
	ck_assert_int_eq(isolation_check(&isolation, &box, &e), 0);
}
END_TEST

/* What is found to be there is what a VMM gets; only root has uids to give. */
START_TEST(all_on)
{
	isolation_probe(&isolation, &box);
	for (int p = 0; p < SANDBOX_PROTECTIONS; p++) {
		if (p == SANDBOX_IDENTITY && geteuid() != 0)
			continue;
		ck_assert_msg(
			isolation.on[p], "%s: %s", sandbox_protection_name(p), isolation.why[p]);
		ck_assert_str_eq(isolation.why[p], "");
	}
	if (geteuid() == 0)
		ck_assert_uint_eq(isolation.jail, JAIL_ALL);
	ck_assert_uint_eq(isolation.confine, BOARD_CONFINE_ALL);
	ck_assert_int_eq(isolation_check(&isolation, &box, &e), 0);
}
END_TEST

/* root is in every passwd: its uid is never free. */
START_TEST(required_and_not_there)
{
	box.uids = (struct sandbox_uids){ 0, 0 };
	box.need_line[SANDBOX_IDENTITY] = 7;
	isolation_probe(&isolation, &box);
	ck_assert(!isolation.on[SANDBOX_IDENTITY]);
	ck_assert_uint_eq(isolation.jail & JAIL_IDENTITY, 0);
	ck_assert_int_eq(isolation_check(&isolation, &box, &e), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(e.msg,
		"isolation: identity is required (/etc/kosvm/sandbox.ini:7) and this host does "
		"not have it: uids 0-0"));
	ck_assert_ptr_nonnull(strstr(e.msg, "`identity = if-possible` in [isolation]"));
	box.need[SANDBOX_IDENTITY] = SANDBOX_IF_POSSIBLE;
	isolation_probe(&isolation, &box);
	ck_assert(!isolation.on[SANDBOX_IDENTITY]);
	ck_assert_str_ne(isolation.why[SANDBOX_IDENTITY], "");
	ck_assert_int_eq(isolation_check(&isolation, &box, &e), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("isolation");
	TCase *t = tcase_create("isolation");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_range_that_is_free);
	tcase_add_loop_test(t, a_range_that_is_somebodys, 0, array_size(taken));
	tcase_add_test(t, all_off);
	tcase_add_test(t, all_on);
	tcase_add_test(t, required_and_not_there);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
