#pragma once

#include <linux/kvm.h>

#include <base/kerr.h>
#include <wire/board.h>

/*
 * CPUID and MSRs of one vCPU: what KVM supports, with topology and APIC id
 * of this vCPU, the hypervisor bit, TSC deadline timer, KVM's own leaves
 * (kvm-clock) and, where known, TSC frequency in the timing leaf
 * (0x40000010). `entries` holds room for `cap` entries; on entry *cpuid
 * is what KVM_GET_SUPPORTED_CPUID gave.
 */
int cpu_fill_cpuid(struct kvm_cpuid2 *cpuid, uint32_t cap, uint32_t vcpu, uint32_t vcpus,
	uint32_t tsc_khz, struct kerr *e);

/* Sets CPUID, MSRs, FPU, LAPIC LINT0/1, and, for vcpu 0, regs and sregs of the boot. */
struct boot_entry;
int cpu_setup(int kvm_fd, int vcpu_fd, uint32_t vcpu, uint32_t vcpus, const struct boot_entry *k,
	struct kerr *e);
