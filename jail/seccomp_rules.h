#pragma once

#include <stddef.h>
#include <stdint.h>

#include "seccomp_own_pid.h"

/*
 * What kosvm-vmm may ask of the kernel, as a table that a person can read
 * (seccomp_rules.c). The program gen_seccomp turns it into the filters of
 * seccomp(2) when kosvm is built; kosvm-vmm itself has the filters only.
 */

/* For whom a rule is. Set-up may do what any thread may, so it is never named beside another. */
enum seccomp_threads {
	SECCOMP_FOR_SETUP = 1,
	SECCOMP_FOR_VCPU = 2,
	SECCOMP_FOR_LOOP = 4,
	SECCOMP_FOR_BLOCK = 8,
	SECCOMP_FOR_ALL = 14,
};

/* Argument `arg` (0 is the first), 64 bits: of its bits in mask, these are set. */
struct seccomp_check {
	unsigned arg;
	uint64_t mask, value;
};

#define SECCOMP_RULE_CHECKS 3

struct seccomp_rule {
	int call;
	const char *name;
	unsigned threads; /* enum seccomp_threads */
	/* All of them hold; none: any arguments. */
	struct seccomp_check checks[SECCOMP_RULE_CHECKS];
	unsigned check_count;
	const char *check_text;
	int answer;         /* not 0: the call is not made, and fails with this errno */
	const char *reason; /* who asks for it, and what for */
	/* A run does not come to it: what does (a test's name). NULL: a run does. */
	const char *rare;
};

extern const struct seccomp_rule seccomp_rules[];
extern const size_t seccomp_rule_count;
