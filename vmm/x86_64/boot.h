#pragma once

#include <stdint.h>

#include <linux/kvm.h>

#include <devices/gmem.h>
#include <wire/board.h>

/*
 * What lies in guest memory before the first instruction, and the
 * registers the boot processor starts with. Nothing here calls KVM: all of
 * it is tested on plain memory.
 *
 * Guest physical map (below 1 MiB):
 *   0x0500 GDT   0x6000 PVH start_info   0x7000 zero page
 *   0x9000-0xbfff identity page tables   0x20000 command line
 *   0x9fc00 end of low RAM   0xe0000 ACPI tables   0xffff0 reset vector
 *   1 MiB kernel
 */
enum boot_protocol { BOOT_PVH, BOOT_LINUX64 };

struct boot_entry {
	enum boot_protocol protocol;
	gpa_t entry;
	gpa_t kernel_end; /* first byte behind the kernel's memory */
};

/*
 * Loads an ELF64 x86-64 executable (vmlinux) from fd into guest memory.
 * Every program header is checked; segments may neither overlap the first
 * MiB nor leave guest memory. PVH is chosen when the ELF note is there.
 * -ENOEXEC: not such a file.
 */
int boot_load_kernel(
	const struct gmem *m, int fd, uint64_t size, struct boot_entry *ret, struct kerr *e);

/*
 * Initramfs at the end of low memory, command line, e820, zero page or
 * start_info, ACPI tables, GDT and page tables. -ENOSPC when memory is too
 * small for kernel and initramfs together.
 */
int boot_write_tables(const struct gmem *m, const struct board *b, const struct boot_entry *k,
	int initrd_fd, struct kerr *e);

/* Registers of the boot processor, on top of what KVM_GET_SREGS gave. */
void boot_set_regs(const struct boot_entry *k, struct kvm_regs *regs, struct kvm_sregs *sregs,
	struct kvm_fpu *fpu);
