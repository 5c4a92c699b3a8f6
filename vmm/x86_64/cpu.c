#include "cpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <base/cleanup.h>

#include "boot.h"

#define CPUID_ENTRIES 256

#define KVM_LEAF        0x40000000u
#define KVM_LEAF_TIMING 0x40000010u

/* Local APIC registers (Intel SDM volume 3, table 11-1). */
#define LAPIC_LVT_LINT0   0x350
#define LAPIC_LVT_LINT1   0x360
#define LAPIC_MODE_MASK   0x700u
#define LAPIC_MODE_NMI    0x400u
#define LAPIC_MODE_EXTINT 0x700u

#define MSR_IA32_MISC_ENABLE    0x1a0
#define MISC_ENABLE_FAST_STRING 1
#define MSR_MTRR_DEF_TYPE       0x2ff
#define MTRR_ENABLE_WRITE_BACK  ((1u << 11) | 6)

struct topology {
	uint32_t id;    /* of this vCPU: index, APIC id and core id are the same */
	uint32_t count; /* vCPUs; one package, a core each, no threads */
	uint32_t bits;  /* of an APIC id that number the cores */
};

static void set_bits(uint32_t *reg, unsigned shift, unsigned width, uint32_t value)
{
	uint32_t mask = (width == 32 ? ~0u : (1u << width) - 1) << shift;

	*reg = (*reg & ~mask) | (value << shift & mask);
}

/* Leaf 4 (Intel) and 0x8000001d (AMD): who shares this cache. */
static void fix_cache(struct kvm_cpuid_entry2 *c, const struct topology *t)
{
	uint32_t level = c->eax >> 5 & 7;

	if ((c->eax & 0x1f) == 0) /* no more caches */
		return;
	set_bits(&c->eax, 14, 12, level >= 3 ? (1u << t->bits) - 1 : 0);
	if (c->function == 4)
		set_bits(&c->eax, 26, 6, (1u << t->bits) - 1);
}

static void fix_leaf_1(struct kvm_cpuid_entry2 *c, const struct topology *t)
{
	set_bits(&c->ebx, 8, 8, 8); /* CLFLUSH line: 64 bytes */
	set_bits(&c->ebx, 16, 8, t->count);
	set_bits(&c->ebx, 24, 8, t->id);
	set_bits(&c->edx, 28, 1, t->count > 1); /* HTT: the count above is valid */
	/*
	 * KVM emulates the TSC-deadline timer in the kernel but leaves it to
	 * us to say so; without it the guest would calibrate its timer against
	 * one it does not have. cpu_setup asks KVM_CAP_TSC_DEADLINE_TIMER.
	 */
	c->ecx |= 1u << 24;
	c->ecx |= 1u << 31; /* a hypervisor: else the guest ignores kvm-clock */
}

/*
 * What KVM says of the host's own counters is not passed on: no guest
 * measures the host with them, and no watchdog spends time on them.
 */
static void hide_pmu(struct kvm_cpuid_entry2 *c)
{
	if (c->function == 0xa || c->function == 0x80000022)
		c->eax = c->ebx = c->ecx = c->edx = 0;
	else if (c->function == 0x80000001)
		c->ecx &= ~((1u << 23) | (1u << 24) | (1u << 28)); /* PerfCtrExt* */
	else if (c->function == 1)
		c->ecx &= ~(1u << 15); /* PDCM: perf capabilities MSR */
}

/*
 * No virtual machines inside of virtual machines: KVM's nested code is a
 * large surface that no agent needs. Without the bit KVM refuses the guest
 * EFER.SVME and CR4.VMXE.
 */
static void hide_nested(struct kvm_cpuid_entry2 *c)
{
	if (c->function == 1)
		c->ecx &= ~(1u << 5); /* VMX */
	else if (c->function == 0x80000001)
		c->ecx &= ~(1u << 2); /* SVM */
	else if (c->function == 0x8000000a)
		c->eax = c->ebx = c->ecx = c->edx = 0; /* what SVM can do */
}

