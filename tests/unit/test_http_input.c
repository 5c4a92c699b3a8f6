/* What a request may say: its target, its query, its body. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"
#include "sup_fixture.h"

static struct http_target target;

static void setup(void)
{
	target = (struct http_target){ 0 };
	fx_err = (struct kerr){ 0 };
}

static void teardown(void)
{
	http_target_done(&target);
}

/* ---- targets ---- */

static const struct {
	const char *raw;
	const char *parts[4];
} good_targets[] = {
	{ "/", { "" } },
	{ "/v1/agents", { "v1", "agents" } },
	{ "/v1/agents/", { "v1", "agents", "" } },
	{ "//", { "", "" } },
	{ "/a%20b", { "a b" } },
	{ "/a+b", { "a+b" } },
	{ "/..%2F..%2fetc", { "../../etc" } },
	{ "/%c3%a4", { "\xc3\xa4" } },
	{ "http://kosvm/v1?x", { "v1" } },
};

START_TEST(takes_a_target_apart)
{
	const char *const *want = good_targets[_i].parts;
	size_t n = 0;

	ck_assert_msg(
		http_target_parse(&target, good_targets[_i].raw, &fx_err) == 0, "%s", fx_err.msg);
	for (; n < 4 && want[n]; n++) {
		ck_assert_uint_lt(n, target.nparts);
		ck_assert_str_eq(target.parts[n], want[n]);
	}
	ck_assert_uint_eq(target.nparts, n);
}
END_TEST

static const struct {
	const char *raw;
	int result;
	const char *message;
} bad_targets[] = {
	{ "", -EINVAL, "begins with /" },
	{ "v1", -EINVAL, "begins with /" },
	{ "http://kosvm", -EINVAL, "begins with /" },
	{ "*", -EINVAL, "begins with /" },
	{ "/a%", -EINVAL, "two hexadecimal digits" },
	{ "/a%4", -EINVAL, "two hexadecimal digits" },
	{ "/a%zz", -EINVAL, "two hexadecimal digits" },
	{ "/a%00b", -EINVAL, "%00 is in no name" },
	{ "/a%ff", -EINVAL, "UTF-8" },
	{ "/a?b=%80", -EINVAL, "UTF-8" },
	{ "/a?%c0%80", -EINVAL, "UTF-8" },
	{ "/1/2/3/4/5/6/7/8/9", -ENOENT, "no such address" },
};

START_TEST(refuses_a_target)
{
	ck_assert_int_eq(
		http_target_parse(&target, bad_targets[_i].raw, &fx_err), bad_targets[_i].result);
	ck_assert_msg(strstr(fx_err.msg, bad_targets[_i].message) != NULL, "%s", fx_err.msg);
}
END_TEST

START_TEST(reads_a_query)
{
	ck_assert_int_eq(
		http_target_parse(&target, "/x?a=1&b&c=%26%3d&d=x+y&&a=2&e=f=g", &fx_err), 0);
	ck_assert_uint_eq(target.nquery, 6);
	ck_assert_str_eq(http_target_query(&target, "a"), "1");
	ck_assert_str_eq(http_target_query(&target, "b"), "");
	ck_assert_str_eq(http_target_query(&target, "c"), "&=");
	ck_assert_str_eq(http_target_query(&target, "d"), "x y");
	ck_assert_str_eq(http_target_query(&target, "e"), "f=g");
	ck_assert_ptr_null(http_target_query(&target, "f"));
}
END_TEST

START_TEST(bounds_a_target)
{
	char raw[HTTP_TARGET_MAX + 2];

	memset(raw, 'a', sizeof(raw) - 1);
	raw[0] = '/';
	raw[sizeof(raw) - 1] = '\0';
	ck_assert_int_eq(http_target_parse(&target, raw, &fx_err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "longer than"));
	raw[HTTP_TARGET_MAX] = '\0';
	ck_assert_int_eq(http_target_parse(&target, raw, &fx_err), 0);
	http_target_done(&target);
	/* One parameter too many. */
	memcpy(raw, "/?", 2);
	for (size_t i = 0; i <= HTTP_QUERY_MAX; i++)
		memcpy(raw + 2 + 2 * i, "a&", 3);
	ck_assert_int_eq(http_target_parse(&target, raw, &fx_err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "more than 32 query parameters"));
}
END_TEST

