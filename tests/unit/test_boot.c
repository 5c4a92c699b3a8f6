#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <asm/bootparam.h>

#include <base/cleanup.h>

#include "guest_memory.h"
#include "x86_64/acpi.h"
#include "x86_64/boot.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

#define ZERO_PAGE  0x7000
#define START_INFO 0x6000
#define CMDLINE    0x20000

static struct board board_of(uint64_t memory)
{
	struct board b = { .memory = memory,
		.vcpus = 1,
		.cmdline = "console=ttyS0 quiet",
		.initrd_fd = BOARD_NO_FD,
		.listen_fd = BOARD_NO_FD,
		.end_fd = BOARD_NO_FD };

	return b;
}

static struct boot_entry kernel(enum boot_protocol protocol)
{
	return (struct boot_entry){
		.protocol = protocol, .entry = 16 * MIB, .kernel_end = 32 * MIB
	};
}

/* A file of len bytes 1, 2, 3 … */
static int initrd_file(size_t len)
{
	int fd = memfd_create("initrd", MFD_CLOEXEC);
	uint8_t *data = malloc(len);

	ck_assert_int_ge(fd, 0);
	ck_assert_ptr_nonnull(data);
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i + 1);
	ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
	free(data);
	return fd;
}

static uint32_t u32_at(const struct gmem *m, gpa_t at)
{
	uint32_t v;

	ck_assert_int_eq(gmem_read(m, at, &v, sizeof(v)), 0);
	return v;
}

static uint64_t u64_at(const struct gmem *m, gpa_t at)
{
	uint64_t v;

	ck_assert_int_eq(gmem_read(m, at, &v, sizeof(v)), 0);
	return v;
}

struct range {
	uint64_t addr, size;
	uint32_t type;
};

static const struct {
	uint64_t memory;
	unsigned count;
	struct range range[4];
} maps[] = {
	{ 128 * MIB, 3,
		{ { 0, 0x9fc00, 1 }, { 0x9fc00, 0x60400, 2 }, { 0x100000, 127 * MIB, 1 } } },
	{ 3 * GIB, 3,
		{ { 0, 0x9fc00, 1 }, { 0x9fc00, 0x60400, 2 }, { 0x100000, 3 * GIB - MIB, 1 } } },
	{ 5 * GIB, 4,
		{ { 0, 0x9fc00, 1 }, { 0x9fc00, 0x60400, 2 }, { 0x100000, 3 * GIB - MIB, 1 },
			{ 4 * GIB, 2 * GIB, 1 } } },
	{ 64 * GIB, 4,
		{ { 0, 0x9fc00, 1 }, { 0x9fc00, 0x60400, 2 }, { 0x100000, 3 * GIB - MIB, 1 },
			{ 4 * GIB, 61 * GIB, 1 } } },
};

START_TEST(e820_of_the_zero_page)
{
	struct board b = board_of(maps[_i].memory);
	struct gmem m = guest_memory_map(b.memory);
	struct boot_entry k = kernel(BOOT_LINUX64);
	struct boot_params p;

	ck_assert_int_eq(boot_write_tables(&m, &b, &k, -1, NULL), 0);
	ck_assert_int_eq(gmem_read(&m, ZERO_PAGE, &p, sizeof(p)), 0);
	ck_assert_uint_eq(p.e820_entries, maps[_i].count);
	for (unsigned i = 0; i < maps[_i].count; i++) {
		ck_assert_uint_eq(p.e820_table[i].addr, maps[_i].range[i].addr);
		ck_assert_uint_eq(p.e820_table[i].size, maps[_i].range[i].size);
		ck_assert_uint_eq(p.e820_table[i].type, maps[_i].range[i].type);
	}
	ck_assert_uint_eq(p.hdr.header, 0x53726448);
	ck_assert_uint_eq(p.hdr.boot_flag, 0xaa55);
	ck_assert_uint_eq(p.hdr.type_of_loader, 0xff);
	ck_assert_uint_eq(p.hdr.cmd_line_ptr, CMDLINE);
	ck_assert_uint_eq(p.hdr.ramdisk_size, 0);
	ck_assert_uint_eq(p.acpi_rsdp_addr, ACPI_BASE);
	guest_memory_unmap(&m);
}
END_TEST

