/*
 * The filters that were made from jail/seccomp_rules.c, by an interpreter of
 * classic BPF: so every system call there is can be tried. test_seccomp.c
 * tries some under the kernel's own.
 */
#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "seccomp_filter.h"
#include "seccomp_rules.h"

#define X32      0x40000000u
#define SYSCALLS 1024u

static const struct {
	const char *name;
	unsigned bit;
	unsigned most; /* calls */
} kinds[] = {
	[SECCOMP_SETUP] = { "set-up", SECCOMP_FOR_SETUP, 60 },
	[SECCOMP_VCPU] = { "vCPU", SECCOMP_FOR_VCPU, 20 },
	[SECCOMP_LOOP] = { "loop", SECCOMP_FOR_LOOP, 30 },
	[SECCOMP_BLOCK] = { "block", SECCOMP_FOR_BLOCK, 12 },
};

static bool is_for(const struct seccomp_rule *r, unsigned kind)
{
	return kind == SECCOMP_SETUP || (r->threads & kinds[kind].bit);
}

static uint32_t jump_or_not(const struct sock_filter *i, uint32_t a)
{
	switch (BPF_OP(i->code)) {
	case BPF_JA:
		return i->k;
	case BPF_JEQ:
		return a == i->k ? i->jt : i->jf;
	case BPF_JGT:
		return a > i->k ? i->jt : i->jf;
	case BPF_JGE:
		return a >= i->k ? i->jt : i->jf;
	case BPF_JSET:
		return a & i->k ? i->jt : i->jf;
	default:
		ck_abort_msg("instruction 0x%x", i->code);
	}
	return 0;
}

/* What the filter says to a call, as seccomp(2) would. */
static uint32_t judge(unsigned kind, const struct seccomp_data *d)
{
	size_t len;
	const struct sock_filter *prog = seccomp_filter(kind, &len);
	uint32_t a = 0;

	for (size_t at = 0; at < len; at++) {
		const struct sock_filter *i = &prog[at];

		switch (BPF_CLASS(i->code)) {
		case BPF_LD:
			ck_assert_uint_eq(i->code, BPF_LD | BPF_W | BPF_ABS);
			ck_assert_uint_le(i->k, sizeof(*d) - 4);
			memcpy(&a, (const uint8_t *)d + i->k, 4);
			break;
		case BPF_ALU:
			ck_assert_uint_eq(i->code, BPF_ALU | BPF_AND | BPF_K);
			a &= i->k;
			break;
		case BPF_JMP:
			at += jump_or_not(i, a);
			break;
		case BPF_RET:
			return i->k;
		default:
			ck_abort_msg("instruction 0x%x", i->code);
		}
	}
	ck_abort_msg("the filter of %s has no end", kinds[kind].name);
	return 0;
}

static struct seccomp_data call_of(const struct seccomp_rule *r)
{
	struct seccomp_data d = { .nr = r->call, .arch = AUDIT_ARCH_X86_64 };

	for (unsigned i = 0; i < r->check_count; i++)
		d.args[r->checks[i].arg] = r->checks[i].value;
	return d;
}

static bool has_call(unsigned kind, unsigned call)
{
	for (size_t i = 0; i < seccomp_rule_count; i++) {
		if (is_for(&seccomp_rules[i], kind) && (unsigned)seccomp_rules[i].call == call)
			return true;
	}
	return false;
}

/* Each rule is there for its threads and, unless another one allows it as well, for no other. */
START_TEST(rules_are_in_the_filters)
{
	const struct seccomp_rule *r = &seccomp_rules[_i];
	struct seccomp_data d = call_of(r);

	for (unsigned kind = 0; kind < SECCOMP_KINDS; kind++) {
		uint32_t said = judge(kind, &d);

		if (is_for(r, kind))
			ck_assert_uint_eq(said,
				r->answer ? SECCOMP_RET_ERRNO | (unsigned)r->answer
					  : SECCOMP_RET_ALLOW);
		else if (!has_call(kind, (unsigned)r->call))
			ck_assert_uint_eq(said, SECCOMP_RET_KILL_PROCESS);
	}
	ck_assert_msg(r->reason && strlen(r->reason) > 5, "%s has no reason", r->name);
}
END_TEST

START_TEST(nothing_else_is_allowed)
{
	for (unsigned call = 0; call < SYSCALLS; call++) {
		struct seccomp_data d = { .nr = (int)call, .arch = AUDIT_ARCH_X86_64 };
		bool known = has_call((unsigned)_i, call);

		memset(d.args, 0xff, sizeof(d.args));
		if (!known)
			ck_assert_uint_eq(judge((unsigned)_i, &d), SECCOMP_RET_KILL_PROCESS);
		d.nr = (int)(call | X32);
		ck_assert_uint_eq(judge((unsigned)_i, &d), SECCOMP_RET_KILL_PROCESS);
		d.nr = (int)call;
		d.arch = AUDIT_ARCH_I386;
		ck_assert_uint_eq(judge((unsigned)_i, &d), SECCOMP_RET_KILL_PROCESS);
	}
}
END_TEST

START_TEST(few_calls)
{
	unsigned count = 0;

	for (unsigned call = 0; call < SYSCALLS; call++)
		count += has_call((unsigned)_i, call);
	ck_assert_msg(count <= kinds[_i].most, "%s: %u calls, more than the %u it is to have",
		kinds[_i].name, count, kinds[_i].most);
	ck_assert_uint_ge(count, 8);
}
END_TEST

static bool any_arguments(int call)
{
	for (size_t i = 0; i < seccomp_rule_count; i++) {
		if (seccomp_rules[i].call == call && seccomp_rules[i].check_count == 0)
			return true;
	}
	return false;
}

/* All 64 bits of an argument count. */
START_TEST(upper_halves_are_checked)
{
	const struct seccomp_rule *r = &seccomp_rules[_i];

	for (unsigned i = 0; i < r->check_count && !any_arguments(r->call); i++) {
		struct seccomp_data d = call_of(r);

		d.args[r->checks[i].arg] |= UINT64_C(1) << 40;
		if (r->checks[i].mask >> 40 & 1)
			ck_assert_uint_eq(judge(SECCOMP_SETUP, &d), SECCOMP_RET_KILL_PROCESS);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("seccomp_filter");
	TCase *tc = tcase_create("seccomp_filter");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, rules_are_in_the_filters, 0, (int)seccomp_rule_count);
	tcase_add_loop_test(tc, upper_halves_are_checked, 0, (int)seccomp_rule_count);
	tcase_add_loop_test(tc, nothing_else_is_allowed, 0, SECCOMP_KINDS);
	tcase_add_loop_test(tc, few_calls, 0, SECCOMP_KINDS);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
