#pragma once

#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>
#include <devices/gmem.h>

/*
 * The ioctls of /dev/kvm and of a VM (Documentation/virt/kvm/api.rst),
 * with messages that say what failed. Descriptors stay the caller's.
 */

/* API version, and every capability kosvm rests on; -EOPNOTSUPP names the missing ones. */
int kvm_check(int kvm_fd, struct kerr *e);

int kvm_create_vm(int kvm_fd, int *ret_vm_fd, struct kerr *e);

/* Tells KVM about all regions of m. */
int kvm_set_memory(int vm_fd, const struct gmem *m, struct kerr *e);

/*
 * The in-kernel LAPICs and IOAPIC. GSI n is pin n of the IOAPIC and
 * nothing else: the PICs that come along have no input, and there is no PIT.
 */
int kvm_create_irqchip(int vm_fd, struct kerr *e);

/* Writing the eventfd raises an edge on the GSI. */
int kvm_add_irqfd(int vm_fd, int eventfd, uint32_t gsi, struct kerr *e);

/* A 4-byte guest write of `value` to gpa writes the eventfd instead of leaving to us. */
int kvm_add_ioeventfd(int vm_fd, int eventfd, gpa_t gpa, uint32_t value, struct kerr *e);

/* Creates a vCPU and maps its struct kvm_run (*ret_len bytes). */
struct kvm_run;
int kvm_create_vcpu(int kvm_fd, int vm_fd, unsigned id, int *ret_fd, struct kvm_run **ret_run,
	size_t *ret_len, struct kerr *e);