START_TEST(memory_map_of_pvh)
{
	struct board b = board_of(maps[_i].memory);
	struct gmem m = guest_memory_map(b.memory);
	struct boot_entry k = kernel(BOOT_PVH);
	gpa_t at;

	ck_assert_int_eq(boot_write_tables(&m, &b, &k, -1, NULL), 0);
	ck_assert_uint_eq(u32_at(&m, START_INFO), 0x336ec578);
	ck_assert_uint_eq(u32_at(&m, START_INFO + 4), 1);  /* version */
	ck_assert_uint_eq(u32_at(&m, START_INFO + 12), 0); /* modules */
	ck_assert_uint_eq(u64_at(&m, START_INFO + 24), CMDLINE);
	ck_assert_uint_eq(u64_at(&m, START_INFO + 32), ACPI_BASE);
	ck_assert_uint_eq(u32_at(&m, START_INFO + 48), maps[_i].count);
	at = u64_at(&m, START_INFO + 40);
	for (unsigned i = 0; i < maps[_i].count; i++, at += 24) {
		ck_assert_uint_eq(u64_at(&m, at), maps[_i].range[i].addr);
		ck_assert_uint_eq(u64_at(&m, at + 8), maps[_i].range[i].size);
		ck_assert_uint_eq(u32_at(&m, at + 16), maps[_i].range[i].type);
	}
	guest_memory_unmap(&m);
}
END_TEST

START_TEST(initrd_ends_low_memory)
{
	const size_t len = 3 * 4096 + 5;
	static const uint64_t sizes[] = { 128 * MIB, 5 * GIB };
	uint64_t low = sizes[_i] < 3 * GIB ? sizes[_i] : 3 * GIB, at = low - 4 * 4096;
	struct board b = board_of(sizes[_i]);
	struct gmem m = guest_memory_map(b.memory);
	_cleanup_close_ int fd = initrd_file(len);
	struct boot_entry k = kernel(BOOT_PVH);
	struct boot_params p;
	uint8_t *data = gmem_at(&m, at, len + 1);
	gpa_t module;

	b.initrd_size = len;
	ck_assert_int_eq(boot_write_tables(&m, &b, &k, fd, NULL), 0);
	ck_assert_uint_eq(u32_at(&m, START_INFO + 12), 1);
	module = u64_at(&m, START_INFO + 16);
	ck_assert_uint_eq(u64_at(&m, module), at);
	ck_assert_uint_eq(u64_at(&m, module + 8), len);
	for (size_t i = 0; i < len; i++)
		ck_assert_uint_eq(data[i], (uint8_t)(i + 1));
	ck_assert_uint_eq(data[len], 0);
	k = kernel(BOOT_LINUX64);
	ck_assert_int_eq(boot_write_tables(&m, &b, &k, fd, NULL), 0);
	ck_assert_int_eq(gmem_read(&m, ZERO_PAGE, &p, sizeof(p)), 0);
	ck_assert_uint_eq(p.hdr.ramdisk_image, at);
	ck_assert_uint_eq(p.hdr.ramdisk_size, len);
	guest_memory_unmap(&m);
}
END_TEST

static int with_initrd(uint64_t memory, size_t file, uint64_t announced, struct kerr *e)
{
	struct board b = board_of(memory);
	struct gmem m = guest_memory_map(memory);
	_cleanup_close_ int fd = initrd_file(file);
	struct boot_entry k = kernel(BOOT_PVH);
	int r;

	b.initrd_size = announced;
	r = boot_write_tables(&m, &b, &k, fd, e);
	guest_memory_unmap(&m);
	return r;
}

START_TEST(initrd_that_does_not_fit)
{
	struct kerr e = { 0 };

	ck_assert_int_eq(with_initrd(34 * MIB, 2 * MIB, 2 * MIB, NULL), 0);
	ck_assert_int_eq(with_initrd(34 * MIB, 2 * MIB + 1, 2 * MIB + 1, &e), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(e.msg, "more memory"));
	ck_assert_int_eq(with_initrd(34 * MIB, 64, 34 * MIB + 1, NULL), -ENOSPC);
	ck_assert_int_eq(with_initrd(5 * GIB, 64, 3 * GIB, NULL), -ENOSPC);
	ck_assert_int_eq(with_initrd(34 * MIB, 64, UINT64_MAX, NULL), -ENOSPC);
}
END_TEST

