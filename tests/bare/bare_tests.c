/*
 * The bare guests' suite: prints "ok NAME", "FAIL NAME: WHY" or
 * "skip NAME: WHY" and, last, "N passed, N failed, N skipped".
 * Arguments, if any, are the names of the tests to run.
 */
#include "bare_tests.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Room for the emulated host, which is a hundred times slower than a machine. */
#define TEST_TIMEOUT 300

#define GARBAGE_SEEDS 8

static const struct bare_test *const groups[] = {
	bare_boot_tests,
	bare_device_tests,
	bare_control_tests,
	bare_detach_tests,
	bare_pause_tests,
};

static char no_kvm[128];
static unsigned skipped;

/* Why KVM cannot be used here, or an empty string. */
static void look_for_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		(void)snprintf(no_kvm, sizeof(no_kvm), "/dev/kvm: %s", strerror(errno));
	else
		(void)close(fd);
}

static const char *why_not(const struct bare_test *t)
{
	if ((t->needs & NEEDS_KVM) && no_kvm[0])
		return no_kvm;
#ifdef BARE_SANITIZED
	if (t->needs & NEEDS_STATIC)
		return "the sanitizers' kosvm-vmm is not static";
#endif
	return NULL;
}

static int wanted(const struct bare_test *t, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], t->name) == 0)
			return 1;
	}
	return argc == 1;
}

static void add(TCase *tc, const struct bare_test *t)
{
	const char *why = why_not(t);

	if (why) {
		(void)printf("skip %s: %s\n", t->name, why);
		skipped++;
	} else if (strcmp(t->name, "garbage") == 0) {
		tcase_add_loop_test(tc, *t->test, 1, 1 + GARBAGE_SEEDS);
	} else {
		tcase_add_test(tc, *t->test);
	}
}

static void print_results(SRunner *sr)
{
	int n = srunner_ntests_run(sr);
	TestResult **results = srunner_results(sr);

	for (int i = 0; i < n; i++) {
		if (tr_rtype(results[i]) == CK_PASS)
			(void)printf("ok   %s\n", tr_tcname(results[i]));
		else
			(void)printf("FAIL %s: %s (%s:%d)\n", tr_tcname(results[i]),
				tr_msg(results[i]), tr_lfile(results[i]), tr_lno(results[i]));
	}
	free(results);
}

int main(int argc, char **argv)
{
	Suite *s = suite_create("bare");
	SRunner *sr;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	look_for_kvm();
	for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
		for (const struct bare_test *t = groups[g]; t->name; t++) {
			TCase *tc = tcase_create(t->name);

			if (!wanted(t, argc, argv))
				continue;
			tcase_set_timeout(tc, TEST_TIMEOUT);
			add(tc, t);
			suite_add_tcase(s, tc);
		}
	}
	sr = srunner_create(s);
	srunner_run_all(sr, CK_SILENT);
	print_results(sr);
	failed = srunner_ntests_failed(sr);
	(void)printf("%d passed, %d failed, %u skipped\n", srunner_ntests_run(sr) - failed, failed,
		skipped);
	srunner_free(sr);
	return failed ? 1 : 0;
}
