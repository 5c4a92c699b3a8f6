#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>

#include "x86_64/cpu.h"

#define CAP 40

struct table {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[CAP];
};

/* What KVM may say of a host with eight processors of number 5. */
static struct table supported(void)
{
	static const struct kvm_cpuid_entry2 host[] = {
		{ .function = 0, .eax = 0x1f },
		{ .function = 1, .ebx = 0x05081000, .ecx = 1u << 15 | 1u << 5, .edx = 1u << 28 },
		{ .function = 4, .index = 0, .eax = 0x1c004121 },
		{ .function = 4, .index = 3, .eax = 0x1c03c163 },
		{ .function = 4, .index = 4, .eax = 0 },
		{ .function = 0xa, .eax = 0x07300402, .edx = 0x603 },
		{ .function = 0xb, .index = 0, .eax = 1, .ebx = 2, .ecx = 0x100, .edx = 5 },
		{ .function = 0xb, .index = 1, .eax = 4, .ebx = 8, .ecx = 0x201, .edx = 5 },
		{ .function = 0x1f, .index = 0, .eax = 1, .ebx = 2, .ecx = 0x100, .edx = 5 },
		{ .function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b },
		{ .function = 0x40000001, .eax = 0x01007efb },
		{ .function = 0x80000001,
			.ecx = 1u << 1 | 1u << 2 | 1u << 22 | 1u << 23 | 1u << 28 },
		{ .function = 0x80000008, .eax = 0x3030, .ecx = 0x3007 },
		{ .function = 0x8000000a, .eax = 1, .ebx = 0x8000, .edx = 0x1bcff },
		{ .function = 0x8000001d, .index = 0, .eax = 0x0001c121 },
		{ .function = 0x8000001d, .index = 3, .eax = 0x0001c163 },
		{ .function = 0x8000001e, .eax = 5, .ebx = 0x105, .ecx = 0x301 },
		{ .function = 0x80000022, .eax = 1, .ebx = 6 },
	};
	struct table t = { .head.nent = array_size(host) };

	_Static_assert(array_size(host) + 4 <= CAP, "room for the test");
	memcpy(t.entries, host, sizeof(host));
	return t;
}

static const struct kvm_cpuid_entry2 *leaf(const struct table *t, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < t->head.nent; i++)
		if (t->entries[i].function == function && t->entries[i].index == index)
			return &t->entries[i];
	ck_abort_msg("no leaf %#x.%u", function, index);
	return NULL;
}

static bool has_leaf(const struct table *t, uint32_t function)
{
	for (uint32_t i = 0; i < t->head.nent; i++)
		if (t->entries[i].function == function)
			return true;
	return false;
}

static struct table filled(uint32_t vcpu, uint32_t vcpus, uint32_t khz)
{
	struct table t = supported();

	ck_assert_int_eq(cpu_fill_cpuid(&t.head, CAP, vcpu, vcpus, khz, NULL), 0);
	return t;
}

static const struct {
	uint32_t vcpus, bits;
} counts[] = { { 1, 0 }, { 2, 1 }, { 3, 2 }, { 4, 2 }, { 32, 5 } };

