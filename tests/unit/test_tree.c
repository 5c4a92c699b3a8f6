#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sup_fixture.h"
#include "tree.h"

static void touch(const char *name)
{
	int fd = openat(fx_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	(void)close(fd);
}

static bool there(const char *name)
{
	return faccessat(fx_dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

START_TEST(removes_all)
{
	ck_assert_int_eq(mkdirat(fx_dir, "a", 0700), 0);
	ck_assert_int_eq(mkdirat(fx_dir, "a/b", 0700), 0);
	for (int i = 0; i < 300; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "a/b/%d", i);
		touch(name);
	}
	touch("a/.hidden");
	ck_assert_int_eq(mkfifoat(fx_dir, "a/fifo", 0600), 0);
	touch("other");
	ck_assert_int_eq(tree_remove(fx_dir, "a", &fx_err), 0);
	ck_assert(!there("a"));
	ck_assert(there("other"));
}
END_TEST

START_TEST(follows_no_link)
{
	ck_assert_int_eq(mkdirat(fx_dir, "keep", 0700), 0);
	touch("keep/file");
	ck_assert_int_eq(mkdirat(fx_dir, "a", 0700), 0);
	ck_assert_int_eq(symlinkat("../keep", fx_dir, "a/link"), 0);
	ck_assert_int_eq(symlinkat("keep", fx_dir, "link"), 0);
	ck_assert_int_eq(tree_remove(fx_dir, "a", &fx_err), 0);
	ck_assert_int_eq(tree_remove(fx_dir, "link", &fx_err), 0);
	ck_assert(!there("link"));
	ck_assert(there("keep/file"));
}
END_TEST

START_TEST(odd_cases)
{
	char deep[256] = "d";

	ck_assert_int_eq(tree_remove(fx_dir, "nothing", &fx_err), 0);
	touch("file");
	ck_assert_int_eq(tree_remove(fx_dir, "file", &fx_err), 0);
	ck_assert(!there("file"));
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(mkdirat(fx_dir, deep, 0700), 0);
		(void)strcat(deep, "/d");
	}
	ck_assert_int_eq(tree_remove(fx_dir, "d", &fx_err), -ELOOP);
	ck_assert_str_eq(fx_err.msg, "d: directories are nested too deeply");
	/* From half-way down it is no longer too deep; then the rest is not either. */
	ck_assert_int_eq(tree_remove(fx_dir, "d/d/d/d/d/d/d/d", &fx_err), 0);
	ck_assert_int_eq(tree_remove(fx_dir, "d", &fx_err), 0);
	ck_assert(!there("d"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tree");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, fx_setup, fx_teardown);
	tcase_add_test(t, removes_all);
	tcase_add_test(t, follows_no_link);
	tcase_add_test(t, odd_cases);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
