/* Names, ids and their beginnings; and what a launch keeps. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent_fixture.h"

static void add(const char *name, const char *uid)
{
	char text[512];

	(void)snprintf(text, sizeof(text),
		"INSERT INTO agents (name, state, cid, created_ns, signer, manifest, signature, uid) "
		"SELECT '%s', 'stopped', max(cid) + 1, 1, 'k', manifest, 's', '%s' FROM agents",
		name, uid);
	af_sql(text);
}

static const struct {
	const char *ref, *name; /* NULL: none */
	int code;
} refs[] = {
	{ "one", "one", 0 },
	{ "aa11", "one", 0 },
	{ "aa1", "one", 0 },
	{ "aa", NULL, EINVAL },
	{ "aa1100000000000000000000000000ff", "one", 0 },
	{ "aa1100000000000000000000000000fff", NULL, ENOENT },
	{ "b", "two", 0 },
	{ "bee", "bee", 0 }, /* a name, before an id that begins so */
	{ "beef", "two", 0 },
	{ "BEEF", NULL, ENOENT },
	{ "", NULL, ENOENT },
	{ "ZZ", NULL, ENOENT },
	{ "../one", NULL, ENOENT },
};

START_TEST(finds)
{
	af_sql("UPDATE agents SET uid = 'cc' || substr(uid, 3)");
	add("one", "aa1100000000000000000000000000ff");
	add("three", "aa2200000000000000000000000000ff");
	add("two", "beef00000000000000000000000000ff");
	add("bee", "dd0000000000000000000000000000ff");
	af_crash();
	af_open();
	ck_assert_int_eq(agents_load(&af.sup, &fx_err), 0);
	for (size_t i = 0; i < sizeof(refs) / sizeof(refs[0]); i++) {
		struct agent *a = agent_find(&af.sup, refs[i].ref, &fx_err);

		ck_assert_msg(!a == !refs[i].name, "%s", refs[i].ref);
		if (a)
			ck_assert_str_eq(a->row.name, refs[i].name);
		else
			ck_assert_int_eq(fx_err.code, refs[i].code);
	}
}
END_TEST

START_TEST(launch_is_kept)
{
	json_t *env = json_pack("{s:s, s:s}", "A", "b=c d", "EMPTY", "");
	struct agent_launch in = {
		.env = env, .tty = true, .open_stdin = true, .remove = true, .rows = 24, .cols = 80
	};
	struct launch out = { 0 };
	char *text = NULL;

	ck_assert_msg(launch_format(&in, &text, &fx_err) == 0, "%s", fx_err.msg);
	ck_assert_msg(launch_parse(text, &out, &fx_err) == 0, "%s", fx_err.msg);
	ck_assert(out.tty && out.open_stdin && out.remove);
	ck_assert_uint_eq(out.rows, 24);
	ck_assert_uint_eq(out.cols, 80);
	ck_assert_str_eq(out.env[0], "A=b=c d");
	ck_assert_str_eq(out.env[1], "EMPTY=");
	ck_assert_ptr_null(out.env[2]);
	launch_done(&out);
	launch_done(&out);
	free(text);
	json_decref(env);
	in = (struct agent_launch){ 0 };
	ck_assert_int_eq(launch_format(&in, &text, &fx_err), 0);
	ck_assert_int_eq(launch_parse(text, &out, &fx_err), 0);
	ck_assert_ptr_null(out.env);
	ck_assert(!out.tty && !out.remove);
	free(text);
	ck_assert_int_eq(launch_parse("{}", &out, &fx_err), 0);
	ck_assert_int_lt(launch_parse("[]", &out, &fx_err), 0);
	ck_assert_int_lt(launch_parse("", &out, &fx_err), 0);
	ck_assert_int_lt(launch_parse("{\"tty\":true,\"tty\":true}", &out, &fx_err), 0);
}
END_TEST

START_TEST(launch_is_checked)
{
	static const char *const bad[] = {
		"[\"A=b\"]",
		"{\"A\": 1}",
		"{\"A B\": \"\"}",
		"{\"\": \"\"}",
		"{\"1A\": \"\"}",
		"{\"A=\": \"\"}",
		"{\"A\": \"x\\u0000y\"}",
	};
	struct agent_launch in = { 0 };
	char *text = NULL;
	json_t *env;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		env = json_loads(bad[i], JSON_ALLOW_NUL, NULL);
		ck_assert_ptr_nonnull(env);
		in.env = env;
		ck_assert_msg(launch_format(&in, &text, &fx_err) == -EINVAL, "%s", bad[i]);
		json_decref(env);
	}
	env = json_object();
	for (int i = 0; i < 65; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "V%d", i);
		(void)json_object_set_new(env, name, json_string("v"));
	}
	in.env = env;
	ck_assert_int_eq(launch_format(&in, &text, &fx_err), -E2BIG);
	json_decref(env);
	env = json_object();
	text = malloc(40000);
	memset(text, 'x', 39999);
	text[39999] = '\0';
	(void)json_object_set_new(env, "LONG", json_string(text));
	free(text);
	in.env = env;
	ck_assert_int_eq(launch_format(&in, &text, &fx_err), -E2BIG);
	json_decref(env);
	in = (struct agent_launch){ .rows = 10001 };
	ck_assert_int_eq(launch_format(&in, &text, &fx_err), -EINVAL);
}
END_TEST

START_TEST(inspects)
{
	json_t *o;
	json_t *moves;

	af_run("serve");
	o = agent_inspect(af.a);
	ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(o, "manifest")), "[agent]"));
	moves = json_object_get(o, "transitions");
	ck_assert_uint_eq(json_array_size(moves), 2);
	ck_assert_str_eq(
		json_string_value(json_object_get(json_array_get(moves, 0), "event")), "start");
	ck_assert_uint_eq(json_array_size(json_object_get(o, "boots")), 1);
	ck_assert_str_eq(
		json_string_value(json_object_get(json_object_get(o, "lifecycle"), "restart")),
		"never");
	ck_assert(json_is_true(json_object_get(json_object_get(o, "health"), "guest_connected")));
	ck_assert_int_eq(json_integer_value(json_object_get(o, "generation")), 1);
	ck_assert(json_is_object(json_object_get(o, "labels")));
	json_decref(o);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_find");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, af_setup, af_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, finds);
	tcase_add_test(t, launch_is_kept);
	tcase_add_test(t, launch_is_checked);
	tcase_add_test(t, inspects);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