/* ---- queries and bodies by their table ---- */

static const struct http_field fields[] = {
	{ .key = "text", .kind = HTTP_TEXT, .min = 1, .max = 4 },
	{ .key = "flag", .kind = HTTP_BOOL },
	{ .key = "number", .kind = HTTP_INT, .min = 1, .max = 9 },
	{ .key = "list", .kind = HTTP_LIST, .min = 1, .max = 2 },
	{ .key = "map", .kind = HTTP_MAP },
	{ .key = "many", .kind = HTTP_TEXT, .repeat = true },
	{ 0 },
};
static const struct http_field needs[] = {
	{ .key = "text", .kind = HTTP_TEXT, .required = true },
	{ 0 },
};

static const struct {
	const char *query;
	const char *message; /* NULL: it is fine */
} queries[] = {
	{ "?flag&number=3&many=a&many=b", NULL },
	{ "?flag=false&number=9", NULL },
	{ "?flag=maybe", "flag: expected true or false" },
	{ "?number=0", "number: expected a number from 1 to 9" },
	{ "?number=10", "number: expected a number from 1 to 9" },
	{ "?number=-1", "number: expected a number from 1 to 9" },
	{ "?number=", "number: expected a number from 1 to 9" },
	{ "?number=18446744073709551617", "number: expected a number from 1 to 9" },
	{ "?flag&flag", "query: flag is there twice" },
	{ "?other=1", "query: nothing is named \"other\" here" },
};

START_TEST(checks_a_query)
{
	char raw[64] = "/x";

	(void)strncat(raw, queries[_i].query, sizeof(raw) - 3);
	ck_assert_int_eq(http_target_parse(&target, raw, &fx_err), 0);
	ck_assert_int_eq(
		http_query_check(&target, fields, &fx_err), queries[_i].message ? -EINVAL : 0);
	ck_assert_str_eq(fx_err.msg, queries[_i].message ? queries[_i].message : "");
}
END_TEST

START_TEST(reads_checked_values)
{
	ck_assert_int_eq(http_target_parse(&target, "/x?a&b=0&n=7", &fx_err), 0);
	ck_assert(http_query_bool(&target, "a", false));
	ck_assert(!http_query_bool(&target, "b", true));
	ck_assert(http_query_bool(&target, "c", true));
	ck_assert_int_eq(http_query_int(&target, "n", 1), 7);
	ck_assert_int_eq(http_query_int(&target, "m", 1), 1);
}
END_TEST

static const struct {
	const char *text;
	const char *message; /* NULL: it is fine */
} bodies[] = {
	{ "", NULL },
	{ " \r\n\t", NULL },
	{ "{}", NULL },
	{ "{\"text\":\"abcd\",\"flag\":true,\"number\":1,\"list\":[\"a\"],\"map\":{\"a\":\"b\"}}",
		NULL },
	{ "{\"map\":{}}", NULL },
	{ "[]", "expected a JSON object" },
	{ "\"x\"", "body: line 1" },
	{ "{", "body: line 1" },
	{ "{} {}", "body: line 1" },
	{ "{\"text\":\"a\",\"text\":\"b\"}", "body: line 1" },
	{ "{\"text\":\"\xff\"}", "body: line 1" },
	{ "{\"text\":\"\\u0000\"}", "body: line 1" },
	{ "{\"number\":99999999999999999999}", "body: line 1" },
	{ "{\"other\":1}", "nothing is named \"other\"" },
	{ "{\"text\":\"\"}", "text: is empty" },
	{ "{\"text\":\"abcde\"}", "text: longer than 4 bytes" },
	{ "{\"text\":1}", "text: expected a text" },
	{ "{\"text\":null}", "text: expected a text" },
	{ "{\"flag\":1}", "flag: expected true or false" },
	{ "{\"number\":1.0}", "number: expected a number" },
	{ "{\"number\":10}", "number: expected a number" },
	{ "{\"list\":[]}", "list: expected 1 to 2 texts" },
	{ "{\"list\":[\"a\",\"b\",\"c\"]}", "list: expected 1 to 2 texts" },
	{ "{\"list\":[1]}", "list: expected a list of texts" },
	{ "{\"list\":{}}", "list: expected a list of texts" },
	{ "{\"map\":{\"a\":1}}", "map: expected an object of texts" },
	{ "{\"map\":[]}", "map: expected an object of texts" },
};