static void fix_leaf(struct kvm_cpuid_entry2 *c, const struct topology *t)
{
	hide_pmu(c);
	hide_nested(c);
	switch (c->function) {
	case 1:
		fix_leaf_1(c, t);
		break;
	case 4:
	case 0x8000001d:
		fix_cache(c, t);
		break;
	case 0x80000001:
		set_bits(&c->ecx, 1, 1, t->count > 1); /* CmpLegacy */
		break;
	case 0x80000008:
		set_bits(&c->ecx, 0, 8, t->count - 1);
		set_bits(&c->ecx, 12, 4, t->bits);
		break;
	case 0x8000001e:
		c->eax = t->id; /* extended APIC id */
		c->ebx = t->id; /* core id, one thread in it */
		c->ecx = 0;     /* node 0 of one */
		c->edx = 0;
		break;
	default:
		break;
	}
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *cpuid, uint32_t function)
{
	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == function)
			return &cpuid->entries[i];
	return NULL;
}

static void drop(struct kvm_cpuid2 *cpuid, uint32_t function)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function != function)
			cpuid->entries[kept++] = cpuid->entries[i];
	cpuid->nent = kept;
}

static int append(struct kvm_cpuid2 *cpuid, uint32_t cap, const struct kvm_cpuid_entry2 *entry,
	struct kerr *e)
{
	if (cpuid->nent >= cap)
		return kerr_set(e, E2BIG, "no room for CPUID leaf %#x: KVM gave %u leaves",
			entry->function, cpuid->nent);
	cpuid->entries[cpuid->nent++] = *entry;
	return 0;
}

/* Leaf 0xb: threads of a core, cores of the package, the end (Intel SDM volume 2A). */
static int append_topology(
	struct kvm_cpuid2 *cpuid, uint32_t cap, const struct topology *t, struct kerr *e)
{
	const struct kvm_cpuid_entry2 level[] = {
		{ .eax = 0, .ebx = 1, .ecx = 1 << 8 | 0 },
		{ .eax = t->bits, .ebx = t->count, .ecx = 2 << 8 | 1 },
		{ .eax = 0, .ebx = 0, .ecx = 0 << 8 | 2 },
	};

	for (uint32_t i = 0; i < array_size(level); i++) {
		struct kvm_cpuid_entry2 entry = level[i];
		int r;

		entry.function = 0xb;
		entry.index = i;
		entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		entry.edx = t->id;
		r = append(cpuid, cap, &entry, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The timing leaf, as other hypervisors have it: TSC and APIC bus in kHz. */
static int set_timing(struct kvm_cpuid2 *cpuid, uint32_t cap, uint32_t tsc_khz, struct kerr *e)
{
	struct kvm_cpuid_entry2 timing = {
		.function = KVM_LEAF_TIMING, .eax = tsc_khz, .ebx = 1000000
	};
	struct kvm_cpuid_entry2 *signature = find(cpuid, KVM_LEAF);

	drop(cpuid, KVM_LEAF_TIMING);
	if (!signature || tsc_khz == 0)
		return 0;
	signature = find(cpuid, KVM_LEAF);
	if (signature->eax < KVM_LEAF_TIMING)
		signature->eax = KVM_LEAF_TIMING;
	return append(cpuid, cap, &timing, e);
}

int cpu_fill_cpuid(struct kvm_cpuid2 *cpuid, uint32_t cap, uint32_t vcpu, uint32_t vcpus,
	uint32_t tsc_khz, struct kerr *e)
{
	struct topology t = { .id = vcpu, .count = vcpus };
	const struct kvm_cpuid_entry2 *basic;
	int r;

	while ((1u << t.bits) < vcpus)
		t.bits++;
	drop(cpuid, 0xb);
	drop(cpuid, 0x1f);
	for (uint32_t i = 0; i < cpuid->nent; i++)
		fix_leaf(&cpuid->entries[i], &t);
	basic = find(cpuid, 0);
	if (basic && basic->eax >= 0xb) {
		r = append_topology(cpuid, cap, &t, e);
		if (r < 0)
			return r;
	}
	return set_timing(cpuid, cap, tsc_khz, e);
}

static int setup_cpuid(int kvm_fd, int vcpu_fd, uint32_t vcpu, uint32_t vcpus, struct kerr *e)
{
	_cleanup_free_ struct kvm_cpuid2 *cpuid =
		calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));
	int khz, r;

	if (!cpuid)
		return kerr_errno(e, ENOMEM, "CPUID table");
	cpuid->nent = CPUID_ENTRIES;
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0)
		return kerr_errno(e, errno, "KVM_GET_SUPPORTED_CPUID");
	khz = ioctl(vcpu_fd, KVM_GET_TSC_KHZ, 0);
	r = cpu_fill_cpuid(cpuid, CPUID_ENTRIES, vcpu, vcpus, khz > 0 ? (uint32_t)khz : 0, e);
	if (r < 0)
		return r;
	if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) <= 0) {
		struct kvm_cpuid_entry2 *leaf = find(cpuid, 1);

		if (leaf)
			leaf->ecx &= ~(1u << 24);
	}
	if (ioctl(vcpu_fd, KVM_SET_CPUID2, cpuid) < 0)
		return kerr_errno(e, errno, "KVM_SET_CPUID2");
	return 0;
}