START_TEST(topology_of_each_vcpu)
{
	uint32_t n = counts[_i].vcpus, bits = counts[_i].bits;

	for (uint32_t id = 0; id < n; id++) {
		struct table t = filled(id, n, 0);
		const struct kvm_cpuid_entry2 *one = leaf(&t, 1, 0);

		ck_assert_uint_eq(one->ebx >> 24, id);
		ck_assert_uint_eq(one->ebx >> 16 & 0xff, n);
		ck_assert_uint_eq(one->ebx >> 8 & 0xff, 8);
		ck_assert_uint_eq(one->edx >> 28 & 1, n > 1);
		ck_assert_uint_eq(leaf(&t, 0xb, 0)->eax, 0);
		ck_assert_uint_eq(leaf(&t, 0xb, 0)->ebx, 1);
		ck_assert_uint_eq(leaf(&t, 0xb, 0)->ecx, 0x100);
		ck_assert_uint_eq(leaf(&t, 0xb, 1)->eax, bits);
		ck_assert_uint_eq(leaf(&t, 0xb, 1)->ebx, n);
		ck_assert_uint_eq(leaf(&t, 0xb, 1)->ecx, 0x201);
		ck_assert_uint_eq(leaf(&t, 0xb, 2)->ecx, 2);
		for (uint32_t i = 0; i < 3; i++) {
			ck_assert_uint_eq(leaf(&t, 0xb, i)->edx, id);
			ck_assert(leaf(&t, 0xb, i)->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
		}
		ck_assert_uint_eq(leaf(&t, 0x80000008, 0)->ecx, (n - 1) | bits << 12);
		ck_assert_uint_eq(leaf(&t, 0x80000008, 0)->eax, 0x3030);
		ck_assert_uint_eq(leaf(&t, 0x8000001e, 0)->eax, id);
		ck_assert_uint_eq(leaf(&t, 0x8000001e, 0)->ebx, id);
		ck_assert_uint_eq(leaf(&t, 0x8000001e, 0)->ecx, 0);
		ck_assert_uint_eq(leaf(&t, 0x80000001, 0)->ecx >> 1 & 1, n > 1);
	}
}
END_TEST

START_TEST(caches)
{
	uint32_t last = (1u << counts[_i].bits) - 1;
	struct table t = filled(0, counts[_i].vcpus, 0);

	ck_assert_uint_eq(leaf(&t, 4, 0)->eax >> 14 & 0xfff, 0); /* level 1: one's own */
	ck_assert_uint_eq(leaf(&t, 4, 0)->eax >> 26, last);
	ck_assert_uint_eq(leaf(&t, 4, 0)->eax & 0x3fff, 0x0121);
	ck_assert_uint_eq(leaf(&t, 4, 3)->eax >> 14 & 0xfff, last); /* level 3: everybody's */
	ck_assert_uint_eq(leaf(&t, 4, 4)->eax, 0);
	ck_assert_uint_eq(leaf(&t, 0x8000001d, 0)->eax >> 14 & 0xfff, 0);
	ck_assert_uint_eq(leaf(&t, 0x8000001d, 3)->eax >> 14 & 0xfff, last);
}
END_TEST

START_TEST(hypervisor_and_timer_are_announced)
{
	struct table t = filled(0, 1, 0);

	ck_assert_uint_eq(leaf(&t, 1, 0)->ecx >> 31, 1);
	ck_assert_uint_eq(leaf(&t, 1, 0)->ecx >> 24 & 1, 1);
	ck_assert_uint_eq(leaf(&t, 0x40000000, 0)->ebx, 0x4b4d564b);
	ck_assert_uint_eq(leaf(&t, 0x40000001, 0)->eax, 0x01007efb);
}
END_TEST

START_TEST(host_counters_are_hidden)
{
	struct table t = filled(0, 1, 0);
	const struct kvm_cpuid_entry2 *a = leaf(&t, 0xa, 0), *b = leaf(&t, 0x80000022, 0);

	ck_assert_uint_eq(a->eax | a->ebx | a->ecx | a->edx, 0);
	ck_assert_uint_eq(b->eax | b->ebx | b->ecx | b->edx, 0);
	ck_assert_uint_eq(leaf(&t, 1, 0)->ecx >> 15 & 1, 0);
	ck_assert_uint_eq(leaf(&t, 0x80000001, 0)->ecx, 1u << 22);
	ck_assert(!has_leaf(&t, 0x1f)); /* the host's topology */
}
END_TEST

START_TEST(nested_virtualisation_is_hidden)
{
	struct table t = filled(0, 1, 0);
	const struct kvm_cpuid_entry2 *svm = leaf(&t, 0x8000000a, 0);

	ck_assert_uint_eq(leaf(&t, 1, 0)->ecx >> 5 & 1, 0);
	ck_assert_uint_eq(leaf(&t, 0x80000001, 0)->ecx >> 2 & 1, 0);
	ck_assert_uint_eq(svm->eax | svm->ebx | svm->ecx | svm->edx, 0);
}
END_TEST

START_TEST(timing_leaf)
{
	struct table t = filled(0, 1, 2596122);

	ck_assert_uint_eq(leaf(&t, 0x40000010, 0)->eax, 2596122);
	ck_assert_uint_eq(leaf(&t, 0x40000010, 0)->ebx, 1000000);
	ck_assert_uint_eq(leaf(&t, 0x40000000, 0)->eax, 0x40000010);
	t = filled(0, 1, 0);
	ck_assert(!has_leaf(&t, 0x40000010));
	ck_assert_uint_eq(leaf(&t, 0x40000000, 0)->eax, 0x40000001);
}
END_TEST

START_TEST(host_without_extended_topology)
{
	struct table t = supported();

	t.entries[0].eax = 7;
	ck_assert_int_eq(cpu_fill_cpuid(&t.head, CAP, 0, 2, 0, NULL), 0);
	ck_assert(!has_leaf(&t, 0xb));
}
END_TEST

START_TEST(no_room)
{
	struct kerr e = { 0 };
	struct table t = supported();
	/* 0xb (2) and 0x1f are dropped, 0xb (3) and the timing leaf are added. */
	uint32_t need = t.head.nent - 3 + 4;

	ck_assert_int_eq(cpu_fill_cpuid(&t.head, need, 0, 1, 1000, NULL), 0);
	ck_assert_uint_eq(t.head.nent, need);
	for (uint32_t cap = need - 4; cap < need; cap++) {
		t = supported();
		ck_assert_int_eq(cpu_fill_cpuid(&t.head, cap, 0, 1, 1000, &e), -E2BIG);
		ck_assert_uint_le(t.head.nent, cap);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cpu");
	TCase *t = tcase_create("cpu");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(t, topology_of_each_vcpu, 0, array_size(counts));
	tcase_add_loop_test(t, caches, 0, array_size(counts));
	tcase_add_test(t, hypervisor_and_timer_are_announced);
	tcase_add_test(t, host_counters_are_hidden);
	tcase_add_test(t, nested_virtualisation_is_hidden);
	tcase_add_test(t, timing_leaf);
	tcase_add_test(t, host_without_extended_topology);
	tcase_add_test(t, no_room);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