START_TEST(checks_a_body)
{
	json_t *body = NULL;
	int r = http_body_parse(bodies[_i].text, strlen(bodies[_i].text), &body, &fx_err);

	if (r == 0)
		r = http_body_check(body, fields, &fx_err);
	ck_assert_int_eq(r, bodies[_i].message ? -EINVAL : 0);
	if (bodies[_i].message)
		ck_assert_msg(strstr(fx_err.msg, bodies[_i].message) != NULL, "%s", fx_err.msg);
	json_decref(body);
}
END_TEST

START_TEST(wants_what_is_required)
{
	json_t *body = json_object();

	ck_assert_int_eq(http_body_check(body, needs, &fx_err), -EINVAL);
	ck_assert_str_eq(fx_err.msg, "body: \"text\" is missing");
	ck_assert_int_eq(json_object_set_new(body, "text", json_string("")), 0);
	ck_assert_int_eq(http_body_check(body, needs, &fx_err), 0);
	/* Without a table there may be nothing. */
	ck_assert_int_eq(http_body_check(body, NULL, &fx_err), -EINVAL);
	json_decref(body);
}
END_TEST

/* n brackets deep; brackets of texts do not count. */
static int parse_deep(unsigned n)
{
	json_t *body = NULL;
	char *text = malloc(6 + 2 * (size_t)n + 32);
	size_t len = 0;
	int r;

	ck_assert_ptr_nonnull(text);
	memcpy(text, "{\"[[\\\"[\":", 9);
	len = 9;
	memset(text + len, '[', n);
	memset(text + len + n, ']', n);
	len += 2 * (size_t)n;
	text[len++] = '}';
	r = http_body_parse(text, len, &body, &fx_err);
	json_decref(body);
	free(text);
	return r;
}

START_TEST(bounds_depth)
{
	ck_assert_int_eq(parse_deep(HTTP_DEPTH_MAX - 1), 0);
	ck_assert_int_eq(parse_deep(HTTP_DEPTH_MAX), -EINVAL);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "nested deeper than 32"));
	ck_assert_int_eq(parse_deep(400000), -EINVAL);
}
END_TEST

/* ---- routes ---- */

static const struct {
	const char *method;
	const char *raw;
	int result;
	const char *arg;
} wanted[] = {
	{ "GET", "/v1/agents", 0, NULL },
	{ "GET", "/v1/agents/a", 0, "a" },
	{ "POST", "/v1/agents/..%2F..%2Fx/exec", 0, "../../x" },
	{ "PUT", "/v1/agents", -EOPNOTSUPP, NULL },
	{ "GET", "/v1/agents/", -ENOENT, NULL },
	{ "GET", "/v1/agent", -ENOENT, NULL },
	{ "GET", "/v1/agentsx", -ENOENT, NULL },
	{ "GET", "/v1//agents", -ENOENT, NULL },
	{ "GET", "/", -ENOENT, NULL },
};

START_TEST(finds_a_route)
{
	const struct route *route = NULL;
	const char *args[HTTP_ARGS_MAX] = { 0 };
	char allow[64];

	ck_assert_int_eq(http_target_parse(&target, wanted[_i].raw, &fx_err), 0);
	ck_assert_int_eq(route_find(wanted[_i].method, &target, &route, args, allow, &fx_err),
		wanted[_i].result);
	if (wanted[_i].arg)
		ck_assert_str_eq(args[0], wanted[_i].arg);
	if (wanted[_i].result == -EOPNOTSUPP)
		ck_assert_str_eq(allow, "GET, POST");
}
END_TEST

#define N(table) ((int)(sizeof(table) / sizeof((table)[0])))

int main(void)
{
	Suite *s = suite_create("http_input");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, takes_a_target_apart, 0, N(good_targets));
	tcase_add_loop_test(t, refuses_a_target, 0, N(bad_targets));
	tcase_add_test(t, reads_a_query);
	tcase_add_test(t, bounds_a_target);
	tcase_add_loop_test(t, checks_a_query, 0, N(queries));
	tcase_add_test(t, reads_checked_values);
	tcase_add_loop_test(t, checks_a_body, 0, N(bodies));
	tcase_add_test(t, wants_what_is_required);
	tcase_add_test(t, bounds_depth);
	tcase_add_loop_test(t, finds_a_route, 0, N(wanted));
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
