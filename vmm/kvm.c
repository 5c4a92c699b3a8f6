#include "kvm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kvm.h>

#include <base/cleanup.h>

/* Three pages KVM wants on Intel, below 4 GiB and away from memory and devices. */
#define KVM_TSS_ADDR     0xfffbd000UL
#define KVM_IOAPIC_PINS  24
#define KVM_RUN_MIN_SIZE 8192

/* KVM_CREATE_VM may be interrupted by a signal of no consequence. */
static int ioctl_retry(int fd, unsigned long request, unsigned long arg)
{
	int r;

	for (int tries = 0; tries < 100; tries++) {
		r = ioctl(fd, request, arg);
		if (r >= 0 || errno != EINTR)
			break;
	}
	return r < 0 ? -errno : r;
}

int kvm_check(int kvm_fd, struct kerr *e)
{
	static const struct {
		int cap;
		const char *name;
	} needed[] = {
		{ KVM_CAP_IRQCHIP, "IRQCHIP" },
		{ KVM_CAP_USER_MEMORY, "USER_MEMORY" },
		{ KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR" },
		{ KVM_CAP_EXT_CPUID, "EXT_CPUID" },
		{ KVM_CAP_MP_STATE, "MP_STATE" },
		{ KVM_CAP_IRQFD, "IRQFD" },
		{ KVM_CAP_IOEVENTFD, "IOEVENTFD" },
		{ KVM_CAP_IRQ_ROUTING, "IRQ_ROUTING" },
		{ KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT" },
	};
	char missing[160] = "";
	size_t used = 0;
	int version = ioctl_retry(kvm_fd, KVM_GET_API_VERSION, 0);

	if (version == -ENOTTY || version == -EBADF)
		return kerr_set(e, ENODEV, "the descriptor handed over as /dev/kvm is not KVM");
	if (version < 0)
		return kerr_errno(e, -version, "KVM_GET_API_VERSION");
	if (version != KVM_API_VERSION)
		return kerr_set(e, EOPNOTSUPP, "KVM has API version %d: expected %d", version,
			KVM_API_VERSION);
	for (size_t i = 0; i < array_size(needed); i++) {
		if (ioctl_retry(kvm_fd, KVM_CHECK_EXTENSION, (unsigned long)needed[i].cap) > 0)
			continue;
		used += (size_t)snprintf(
			missing + used, sizeof(missing) - used, " %s", needed[i].name);
	}
	if (used > 0)
		return kerr_set(
			e, EOPNOTSUPP, "this KVM lacks%s: a newer host kernel is needed", missing);
	return 0;
}

int kvm_create_vm(int kvm_fd, int *ret_vm_fd, struct kerr *e)
{
	int fd = ioctl_retry(kvm_fd, KVM_CREATE_VM, 0);

	if (fd < 0)
		return kerr_errno(e, -fd, "KVM_CREATE_VM");
	*ret_vm_fd = fd;
	return 0;
}

int kvm_set_memory(int vm_fd, const struct gmem *m, struct kerr *e)
{
	for (unsigned i = 0; i < m->count; i++) {
		const struct gmem_region *region = &m->regions[i];
		struct kvm_userspace_memory_region r = {
			.slot = i,
			.guest_phys_addr = region->base,
			.memory_size = region->len,
			.userspace_addr = (uint64_t)(uintptr_t)region->host,
		};

		if (ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &r) < 0)
			return kerr_errno(e, errno,
				"KVM_SET_USER_MEMORY_REGION: %llu MiB at 0x%llx",
				(unsigned long long)(region->len >> 20),
				(unsigned long long)region->base);
	}
	return 0;
}

static int set_routing(int vm_fd, struct kerr *e)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entries[KVM_IOAPIC_PINS];
	} table = { .head.nr = KVM_IOAPIC_PINS };

	for (uint32_t pin = 0; pin < KVM_IOAPIC_PINS; pin++) {
		table.entries[pin] = (struct kvm_irq_routing_entry){
			.gsi = pin,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = pin },
		};
	}
	if (ioctl(vm_fd, KVM_SET_GSI_ROUTING, &table) < 0)
		return kerr_errno(e, errno, "KVM_SET_GSI_ROUTING");
	return 0;
}

int kvm_create_irqchip(int vm_fd, struct kerr *e)
{
	int r = ioctl_retry(vm_fd, KVM_SET_TSS_ADDR, KVM_TSS_ADDR);

	if (r < 0)
		return kerr_errno(e, -r, "KVM_SET_TSS_ADDR");
	r = ioctl_retry(vm_fd, KVM_CREATE_IRQCHIP, 0);
	if (r < 0)
		return kerr_errno(e, -r, "KVM_CREATE_IRQCHIP");
	return set_routing(vm_fd, e);
}

int kvm_add_irqfd(int vm_fd, int eventfd, uint32_t gsi, struct kerr *e)
{
	struct kvm_irqfd irqfd = { .fd = (uint32_t)eventfd, .gsi = gsi };

	if (ioctl(vm_fd, KVM_IRQFD, &irqfd) < 0)
		return kerr_errno(e, errno, "KVM_IRQFD for GSI %u", gsi);
	return 0;
}

int kvm_add_ioeventfd(int vm_fd, int eventfd, gpa_t gpa, uint32_t value, struct kerr *e)
{
	struct kvm_ioeventfd io = {
		.datamatch = value,
		.addr = gpa,
		.len = 4,
		.fd = eventfd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	if (ioctl(vm_fd, KVM_IOEVENTFD, &io) < 0)
		return kerr_errno(e, errno, "KVM_IOEVENTFD at 0x%llx", (unsigned long long)gpa);
	return 0;
}

int kvm_create_vcpu(int kvm_fd, int vm_fd, unsigned id, int *ret_fd, struct kvm_run **ret_run,
	size_t *ret_len, struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	int len = ioctl_retry(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *run;

	if (len < KVM_RUN_MIN_SIZE)
		return kerr_set(e, EOPNOTSUPP, "KVM_GET_VCPU_MMAP_SIZE gave %d", len);
	fd = ioctl_retry(vm_fd, KVM_CREATE_VCPU, id);
	if (fd < 0)
		return kerr_errno(e, -fd, "KVM_CREATE_VCPU %u", id);
	run = mmap(NULL, (size_t)len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (run == MAP_FAILED)
		return kerr_errno(e, errno, "mapping kvm_run of vCPU %u", id);
	*ret_fd = steal_fd(&fd);
	*ret_run = run;
	*ret_len = (size_t)len;
	return 0;
}
