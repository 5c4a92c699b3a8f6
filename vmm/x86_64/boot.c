#include "boot.h"

#include <stdbool.h>
#include <string.h>

#include <asm/bootparam.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "acpi.h"

#define GDT_ADDR        0x500ULL
#define IDT_ADDR        0x520ULL
#define START_INFO_ADDR 0x6000ULL
#define MODLIST_ADDR    0x6040ULL
#define MEMMAP_ADDR     0x6080ULL
#define ZERO_PAGE_ADDR  0x7000ULL
#define STACK_ADDR      0x8ff0ULL
#define PML4_ADDR       0x9000ULL
#define PDPT_ADDR       0xa000ULL
#define PD_ADDR         0xb000ULL
#define CMDLINE_ADDR    0x20000ULL
#define LOW_RAM_END     0x9fc00ULL
#define RESET_VECTOR    0xffff0ULL
#define KERNEL_LOWEST   0x100000ULL
#define PAGE            4096ULL

#define E820_RAM      1
#define E820_RESERVED 2

/* A map of guest memory, in the terms of e820. */
struct memory_map {
	unsigned count;
	struct {
		uint64_t addr, size;
		uint32_t type;
	} range[4];
};

/* Xen's public/arch-x86/hvm/start_info.h, version 1. */
#define START_MAGIC 0x336ec578u
struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
	uint32_t memmap_entries, reserved;
};
struct start_module {
	uint64_t paddr, size, cmdline_paddr, reserved;
};
struct start_memmap {
	uint64_t addr, size;
	uint32_t type, reserved;
};
_Static_assert(sizeof(struct start_info) == 56, "PVH start_info");
_Static_assert(sizeof(struct start_info) <= MODLIST_ADDR - START_INFO_ADDR, "PVH layout");
_Static_assert(sizeof(struct start_memmap) == 24, "PVH memory map");
_Static_assert(sizeof(struct boot_params) == 4096, "zero page");

struct initrd {
	gpa_t addr;
	uint64_t size; /* 0: none */
};

static void map_add(struct memory_map *map, uint64_t from, uint64_t to, uint32_t type)
{
	map->range[map->count].addr = from;
	map->range[map->count].size = to - from;
	map->range[map->count].type = type;
	map->count++;
}

static uint64_t low_memory_end(const struct board *b)
{
	return b->memory < BOARD_LOWMEM_END ? b->memory : BOARD_LOWMEM_END;
}

static void describe_memory(const struct board *b, struct memory_map *map)
{
	uint64_t low = low_memory_end(b);

	map->count = 0;
	map_add(map, 0, LOW_RAM_END, E820_RAM);
	map_add(map, LOW_RAM_END, KERNEL_LOWEST, E820_RESERVED);
	map_add(map, KERNEL_LOWEST, low, E820_RAM);
	if (b->memory > low)
		map_add(map, BOARD_HIGHMEM_BASE, BOARD_HIGHMEM_BASE + (b->memory - low), E820_RAM);
}

/* gmem_write with a message; only a board that does not match the memory fails here. */
static int put(const struct gmem *m, gpa_t at, const void *data, size_t len, struct kerr *e)
{
	if (gmem_write(m, at, data, len) < 0)
		return kerr_set(e, ENOSPC, "guest memory is too small: nothing at %#llx",
			(unsigned long long)at);
	return 0;
}

static int load_initrd(const struct gmem *m, const struct board *b, const struct boot_entry *k,
	int fd, struct initrd *ret, struct kerr *e)
{
	uint64_t low = low_memory_end(b);
	void *to;
	int r;

	*ret = (struct initrd){ 0 };
	if (fd < 0)
		return 0;
	if (b->initrd_size == 0)
		return kerr_set(e, EINVAL, "the initramfs is empty");
	if (b->initrd_size > low)
		goto too_small;
	ret->addr = (low - b->initrd_size) & ~(PAGE - 1);
	ret->size = b->initrd_size;
	if (ret->addr < k->kernel_end || ret->addr < KERNEL_LOWEST)
		goto too_small;
	to = gmem_at(m, ret->addr, ret->size);
	if (!to)
		goto too_small;
	r = io_pread_full(fd, to, ret->size, 0);
	if (r == -ENODATA)
		return kerr_set(e, EINVAL, "the initramfs is shorter than its size of %llu bytes",
			(unsigned long long)b->initrd_size);
	if (r < 0)
		return kerr_errno(e, -r, "cannot read the initramfs");
	return 0;
too_small:
	return kerr_set(e, ENOSPC,
		"%llu MiB of memory are too little for the kernel (up to %#llx) and the initramfs "
		"(%llu bytes); give the guest more memory",
		(unsigned long long)(b->memory >> 20), (unsigned long long)k->kernel_end,
		(unsigned long long)b->initrd_size);
}

