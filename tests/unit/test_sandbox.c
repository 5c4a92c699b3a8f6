#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <manifests/sandbox.h>

static struct sandbox box;
static struct kerr e;

static int parse(const char *text)
{
	box = (struct sandbox){ 0 };
	e = (struct kerr){ 0 };
	return sandbox_parse("/etc/kosvm/sandbox.ini", text, strlen(text), &box, &e);
}

START_TEST(nothing_is_no_limit)
{
	struct manifest huge = { .vcpus = 32, .memory = 64ULL << 30, .state = 16ULL << 40 };

	ck_assert_int_eq(parse("# nothing\n[limits]\n"), 0);
	ck_assert_int_eq(sandbox_check_manifest(&box, &huge, "m.ini", &e), 0);
	for (int k = 0; k < SANDBOX_KEYS; k++)
		ck_assert_int_eq(sandbox_check_total(&box, k, UINT64_MAX, 1, "x", "y", &e), 0);
}
END_TEST

START_TEST(every_limit)
{
	ck_assert_msg(parse("[limits]\nagents = 100\nvcpus = 4\nvcpus-total = 64\nmemory = 2G\n"
			    "memory-total = 1T\nstate = 0\nstate-total = 10T\ncpu = 150%\n"
			    "disk-bandwidth = 20M\ndisk-ops = 500\nvsock-bandwidth = 4K\n") == 0,
		"%s", e.msg);
	ck_assert_uint_eq(box.limit[SANDBOX_AGENTS], 100);
	ck_assert_uint_eq(box.limit[SANDBOX_VCPUS], 4);
	ck_assert_uint_eq(box.limit[SANDBOX_VCPUS_TOTAL], 64);
	ck_assert_uint_eq(box.limit[SANDBOX_MEMORY], 2ULL << 30);
	ck_assert_uint_eq(box.limit[SANDBOX_MEMORY_TOTAL], 1ULL << 40);
	ck_assert_uint_eq(box.limit[SANDBOX_STATE], 0);
	ck_assert_uint_eq(box.limit[SANDBOX_STATE_TOTAL], 10ULL << 40);
	ck_assert_uint_eq(box.limit[SANDBOX_CPU], 1500);
	ck_assert_uint_eq(box.limit[SANDBOX_DISK_BANDWIDTH], 20ULL << 20);
	ck_assert_uint_eq(box.limit[SANDBOX_DISK_OPS], 500);
	ck_assert_uint_eq(box.limit[SANDBOX_VSOCK_BANDWIDTH], 4096);
	for (unsigned k = 0; k < SANDBOX_KEYS; k++)
		ck_assert_uint_eq(box.line[k], 2 + k);
	ck_assert_str_eq(box.file, "/etc/kosvm/sandbox.ini");
}
END_TEST

START_TEST(unenforced)
{
	ck_assert_int_eq(parse(""), 0);
	ck_assert_int_eq(box.unenforced, SANDBOX_REFUSE);
	ck_assert_int_eq(parse("[limits]\nunenforced-quotas = allow\n"), 0);
	ck_assert_int_eq(box.unenforced, SANDBOX_ALLOW);
	ck_assert_int_eq(parse("[limits]\nunenforced-quotas = yes\n"), -EINVAL);
	ck_assert_ptr_nonnull(
		strstr(e.msg, ":2: unenforced-quotas = yes: expected refuse or allow"));
	ck_assert_int_eq(parse("[limits]\ncpu = 0\n"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "expected 1% to 3200%"));
}
END_TEST

START_TEST(isolation_by_default)
{
	ck_assert_int_eq(parse(""), 0);
	for (int p = 0; p < SANDBOX_PROTECTIONS; p++) {
		ck_assert_int_eq(box.need[p], SANDBOX_REQUIRED);
		ck_assert_uint_eq(box.need_line[p], 0);
		ck_assert_ptr_nonnull(sandbox_protection_name(p));
	}
	ck_assert_uint_eq(box.uids.first, SANDBOX_UID_FIRST);
	ck_assert_uint_eq(box.uids.last, SANDBOX_UID_LAST);
	ck_assert_uint_eq(box.uids_line, 0);
}
END_TEST

/* One's own key wins over that for all, before it or behind it. */
START_TEST(isolation_as_written)
{
	ck_assert_msg(parse("[isolation]\nnetwork = required\njail = off\ntime = if-possible\n"
			    "[identity]\nuids = 200000-265535\n") == 0,
		"%s", e.msg);
	for (int p = 0; p < SANDBOX_PROTECTIONS; p++) {
		enum sandbox_need want = SANDBOX_OFF;
		unsigned line = 3;

		if (p == SANDBOX_NETWORK) {
			want = SANDBOX_REQUIRED;
			line = 2;
		} else if (p == SANDBOX_TIME) {
			want = SANDBOX_IF_POSSIBLE;
			line = 4;
		}
		ck_assert_int_eq(box.need[p], want);
		ck_assert_uint_eq(box.need_line[p], line);
	}
	ck_assert_uint_eq(box.uids.first, 200000);
	ck_assert_uint_eq(box.uids.last, 265535);
	ck_assert_uint_eq(box.uids_line, 6);
	ck_assert_str_eq(sandbox_need_name(SANDBOX_IF_POSSIBLE), "if-possible");
}
END_TEST

