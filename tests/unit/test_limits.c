/* What an agent may move: who says so, what is refused, and what is kept. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent_fixture.h"

#define MIB (UINT64_C(1) << 20)

static int update(const char *body)
{
	json_t *o = json_loads(body, 0, NULL);
	int r;

	ck_assert_ptr_nonnull(o);
	fx_err = (struct kerr){ 0 };
	r = agent_update(af.a, o, &fx_err);
	json_decref(o);
	return r;
}

static void expect(enum limit_name i, uint64_t value, const char *from)
{
	struct limits l;

	limits_of(af.a, &l);
	ck_assert_uint_eq(l.value[i], value);
	ck_assert_str_eq(l.from[i], from);
}

static void ceiling(enum sandbox_key key, uint64_t value)
{
	(void)strcpy(af.sup.sandbox.file, "sandbox.ini");
	af.sup.sandbox.limit[key] = value;
	af.sup.sandbox.line[key] = value ? 7 : 0;
}

static void tear_down(void)
{
	af.sup.sandbox = (struct sandbox){ 0 };
	af_teardown();
}

START_TEST(who_says_so)
{
	struct rate_limit disk, vsock;
	struct limits l;

	af_setup_manifest("[resources]\ndisk-bandwidth = 20M\nvsock-burst = 8K\n");
	expect(LIMIT_DISK_BANDWIDTH, 20 * MIB, "manifest");
	expect(LIMIT_DISK_OPS, 0, "default");
	expect(LIMIT_VSOCK_BURST, 8192, "manifest");
	ck_assert_int_eq(update("{\"disk_bandwidth\": 8192, \"disk_ops\": 5}"), 0);
	expect(LIMIT_DISK_BANDWIDTH, 8192, "update");
	expect(LIMIT_DISK_OPS, 5, "update");
	ck_assert_int_eq(update("{\"disk_bandwidth\": 0, \"vsock_bandwidth\": 4096}"), 0);
	expect(LIMIT_DISK_BANDWIDTH, 0, "update");
	limits_of(af.a, &l);
	limits_rates(&l, &disk, &vsock);
	ck_assert(disk.bytes == 0 && disk.ops == 5 && disk.burst == 0);
	ck_assert(vsock.bytes == 4096 && vsock.ops == 0 && vsock.burst == 8192);
	ck_assert_int_eq(update("{\"disk_bandwidth\": null}"), 0);
	expect(LIMIT_DISK_BANDWIDTH, 20 * MIB, "manifest");
	expect(LIMIT_DISK_OPS, 5, "update");
	/* Reset first, then what else is said. */
	ck_assert_int_eq(update("{\"disk_burst\": 65536, \"reset\": true}"), 0);
	expect(LIMIT_DISK_OPS, 0, "default");
	expect(LIMIT_DISK_BURST, 65536, "update");
	ck_assert_int_eq(af_count("SELECT overrides = '{\"disk_burst\":65536}' FROM agents"), 1);
}
END_TEST

static const char *const refused[] = { "{}", "{\"reset\": false}", "{\"disk_bandwidth\": 4095}",
	"{\"disk_bandwidth\": -1}", "{\"disk_bandwidth\": 1099511627777}",
	"{\"disk_ops\": 1000000001}", "{\"vsock_burst\": 1}",
	"{\"disk_ops\": 5, \"vsock_bandwidth\": 9223372036854775807}" };

START_TEST(refusals)
{
	af_setup_manifest("");
	ck_assert_int_eq(update(refused[_i]), -EINVAL);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "expected"));
	expect(LIMIT_DISK_OPS, 0, "default");
	ck_assert_int_eq(af_count("SELECT overrides = '{}' FROM agents"), 1);
	ck_assert_int_eq(af_count("SELECT COUNT(*) FROM transitions"), 0);
}
END_TEST

/* This fixture has no cgroups. */
START_TEST(what_cannot_be_held)
{
	af_setup_manifest("[resources]\ncpu = 50%\ncpu-weight = 7\n");
	af.sup.sandbox.unenforced = SANDBOX_REFUSE;
	(void)strcpy(af.sup.sandbox.file, "sandbox.ini");
	(void)strcpy(af.sup.quotas.base.why[CGROUP_CPU], "there is no such thing");
	expect(LIMIT_CPU, 500, "manifest");
	expect(LIMIT_CPU_WEIGHT, 7, "manifest");
	ck_assert_int_eq(quotas_check(af.a, "m.ini", &fx_err), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(fx_err.msg,
		"cpu = 50%: this host cannot hold an agent to it: "
		"there is no such thing; `unenforced-quotas = "
		"allow` in [limits] of sandbox.ini"));
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "m.ini:"));
	af.a->manifest.cpu = 0;
	ck_assert_int_eq(quotas_check(af.a, "m.ini", &fx_err), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "cpu-weight = 7"));
	af.a->manifest.cpu_weight = 0;
	ck_assert_int_eq(quotas_check(af.a, "m.ini", &fx_err), 0);
	ck_assert_int_eq(update("{\"cpu_permille\": 100}"), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "agent echo-mint: cpu: this host"));
	ck_assert_int_eq(update("{\"cpu_permille\": 0}"), 0);
	ceiling(SANDBOX_CPU, 1500);
	ck_assert_int_eq(quotas_check(af.a, "m.ini", &fx_err), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "sandbox.ini:7: cpu = 150%"));
	af.sup.sandbox.unenforced = SANDBOX_ALLOW;
	ck_assert_int_eq(quotas_check(af.a, "m.ini", &fx_err), 0);
	ck_assert_int_eq(update("{\"cpu_permille\": 100, \"cpu_weight\": 5}"), 0);
	expect(LIMIT_CPU, 100, "update");
	/* As if the host had it. */
	af.sup.sandbox.unenforced = SANDBOX_REFUSE;
	af.sup.quotas.base.has[CGROUP_CPU] = true;
	ck_assert_int_eq(quotas_check(af.a, "m.ini", &fx_err), 0);
	ck_assert_int_eq(update("{\"cpu_permille\": 1501}"), -EPERM);
}
END_TEST

