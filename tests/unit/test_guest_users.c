#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "users.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "toor::0:5::/:/bin/sh\n"
			     "# mint:x:1:1::/:/bin/sh\n"
			     "mint:x:1000:1001:Mint,,,:/home/mint:/bin/sh\n"
			     "short:x:1002\n"
			     "nobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n"
			     "rel:x:1003:1003::home/rel:/bin/sh\n"
			     "big:x:4294967295:1::/:/bin/sh\n"
			     "neg:x:-1:1::/:/bin/sh\n"
			     "wide:x:99999999999999999999:1::/:/bin/sh\n"
			     ":x:1005:1005::/:/bin/sh\n"
			     "last:x:1004:1004::/srv:";
static const char group[] = "root:x:0:\ndisk:x:6:mint\nbad:x:\nmint:x:1001:\n";

START_TEST(names_and_numbers)
{
	static const struct {
		const char *spec;
		uid_t uid;
		gid_t gid;
		const char *name, *home;
	} cases[] = {
		{ "mint", 1000, 1001, "mint", "/home/mint" },
		{ "1000", 1000, 1001, "mint", "/home/mint" },
		{ "1000:7", 1000, 7, "mint", "/home/mint" },
		{ "mint:disk", 1000, 6, "mint", "/home/mint" },
		{ "2000", 2000, 2000, "2000", "" },
		{ "2000:3000", 2000, 3000, "2000", "" },
		{ "nobody", 65534, 65534, "nobody", "/nonexistent" },
		{ "rel", 1003, 1003, "rel", "" },
		{ "last", 1004, 1004, "last", "/srv" },
		{ "1005", 1005, 1005, "1005", "" },
		{ "4294967294", 4294967294u, 4294967294u, "4294967294", "" },
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		struct user u = { 0 };
		struct kerr e = { 0 };

		ck_assert_msg(user_resolve(cases[i].spec, passwd, group, false, &u, &e) == 0,
			"%s: %s", cases[i].spec, e.msg);
		ck_assert_uint_eq(u.uid, cases[i].uid);
		ck_assert_uint_eq(u.gid, cases[i].gid);
		ck_assert_str_eq(u.name, cases[i].name);
		ck_assert_str_eq(u.home, cases[i].home);
	}
}
END_TEST

START_TEST(what_is_refused)
{
	static const char *const specs[] = {
		"", ":", ":5", "root", "toor", "0", "0:5", "00", "short", "big", "neg", "wide",
		"nosuch", "mint:", "mint:nosuch", "mint:bad", "mint:1:2", "-1", "1000:-1",
		"4294967295", "4294967296", "1000:4294967295", "1000 ", "mi\nnt",
		"99999999999999999999999999999999999999999999999999999999999999999999999999999999"
	};

	for (size_t i = 0; i < array_size(specs); i++) {
		struct user u = { .uid = 77 };
		struct kerr e = { 0 };

		ck_assert_msg(user_resolve(specs[i], passwd, group, false, &u, &e) == -EINVAL,
			"\"%s\" was taken", specs[i]);
		ck_assert_uint_eq(u.uid, 77);
		ck_assert(e.msg[0] != '\0');
	}
}
END_TEST

START_TEST(root_only_when_allowed)
{
	struct user u = { .uid = 77 };
	struct kerr e = { 0 };

	ck_assert_int_eq(user_resolve("root", passwd, group, false, &u, &e), -EINVAL);
	ck_assert_str_eq(e.msg, "user \"root\": the agent never runs as root (uid 0)");
	ck_assert_int_eq(user_resolve("root", passwd, group, true, &u, &e), 0);
	ck_assert_uint_eq(u.uid, 0);
	ck_assert_str_eq(u.home, "/root");
	ck_assert_int_eq(user_resolve("0", NULL, NULL, true, &u, &e), 0);
	ck_assert_uint_eq(u.uid, 0);
}
END_TEST

static void put(int dirfd, const char *name, const char *text, size_t len)
{
	ck_assert_int_eq(io_write_file_at(dirfd, name, text, len, 0644, NULL), 0);
}

START_TEST(files_of_an_image)
{
	char dir[] = "/tmp/kosvm-users-XXXXXX";
	_cleanup_close_ int root = -1;
	_cleanup_close_ int etc = -1;
	_cleanup_free_ char *big = malloc(USERS_FILE_MAX + 1);
	struct kerr e = { 0 };
	struct user u = { 0 };

	ck_assert_ptr_nonnull(mkdtemp(dir));
	root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* No /etc at all: numbers work, names say what to do. */
	ck_assert_int_eq(user_resolve_at(root, "1000:1000", false, &u, &e), 0);
	ck_assert_int_eq(user_resolve_at(root, "mint", false, &u, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "1000:1000"));

	ck_assert_int_eq(mkdirat(root, "etc", 0755), 0);
	etc = openat(root, "etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put(etc, "passwd", passwd, sizeof(passwd) - 1);
	put(etc, "group", group, sizeof(group) - 1);
	ck_assert_int_eq(user_resolve_at(root, "mint:disk", false, &u, &e), 0);
	ck_assert_uint_eq(u.gid, 6);

	/* Neither endless files nor pipes. */
	ck_assert_ptr_nonnull(big);
	memset(big, 'x', USERS_FILE_MAX + 1);
	put(etc, "passwd", big, USERS_FILE_MAX + 1);
	ck_assert_int_eq(user_resolve_at(root, "mint", false, &u, &e), -EFBIG);
	ck_assert_int_eq(unlinkat(etc, "passwd", 0), 0);
	ck_assert_int_eq(mkfifoat(etc, "passwd", 0644), 0);
	ck_assert_int_eq(user_resolve_at(root, "mint", false, &u, &e), -EINVAL);

	ck_assert_int_eq(unlinkat(etc, "passwd", 0), 0);
	ck_assert_int_eq(unlinkat(etc, "group", 0), 0);
	ck_assert_int_eq(unlinkat(root, "etc", AT_REMOVEDIR), 0);
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

START_TEST(home_is_a_directory_that_exists)
{
	struct user u = { .home = "/" };

	ck_assert_str_eq(user_home(&u, true), "/");
	(void)snprintf(u.home, sizeof(u.home), "/nonexistent/dir");
	ck_assert_str_eq(user_home(&u, true), "/state");
	ck_assert_str_eq(user_home(&u, false), "/tmp");
	u.home[0] = '\0';
	ck_assert_str_eq(user_home(&u, true), "/state");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("guest_users");
	TCase *t = tcase_create("guest_users");
	SRunner *sr;
	int failed;

	tcase_add_test(t, names_and_numbers);
	tcase_add_test(t, what_is_refused);
	tcase_add_test(t, root_only_when_allowed);
	tcase_add_test(t, files_of_an_image);
	tcase_add_test(t, home_is_a_directory_that_exists);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