static int write_cmdline(
	const struct gmem *m, const struct board *b, uint32_t *ret_len, struct kerr *e)
{
	size_t len = strnlen(b->cmdline, sizeof(b->cmdline));

	if (len == sizeof(b->cmdline))
		return kerr_set(e, EINVAL, "the kernel's command line is longer than %u characters",
			BOARD_CMDLINE_MAX - 1);
	*ret_len = (uint32_t)len;
	return put(m, CMDLINE_ADDR, b->cmdline, len + 1, e);
}

/* Documentation/x86/boot.rst and zero-page.rst: what the 64-bit entry needs. */
static int write_zero_page(const struct gmem *m, const struct memory_map *map,
	const struct initrd *initrd, uint32_t cmdline_len, struct kerr *e)
{
	struct boot_params p;

	memset(&p, 0, sizeof(p));
	p.hdr.type_of_loader = 0xff;
	p.hdr.boot_flag = 0xaa55;
	p.hdr.header = 0x53726448; /* "HdrS" */
	p.hdr.version = 0x020f;
	p.hdr.loadflags = LOADED_HIGH;
	p.hdr.kernel_alignment = 0x1000000;
	p.hdr.cmd_line_ptr = CMDLINE_ADDR;
	p.hdr.cmdline_size = cmdline_len;
	p.hdr.ramdisk_image = (uint32_t)initrd->addr;
	p.hdr.ramdisk_size = (uint32_t)initrd->size;
	p.acpi_rsdp_addr = ACPI_BASE;
	p.e820_entries = (uint8_t)map->count;
	for (unsigned i = 0; i < map->count; i++) {
		p.e820_table[i].addr = map->range[i].addr;
		p.e820_table[i].size = map->range[i].size;
		p.e820_table[i].type = map->range[i].type;
	}
	return put(m, ZERO_PAGE_ADDR, &p, sizeof(p), e);
}

static int write_start_info(const struct gmem *m, const struct memory_map *map,
	const struct initrd *initrd, struct kerr *e)
{
	struct start_info info = {
		.magic = START_MAGIC,
		.version = 1,
		.cmdline_paddr = CMDLINE_ADDR,
		.rsdp_paddr = ACPI_BASE,
		.memmap_paddr = MEMMAP_ADDR,
		.memmap_entries = map->count,
	};
	struct start_module module = { .paddr = initrd->addr, .size = initrd->size };
	struct start_memmap entries[array_size(map->range)] = { 0 };
	int r;

	if (initrd->size) {
		info.nr_modules = 1;
		info.modlist_paddr = MODLIST_ADDR;
	}
	for (unsigned i = 0; i < map->count; i++) {
		entries[i].addr = map->range[i].addr;
		entries[i].size = map->range[i].size;
		entries[i].type = map->range[i].type;
	}
	r = put(m, START_INFO_ADDR, &info, sizeof(info), e);
	if (r == 0)
		r = put(m, MODLIST_ADDR, &module, sizeof(module), e);
	if (r == 0)
		r = put(m, MEMMAP_ADDR, entries, sizeof(entries), e);
	return r;
}

/*
 * Segments of the boot processor. flags holds bits 40-47 (access) in its
 * low byte and bits 52-55 (granularity) in its top nibble, as they stand
 * in a descriptor (Intel SDM volume 3, 3.4.5).
 */
struct flat_segment {
	uint16_t flags;
	uint32_t limit; /* 20 bits */
};

static const struct flat_segment segments[][4] = {
	[BOOT_PVH] = { { 0, 0 }, { 0xc09b, 0xfffff }, { 0xc093, 0xfffff }, { 0x008b, 0x67 } },
	[BOOT_LINUX64] = { { 0, 0 }, { 0xa09b, 0xfffff }, { 0xc093, 0xfffff },
		{ 0x808b, 0xfffff } },
};

static int write_gdt(const struct gmem *m, enum boot_protocol protocol, struct kerr *e)
{
	uint64_t gdt[4], idt = 0;
	int r;

	for (unsigned i = 0; i < array_size(gdt); i++) {
		const struct flat_segment *s = &segments[protocol][i];

		gdt[i] = (s->limit & 0xffffULL) | ((uint64_t)(s->limit >> 16) << 48) |
			((uint64_t)(s->flags & 0xf0ffu) << 40);
	}
	r = put(m, GDT_ADDR, gdt, sizeof(gdt), e);
	if (r == 0)
		r = put(m, IDT_ADDR, &idt, sizeof(idt), e);
	return r;
}

/* The first GiB one to one, in pages of 2 MiB. */
static int write_page_tables(const struct gmem *m, struct kerr *e)
{
	uint64_t pml4 = PDPT_ADDR | 3, pdpt = PD_ADDR | 3, pd[512];
	int r;

	for (unsigned i = 0; i < array_size(pd); i++)
		pd[i] = ((uint64_t)i << 21) | 0x83; /* present, writable, large */
	r = put(m, PML4_ADDR, &pml4, sizeof(pml4), e);
	if (r == 0)
		r = put(m, PDPT_ADDR, &pdpt, sizeof(pdpt), e);
	if (r == 0)
		r = put(m, PD_ADDR, pd, sizeof(pd), e);
	return r;
}