START_TEST(initrd_of_the_wrong_size)
{
	ck_assert_int_eq(with_initrd(64 * MIB, 64, 0, NULL), -EINVAL);
	ck_assert_int_eq(with_initrd(64 * MIB, 64, 65, NULL), -EINVAL);
}
END_TEST

START_TEST(kernel_beyond_low_memory)
{
	struct board b = board_of(31 * MIB);
	struct gmem m = guest_memory_map(b.memory);
	struct boot_entry k = kernel(BOOT_PVH);

	ck_assert_int_eq(boot_write_tables(&m, &b, &k, -1, NULL), -ENOSPC);
	k.kernel_end = 31 * MIB;
	ck_assert_int_eq(boot_write_tables(&m, &b, &k, -1, NULL), 0);
	b.memory = MIB;
	ck_assert_int_eq(boot_write_tables(&m, &b, &k, -1, NULL), -ENOSPC);
	guest_memory_unmap(&m);
}
END_TEST

START_TEST(board_that_does_not_match_the_memory)
{
	struct board b = board_of(64 * MIB);
	struct gmem m = guest_memory_map(512 << 10);
	struct boot_entry k = kernel(_i ? BOOT_LINUX64 : BOOT_PVH);

	ck_assert_int_eq(boot_write_tables(&m, &b, &k, -1, NULL), -ENOSPC);
	guest_memory_unmap(&m);
}
END_TEST

START_TEST(command_line)
{
	struct board b = board_of(64 * MIB);
	struct gmem m = guest_memory_map(b.memory);
	struct boot_entry k = kernel(BOOT_LINUX64);
	struct boot_params p;
	struct kerr e = { 0 };

	memset(b.cmdline, 'x', sizeof(b.cmdline) - 1);
	ck_assert_int_eq(boot_write_tables(&m, &b, &k, -1, NULL), 0);
	ck_assert_mem_eq(gmem_at(&m, CMDLINE, BOARD_CMDLINE_MAX), b.cmdline, BOARD_CMDLINE_MAX);
	ck_assert_int_eq(gmem_read(&m, ZERO_PAGE, &p, sizeof(p)), 0);
	ck_assert_uint_eq(p.hdr.cmdline_size, BOARD_CMDLINE_MAX - 1);
	b.cmdline[sizeof(b.cmdline) - 1] = 'x';
	ck_assert_int_eq(boot_write_tables(&m, &b, &k, -1, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "command line"));
	guest_memory_unmap(&m);
}
END_TEST

/* Walks the tables as the processor does. */
static uint64_t translate(const struct gmem *m, uint64_t cr3, uint64_t va)
{
	uint64_t e = u64_at(m, cr3 + (va >> 39 & 511) * 8);

	ck_assert_uint_eq(e & 3, 3);
	e = u64_at(m, (e & ~0xfffULL) + (va >> 30 & 511) * 8);
	ck_assert_uint_eq(e & 3, 3);
	e = u64_at(m, (e & ~0xfffULL) + (va >> 21 & 511) * 8);
	ck_assert_uint_eq(e & 0x83, 0x83);
	return (e & ~0x1fffffULL) | (va & 0x1fffff);
}

START_TEST(registers_of_linux64)
{
	static const uint64_t addresses[] = { 0, 0x7abc, 16 * MIB + 5, 1023 * MIB, GIB - 1 };
	struct board b = board_of(64 * MIB);
	struct gmem m = guest_memory_map(b.memory);
	struct boot_entry k = kernel(BOOT_LINUX64);
	struct kvm_regs regs;
	struct kvm_sregs s = { .apic_base = 0xfee00900 };
	struct kvm_fpu fpu;
	uint64_t code;

	ck_assert_int_eq(boot_write_tables(&m, &b, &k, -1, NULL), 0);
	boot_set_regs(&k, &regs, &s, &fpu);
	ck_assert_uint_eq(regs.rip, k.entry);
	ck_assert_uint_eq(regs.rsi, ZERO_PAGE);
	ck_assert_uint_eq(regs.rflags, 2);
	ck_assert_uint_eq(s.cr0 & 0x80000001, 0x80000001);
	ck_assert_uint_eq(s.cr4, 0x20);
	ck_assert_uint_eq(s.efer, 0x500);
	ck_assert_uint_eq(s.cs.l, 1);
	ck_assert_uint_eq(s.cs.db, 0);
	ck_assert_uint_eq(s.cs.selector, 8);
	ck_assert_uint_eq(s.apic_base, 0xfee00900); /* not ours to change */
	ck_assert_uint_eq(fpu.fcw, 0x37f);
	ck_assert_uint_eq(fpu.mxcsr, 0x1f80);
	for (size_t i = 0; i < array_size(addresses); i++)
		ck_assert_uint_eq(translate(&m, s.cr3, addresses[i]), addresses[i]);
	code = u64_at(&m, s.gdt.base + s.cs.selector);
	ck_assert_uint_eq(code, 0x00af9b000000ffff);
	ck_assert_uint_eq(u64_at(&m, s.gdt.base), 0);
	ck_assert_uint_eq(s.gdt.limit, 31);
	guest_memory_unmap(&m);
}
END_TEST

