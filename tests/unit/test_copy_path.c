#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>

#include "copy_path.h"

static const struct {
	const char *text;
	const char *agent; /* "": here; NULL: refused */
	const char *path;
	const char *last;
	const char *parent;
	bool contents, directory;
} paths[] = {
	{ "a:/x/y", "a", "/x/y", "y", "/x", false, false },
	{ "a:/x/y/", "a", "/x/y", "y", "/x", false, true },
	{ "a:/x/y//", "a", "/x/y", "y", "/x", false, true },
	{ "a:/x/y/.", "a", "/x/y", "y", "/x", true, false },
	{ "a:/x", "a", "/x", "x", "/", false, false },
	{ "a:x", "a", "/x", "x", "/", false, false },
	{ "a:/", "a", "/", "", "/", true, false },
	{ "a:/.", "a", "/", "", "/", true, false },
	{ "a:b:c", "a", "/b:c", "b:c", "/", false, false },
	{ "x", "", "x", "x", ".", false, false },
	{ "x/y", "", "x/y", "y", "x", false, false },
	{ "./a:b", "", "./a:b", "a:b", ".", false, false },
	{ "/a:b/", "", "/a:b", "a:b", "/", false, true },
	{ ".", "", ".", ".", ".", true, false },
	{ "./", "", ".", ".", ".", true, true },
	{ "..", "", "..", "..", ".", false, false },
	{ "x/.", "", "x", "x", ".", true, false },
	{ "a:", NULL, NULL, NULL, NULL, false, false },
	{ ":/x", NULL, NULL, NULL, NULL, false, false },
	{ "", NULL, NULL, NULL, NULL, false, false },
};

START_TEST(test_parse)
{
	struct copy_path p = { 0 };
	_cleanup_free_ char *parent = NULL;
	int r = copy_path_parse(paths[_i].text, &p);

	if (!paths[_i].agent) {
		ck_assert_int_eq(r, -EINVAL);
		return;
	}
	ck_assert_int_eq(r, 0);
	ck_assert_str_eq(p.agent ? p.agent : "", paths[_i].agent);
	ck_assert_str_eq(p.path, paths[_i].path);
	ck_assert_str_eq(copy_path_last(&p), paths[_i].last);
	parent = copy_path_parent(&p);
	ck_assert_str_eq(parent, paths[_i].parent);
	ck_assert_msg(p.contents == paths[_i].contents, "%s: contents", paths[_i].text);
	ck_assert_msg(p.directory == paths[_i].directory, "%s: directory", paths[_i].text);
	ck_assert(!p.stream);
	copy_path_done(&p);
}
END_TEST

START_TEST(test_stream)
{
	struct copy_path p = { 0 };

	ck_assert_int_eq(copy_path_parse("-", &p), 0);
	ck_assert(p.stream && !p.agent && !p.path);
	copy_path_done(&p);
}
END_TEST

static const struct {
	const char *name;
	const char *first;
	const char *made; /* NULL: refused */
} names[] = {
	{ "a", "x", "x" },
	{ "a/", "x", "x" },
	{ "a/b/c", "x", "x/b/c" },
	{ "a//b", "x", "x/b" },
	{ "./a/b/", "x", "x/b" },
	{ "././a/b", "x", "x/b" },
	{ "a/b", NULL, "b" },
	{ "a", NULL, "" },
	{ "a/b", "", "b" },
	{ "a/..b/c..", "x", "x/..b/c.." },
	{ "/a", "x", NULL },
	{ "..", "x", NULL },
	{ "a/..", "x", NULL },
	{ "a/../b", "x", NULL },
	{ "./../b", "x", NULL },
	{ "a/b/../../..", NULL, NULL },
	{ "", "x", NULL },
	{ "./", "x", NULL },
	{ "a/./b", NULL, "b" },
	{ "a/.", "x", "x" },
	{ "a/././/b/.c", "x", "x/b/.c" },
};

START_TEST(test_rewrite)
{
	_cleanup_free_ char *made = copy_name_rewrite(names[_i].name, names[_i].first);

	if (!names[_i].made)
		ck_assert_msg(!made, "%s became %s", names[_i].name, made);
	else
		ck_assert_pstr_eq(made, names[_i].made);
}
END_TEST

/* The whole of an agent's root: what comes of it has no name of its own before. */
static const struct {
	const char *name;
	const char *first;
	const char *made;
} of_root[] = {
	{ "./", "", "" },
	{ "./etc/", "", "etc" },
	{ "./etc/passwd", NULL, "etc/passwd" },
	{ "./etc/passwd", "new", "new/etc/passwd" },
	{ "./", "new", "new" },
	{ "./../x", "", NULL },
	{ "/etc", "", NULL },
};

START_TEST(test_root)
{
	struct copy_path src = { 0 };
	_cleanup_free_ char *made = NULL;

	ck_assert_int_eq(copy_path_parse("a:/", &src), 0);
	made = copy_name_from(&src, of_root[_i].name, of_root[_i].first);
	ck_assert_pstr_eq(made, of_root[_i].made);
	copy_path_done(&src);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("copy_path");
	TCase *t = tcase_create("all");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, test_parse, 0, (int)(sizeof(paths) / sizeof(paths[0])));
	tcase_add_test(t, test_stream);
	tcase_add_loop_test(t, test_rewrite, 0, (int)(sizeof(names) / sizeof(names[0])));
	tcase_add_loop_test(t, test_root, 0, (int)(sizeof(of_root) / sizeof(of_root[0])));
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