static const struct {
	const char *text, *message;
} mistakes[] = {
	{ "agents = 1\n", "/etc/kosvm/sandbox.ini:1: expected a [section] before the first key" },
	{ "[limit]\n",
		"/etc/kosvm/sandbox.ini:1: unknown section [limit]: did you mean [limits]?" },
	{ "[env]\n",
		"/etc/kosvm/sandbox.ini:1: unknown section [env]: expected [limits], "
		"[isolation] or [identity]" },
	{ "[limits]\nmemroy = 1G\n",
		"/etc/kosvm/sandbox.ini:2: memroy: unknown key in [limits]: did you mean memory?" },
	{ "[limits]\nmemory = 1G\nmemory = 2G\n",
		"/etc/kosvm/sandbox.ini:3: memory = 2G: given already at line 2: expected it once" },
	{ "[limits]\nvcpus = 0\n", "/etc/kosvm/sandbox.ini:2: vcpus = 0: expected 1 to 32" },
	{ "[limits]\nvcpus = 33\n", "/etc/kosvm/sandbox.ini:2: vcpus = 33: expected 1 to 32" },
	{ "[limits]\nvcpus = -1\n",
		"/etc/kosvm/sandbox.ini:2: vcpus = -1: expected a whole number such as 8" },
	{ "[limits]\nmemory = 0\n",
		"/etc/kosvm/sandbox.ini:2: memory = 0: expected 1M to 1048576T" },
	{ "[limits]\nmemory = lots\n",
		"/etc/kosvm/sandbox.ini:2: memory = lots: expected a size such as 4G" },
	{ "[limits]\ndisk-bandwidth = 0\n",
		"/etc/kosvm/sandbox.ini:2: disk-bandwidth = 0: expected 4K to 1T" },
	{ "[isolation]\nnetwork = maybe\n",
		"/etc/kosvm/sandbox.ini:2: network = maybe: expected required, if-possible or off" },
	{ "[isolation]\njail = off\njail = off\n",
		"/etc/kosvm/sandbox.ini:3: jail = off: given already at line 2: expected it once" },
	{ "[identity]\nuids = 5\n",
		"/etc/kosvm/sandbox.ini:2: uids = 5: expected FIRST-LAST, both 1000 to 4294967293, "
		"such as 1879048192-1879113727" },
	{ "[identity]\nuids = 3000-2000\n",
		"/etc/kosvm/sandbox.ini:2: uids = 3000-2000: expected FIRST-LAST, both 1000 to "
		"4294967293, such as 1879048192-1879113727" },
	{ "[identity]\nuids = 65000-66000\n",
		"/etc/kosvm/sandbox.ini:2: uids = 65000-66000: expected a range without 65534 and "
		"65535: they are everybody's that has no user" },
	{ "[limits]\nstate-total = 99999999999T\n",
		"/etc/kosvm/sandbox.ini:2: state-total = 99999999999T: expected 0, or 1M to 1048576T" },
};

START_TEST(mistake)
{
	static const struct sandbox untouched;

	ck_assert_int_lt(parse(mistakes[_i].text), 0);
	ck_assert_str_eq(e.msg, mistakes[_i].message);
	ck_assert_mem_eq(&box, &untouched, sizeof(box));
}
END_TEST

START_TEST(too_large)
{
	_cleanup_free_ char *text = malloc(SANDBOX_MAX_BYTES + 1);

	memset(text, '\n', SANDBOX_MAX_BYTES + 1);
	ck_assert_int_eq(sandbox_parse("f", text, SANDBOX_MAX_BYTES + 1, &box, &e), -EFBIG);
	ck_assert_int_eq(sandbox_parse("f", text, SANDBOX_MAX_BYTES, &box, &e), 0);
}
END_TEST

/* The ceiling itself is allowed; one more is not, and both lines are named. */
START_TEST(a_manifest_that_asks_for_more)
{
	struct manifest m = { .vcpus = 2, .memory = 128ULL << 20, .state = 16ULL << 20 };

	ck_assert_int_eq(parse("[limits]\nvcpus = 2\nmemory = 128M\nstate = 16M\n"), 0);
	ck_assert_int_eq(sandbox_check_manifest(&box, &m, "echo-mint.ini", &e), 0);
	m.vcpus = 3;
	m.vcpus_line = 9;
	ck_assert_int_eq(sandbox_check_manifest(&box, &m, "echo-mint.ini", &e), -EPERM);
	ck_assert_str_eq(e.msg,
		"echo-mint.ini:9: vcpus = 3 is more than /etc/kosvm/sandbox.ini:2 allows: vcpus = "
		"2");
	m.vcpus = 2;
	m.memory = 129ULL << 20;
	ck_assert_int_eq(sandbox_check_manifest(&box, &m, "echo-mint.ini", &e), -EPERM);
	ck_assert_str_eq(e.msg,
		"echo-mint.ini: memory = 129M (the default) is more than "
		"/etc/kosvm/sandbox.ini:3 allows: memory = 128M");
	m.memory = 128ULL << 20;
	m.state += 4096;
	m.state_line = 11;
	ck_assert_int_eq(sandbox_check_manifest(&box, &m, "echo-mint.ini", &e), -EPERM);
	ck_assert_ptr_nonnull(strstr(e.msg, "echo-mint.ini:11: state = "));
	ck_assert_ptr_nonnull(strstr(e.msg, "/etc/kosvm/sandbox.ini:4 allows: state = 16M"));
}
END_TEST