START_TEST(registers_of_pvh)
{
	struct board b = board_of(64 * MIB);
	struct gmem m = guest_memory_map(b.memory);
	struct boot_entry k = kernel(BOOT_PVH);
	struct kvm_regs regs;
	struct kvm_sregs s = { 0 };
	struct kvm_fpu fpu;

	ck_assert_int_eq(boot_write_tables(&m, &b, &k, -1, NULL), 0);
	boot_set_regs(&k, &regs, &s, &fpu);
	ck_assert_uint_eq(regs.rip, k.entry);
	ck_assert_uint_eq(regs.rbx, START_INFO);
	ck_assert_uint_eq(regs.rflags, 2);
	ck_assert_uint_eq(s.cr0, 0x11);
	ck_assert_uint_eq(s.cr4 | s.efer | s.cr3, 0);
	ck_assert_uint_eq(s.cs.db, 1);
	ck_assert_uint_eq(s.cs.l, 0);
	ck_assert_uint_eq(s.cs.limit, 0xffffffff);
	ck_assert_uint_eq(s.ds.limit, 0xffffffff);
	ck_assert_uint_eq(s.ds.type, 3);
	ck_assert_uint_eq(s.tr.limit, 0x67);
	ck_assert_uint_eq(s.tr.type, 11);
	ck_assert_uint_eq(s.tr.s, 0);
	ck_assert_uint_eq(u64_at(&m, s.gdt.base + 8), 0x00cf9b000000ffff);
	ck_assert_uint_eq(u64_at(&m, s.gdt.base + 16), 0x00cf93000000ffff);
	ck_assert_uint_eq(u64_at(&m, s.gdt.base + 24), 0x00008b0000000067);
	guest_memory_unmap(&m);
}
END_TEST

START_TEST(reset_vector_writes_the_reset_register)
{
	struct board b = board_of(64 * MIB);
	struct gmem m = guest_memory_map(b.memory);
	struct boot_entry k = kernel(BOOT_PVH);
	const uint8_t *code = gmem_at(&m, 0xffff0, 16);

	ck_assert_int_eq(boot_write_tables(&m, &b, &k, -1, NULL), 0);
	ck_assert_uint_eq(code[0], 0xb0); /* mov al, imm8 */
	ck_assert_uint_eq(code[1], ACPI_RESET_VALUE);
	ck_assert_uint_eq(code[2], 0xba); /* mov dx, imm16 */
	ck_assert_uint_eq(code[3] | code[4] << 8, ACPI_PORT_RESET);
	ck_assert_uint_eq(code[5], 0xee); /* out dx, al */
	guest_memory_unmap(&m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("boot");
	TCase *t = tcase_create("boot");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(t, e820_of_the_zero_page, 0, array_size(maps));
	tcase_add_loop_test(t, memory_map_of_pvh, 0, array_size(maps));
	tcase_add_loop_test(t, initrd_ends_low_memory, 0, 2);
	tcase_add_test(t, initrd_that_does_not_fit);
	tcase_add_test(t, initrd_of_the_wrong_size);
	tcase_add_test(t, kernel_beyond_low_memory);
	tcase_add_loop_test(t, board_that_does_not_match_the_memory, 0, 2);
	tcase_add_test(t, command_line);
	tcase_add_test(t, registers_of_linux64);
	tcase_add_test(t, registers_of_pvh);
	tcase_add_test(t, reset_vector_writes_the_reset_register);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
