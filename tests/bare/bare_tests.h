#pragma once

#include <check.h>

enum bare_need {
	NEEDS_KVM = 1,
	NEEDS_STATIC = 2, /* the static kosvm-vmm: a sanitized one is not */
};

/* One test of the suite; it is skipped where what it needs is not there. */
struct bare_test {
	const char *name;
	const TTest **test;
	unsigned needs; /* enum bare_need */
};

/* Each ends with an empty entry. */
extern const struct bare_test bare_boot_tests[];
extern const struct bare_test bare_device_tests[];
extern const struct bare_test bare_control_tests[];
extern const struct bare_test bare_detach_tests[];
extern const struct bare_test bare_pause_tests[];