static int set_msr(int vcpu_fd, uint32_t index, uint64_t value, struct kerr *e)
{
	struct {
		struct kvm_msrs h;
		struct kvm_msr_entry entry;
	} m = { .h.nmsrs = 1, .entry = { .index = index, .data = value } };
	int n = ioctl(vcpu_fd, KVM_SET_MSRS, &m);

	if (n == 1)
		return 0;
	return kerr_errno(e, n < 0 ? errno : EINVAL, "KVM refuses MSR %#x", index);
}

static int setup_lapic(int vcpu_fd, struct kerr *e)
{
	struct kvm_lapic_state s;
	static const struct {
		unsigned reg;
		uint32_t mode;
	} line[] = { { LAPIC_LVT_LINT0, LAPIC_MODE_EXTINT }, { LAPIC_LVT_LINT1, LAPIC_MODE_NMI } };

	if (ioctl(vcpu_fd, KVM_GET_LAPIC, &s) < 0)
		return kerr_errno(e, errno, "KVM_GET_LAPIC");
	for (unsigned i = 0; i < array_size(line); i++) {
		uint32_t v;

		memcpy(&v, s.regs + line[i].reg, sizeof(v));
		v = (v & ~LAPIC_MODE_MASK) | line[i].mode;
		memcpy(s.regs + line[i].reg, &v, sizeof(v));
	}
	if (ioctl(vcpu_fd, KVM_SET_LAPIC, &s) < 0)
		return kerr_errno(e, errno, "KVM_SET_LAPIC");
	return 0;
}

static int setup_boot_regs(int vcpu_fd, const struct boot_entry *k, struct kerr *e)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;

	if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
		return kerr_errno(e, errno, "KVM_GET_SREGS");
	boot_set_regs(k, &regs, &sregs, &fpu);
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) < 0)
		return kerr_errno(e, errno, "KVM_SET_SREGS");
	if (ioctl(vcpu_fd, KVM_SET_REGS, &regs) < 0)
		return kerr_errno(e, errno, "KVM_SET_REGS");
	if (ioctl(vcpu_fd, KVM_SET_FPU, &fpu) < 0)
		return kerr_errno(e, errno, "KVM_SET_FPU");
	return 0;
}

int cpu_setup(int kvm_fd, int vcpu_fd, uint32_t vcpu, uint32_t vcpus, const struct boot_entry *k,
	struct kerr *e)
{
	int r;

	r = setup_cpuid(kvm_fd, vcpu_fd, vcpu, vcpus, e);
	if (r < 0)
		return r;
	r = set_msr(vcpu_fd, MSR_IA32_MISC_ENABLE, MISC_ENABLE_FAST_STRING, e);
	if (r < 0)
		return r;
	r = set_msr(vcpu_fd, MSR_MTRR_DEF_TYPE, MTRR_ENABLE_WRITE_BACK, e);
	if (r < 0)
		return r;
	r = setup_lapic(vcpu_fd, e);
	if (r < 0)
		return r;
	/* The others wait for INIT and SIPI, as KVM makes them. */
	return vcpu == 0 ? setup_boot_regs(vcpu_fd, k, e) : 0;
}