/* Limits of traffic: who asks for none may, and has the ceiling; who says "no limit" may not. */
START_TEST(traffic)
{
	struct manifest m = { .disk_rate = { .bytes = 10 << 20 } };

	ck_assert_int_eq(parse("[limits]\ndisk-bandwidth = 10M\ndisk-ops = 5\n"
			       "vsock-bandwidth = 1M\n"),
		0);
	ck_assert_int_eq(sandbox_check_manifest(&box, &m, "m.ini", &e), 0);
	m.disk_rate.ops = 6;
	m.disk_ops_line = 12;
	ck_assert_int_eq(sandbox_check_manifest(&box, &m, "m.ini", &e), -EPERM);
	ck_assert_str_eq(e.msg,
		"m.ini:12: disk-ops = 6 is more than /etc/kosvm/sandbox.ini:3 allows: disk-ops = 5");
	m.disk_rate.ops = 5;
	m.vsock_rate.bytes = 2 << 20;
	m.vsock_bandwidth_line = 14;
	ck_assert_int_eq(sandbox_check_manifest(&box, &m, "m.ini", &e), -EPERM);
	ck_assert_ptr_nonnull(strstr(e.msg, "m.ini:14: vsock-bandwidth = 2M is more than"));
	ck_assert_int_eq(sandbox_check_change(&box, SANDBOX_DISK_OPS, 5, "a", &e), 0);
	ck_assert_int_eq(sandbox_check_change(&box, SANDBOX_DISK_OPS, 6, "a", &e), -EPERM);
	ck_assert_str_eq(e.msg,
		"agent a: disk-ops = 6 is more than /etc/kosvm/sandbox.ini:3 allows: disk-ops = 5");
	ck_assert_int_eq(sandbox_check_change(&box, SANDBOX_DISK_OPS, 0, "a", &e), -EPERM);
	ck_assert_ptr_nonnull(strstr(e.msg, "disk-ops = none is more"));
	ck_assert_int_eq(sandbox_check_change(&box, SANDBOX_MEMORY, 0, "a", &e), 0);
}
END_TEST

START_TEST(totals)
{
	ck_assert_int_eq(parse("[limits]\nagents = 2\nmemory-total = 1G\n"), 0);
	ck_assert_int_eq(sandbox_check_total(&box, SANDBOX_AGENTS, 1, 1, "agents", "host", &e), 0);
	ck_assert_int_eq(
		sandbox_check_total(&box, SANDBOX_AGENTS, 2, 1, "agents", "this host", &e), -EPERM);
	ck_assert_str_eq(e.msg,
		"agents: 1 more, with the 2 of this host, is more than /etc/kosvm/sandbox.ini:2 "
		"allows: agents = 2");
	ck_assert_int_eq(sandbox_check_total(&box, SANDBOX_MEMORY_TOTAL, 1ULL << 29, 1ULL << 29,
				 "memory", "others", &e),
		0);
	ck_assert_int_eq(sandbox_check_total(&box, SANDBOX_MEMORY_TOTAL, 1ULL << 30, 64 << 20,
				 "memory", "the agents that run", &e),
		-EPERM);
	ck_assert_str_eq(e.msg,
		"memory: 64M more, with the 1G of the agents that run, is more than "
		"/etc/kosvm/sandbox.ini:3 allows: memory-total = 1G");
	/* A sum that wraps is no small one. */
	ck_assert_int_eq(sandbox_check_total(
				 &box, SANDBOX_MEMORY_TOTAL, UINT64_MAX, 2, "memory", "others", &e),
		-EPERM);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sandbox");
	TCase *tc = tcase_create("sandbox");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, nothing_is_no_limit);
	tcase_add_test(tc, every_limit);
	tcase_add_test(tc, unenforced);
	tcase_add_test(tc, isolation_by_default);
	tcase_add_test(tc, isolation_as_written);
	tcase_add_loop_test(tc, mistake, 0, (int)array_size(mistakes));
	tcase_add_test(tc, too_large);
	tcase_add_test(tc, a_manifest_that_asks_for_more);
	tcase_add_test(tc, traffic);
	tcase_add_test(tc, totals);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