/*
 * Linux on hardware-reduced ACPI without EFI reboots through the BIOS: real
 * mode, jump to F000:FFF0 (unless "reboot=" says otherwise). What it finds
 * there writes the ACPI reset register.
 */
static int write_reset_vector(const struct gmem *m, struct kerr *e)
{
	static const uint8_t code[] = {
		0xb0, ACPI_RESET_VALUE,                             /* mov al, 1 */
		0xba, ACPI_PORT_RESET & 0xff, ACPI_PORT_RESET >> 8, /* mov dx, 0x602 */
		0xee,                                               /* out dx, al */
		0xf4,                                               /* hlt */
		0xeb, 0xfd,                                         /* jmp to the hlt */
	};

	return put(m, RESET_VECTOR, code, sizeof(code), e);
}

int boot_write_tables(const struct gmem *m, const struct board *b, const struct boot_entry *k,
	int initrd_fd, struct kerr *e)
{
	struct memory_map map;
	struct initrd initrd;
	uint32_t cmdline_len = 0;
	int r;

	if (b->memory <= KERNEL_LOWEST || k->kernel_end > low_memory_end(b))
		return kerr_set(e, ENOSPC,
			"%llu MiB of memory are too little for the kernel, which reaches to %#llx",
			(unsigned long long)(b->memory >> 20), (unsigned long long)k->kernel_end);
	describe_memory(b, &map);
	r = write_cmdline(m, b, &cmdline_len, e);
	if (r < 0)
		return r;
	r = load_initrd(m, b, k, initrd_fd, &initrd, e);
	if (r < 0)
		return r;
	r = acpi_write_tables(m, b, e);
	if (r < 0)
		return r;
	r = write_reset_vector(m, e);
	if (r < 0)
		return r;
	r = write_gdt(m, k->protocol, e);
	if (r < 0)
		return r;
	if (k->protocol == BOOT_PVH)
		return write_start_info(m, &map, &initrd, e);
	r = write_page_tables(m, e);
	if (r < 0)
		return r;
	return write_zero_page(m, &map, &initrd, cmdline_len, e);
}

static struct kvm_segment kvm_segment(enum boot_protocol protocol, unsigned index)
{
	const struct flat_segment *s = &segments[protocol][index];
	bool pages = s->flags & 0x8000;

	return (struct kvm_segment){
		.base = 0,
		/* KVM wants the limit in bytes, not as the descriptor has it. */
		.limit = pages ? (s->limit << 12) | 0xfff : s->limit,
		.selector = (uint16_t)(index * 8),
		.type = s->flags & 0xf,
		.s = (s->flags >> 4) & 1,
		.dpl = (s->flags >> 5) & 3,
		.present = (s->flags >> 7) & 1,
		.avl = (s->flags >> 12) & 1,
		.l = (s->flags >> 13) & 1,
		.db = (s->flags >> 14) & 1,
		.g = pages,
	};
}

#define CR0_PE   (1ULL << 0)
#define CR0_ET   (1ULL << 4)
#define CR0_PG   (1ULL << 31)
#define CR4_PAE  (1ULL << 5)
#define EFER_LME (1ULL << 8)
#define EFER_LMA (1ULL << 10)

void boot_set_regs(const struct boot_entry *k, struct kvm_regs *regs, struct kvm_sregs *sregs,
	struct kvm_fpu *fpu)
{
	struct kvm_segment data = kvm_segment(k->protocol, 2);

	memset(regs, 0, sizeof(*regs));
	regs->rflags = 2;
	regs->rip = k->entry;
	sregs->cs = kvm_segment(k->protocol, 1);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->tr = kvm_segment(k->protocol, 3);
	sregs->gdt.base = GDT_ADDR;
	sregs->gdt.limit = 4 * sizeof(uint64_t) - 1;
	sregs->idt.base = IDT_ADDR;
	sregs->idt.limit = sizeof(uint64_t) - 1;
	if (k->protocol == BOOT_PVH) {
		regs->rbx = START_INFO_ADDR;
		sregs->cr0 = CR0_PE | CR0_ET;
		sregs->cr4 = 0;
		sregs->efer = 0;
	} else {
		regs->rsi = ZERO_PAGE_ADDR;
		regs->rsp = regs->rbp = STACK_ADDR;
		sregs->cr3 = PML4_ADDR;
		sregs->cr4 = CR4_PAE;
		sregs->cr0 = CR0_PE | CR0_ET | CR0_PG;
		sregs->efer = EFER_LME | EFER_LMA;
	}
	memset(fpu, 0, sizeof(*fpu));
	fpu->fcw = 0x37f;
	fpu->mxcsr = 0x1f80;
}