START_TEST(ceilings)
{
	af_setup_manifest("[resources]\ndisk-burst = 1G\n");
	ceiling(SANDBOX_DISK_BANDWIDTH, 10 * MIB);
	expect(LIMIT_DISK_BANDWIDTH, 10 * MIB, "sandbox");
	expect(LIMIT_DISK_BURST, 10 * MIB, "sandbox"); /* no way around */
	expect(LIMIT_DISK_OPS, 0, "default");
	ck_assert_int_eq(update("{\"disk_bandwidth\": 10485761}"), -EPERM);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "agent echo-mint: disk-bandwidth = "));
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "sandbox.ini:7 allows: disk-bandwidth = 10M"));
	ck_assert_int_eq(update("{\"disk_bandwidth\": 0}"), -EPERM);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "disk-bandwidth = none is more than"));
	ck_assert_int_eq(update("{\"disk_bandwidth\": 10485760}"), 0);
	/* The file became stricter: it is not started any more. */
	ceiling(SANDBOX_DISK_BANDWIDTH, MIB);
	ck_assert_int_eq(limits_check(af.a, &af.a->changed, &fx_err), -EPERM);
	ck_assert_int_eq(update("{\"disk_bandwidth\": null}"), 0);
	expect(LIMIT_DISK_BANDWIDTH, MIB, "sandbox");
}
END_TEST

/* Across kosvmds, and among the moves; the VM that is found again is told. */
START_TEST(kept)
{
	af_setup_manifest("");
	af_run("serve");
	ck_assert_int_eq(update("{\"disk_ops\": 7, \"vsock_bandwidth\": 4096}"), 0);
	ck_assert_int_eq(agent_limits_tell(af.a, NULL, NULL), 0);
	ck_assert_int_eq(af_count("SELECT COUNT(*) FROM transitions WHERE event = 'update' AND "
				  "from_state = 'running' AND to_state = 'running' AND reason = "
				  "'disk-ops = 7, vsock-bandwidth = 4K'"),
		1);
	ck_assert_int_eq(af_count("SELECT reason = '' FROM agents"), 1);
	af_crash();
	af_load();
	fx_run_ms(200);
	ck_assert_ptr_nonnull(af.a->vmm);
	expect(LIMIT_DISK_OPS, 7, "update");
	ck_assert_int_eq(af.a->state, AGENT_RUNNING);
	ck_assert_int_eq(agent_kill(af.a, &fx_err), 0);
	if (agent_state_live(af.a->state)) {
		ck_assert_int_eq(update("{\"disk_ops\": 8}"), -EBUSY);
		ck_assert_ptr_nonnull(strstr(fx_err.msg, "stopping"));
		fx_until(&af.ended);
	}
	ck_assert_int_eq(update("{\"disk_ops\": 8}"), 0);
	ck_assert_int_eq(agent_limits_tell(af.a, NULL, NULL), -ENOTCONN);
	expect(LIMIT_DISK_OPS, 8, "update");
}
END_TEST

START_TEST(a_database_that_lies)
{
	static const char *const lies[] = { "", "[]", "{\"disk_ops\": \"7\"}", "{\"disk_ops\": -7}",
		"{\"disk_bandwidth\": 1}", "{\"disk_ops\": 1, \"disk_ops\": 2}" };
	struct limits_changed c = { .value = { 99 } };

	af_setup_manifest("");
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		ck_assert_int_eq(limits_parse(lies[i], &c, &fx_err), -EINVAL);
		ck_assert_uint_eq(c.value[0], 99);
	}
	/* A key of a newer kosvmd's is none of ours. */
	ck_assert_int_eq(limits_parse("{\"later\": 1, \"disk_ops\": 2}", &c, &fx_err), 0);
	ck_assert(c.set[LIMIT_DISK_OPS] && c.value[LIMIT_DISK_OPS] == 2);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("limits");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, NULL, tear_down);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, who_says_so);
	tcase_add_loop_test(t, refusals, 0, (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(t, what_cannot_be_held);
	tcase_add_test(t, ceilings);
	tcase_add_test(t, kept);
	tcase_add_test(t, a_database_that_lies);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
