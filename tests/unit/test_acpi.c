#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "guest_memory.h"
#include "x86_64/acpi.h"
#include "x86_64/aml.h"

#define MEMORY (2ULL << 20)

/* The fields of ACPI 6.5, chapter 5.2, by their offsets. */
#define TABLE_LENGTH     4
#define TABLE_REVISION   8
#define TABLE_HEADER     36
#define FADT_BOOT_ARCH   109
#define FADT_FLAGS       112
#define FADT_RESET       116
#define FADT_RESET_VALUE 128
#define FADT_MINOR       131
#define FADT_X_DSDT      140
#define FADT_SLEEP       244

static struct board board_of(uint32_t vcpus, unsigned slots)
{
	struct board b = { .memory = MEMORY, .vcpus = vcpus, .slot_count = slots };

	for (unsigned i = 0; i < slots && i < BOARD_MAX_SLOTS; i++) {
		b.slots[i].device = BOARD_RNG;
		b.slots[i].mmio = BOARD_MMIO_BASE + i * BOARD_MMIO_SLOT_SIZE;
		b.slots[i].gsi = BOARD_GSI_FIRST + i;
	}
	return b;
}

static uint64_t number(const uint8_t *p, size_t bytes)
{
	uint64_t v = 0;

	memcpy(&v, p, bytes);
	return v;
}

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + *p++);
	return s;
}

/* The table at gpa: whole, in the area, of this signature, and its bytes add up to zero. */
static const uint8_t *table(const struct gmem *m, gpa_t at, const char *signature)
{
	const uint8_t *t = gmem_at(m, at, TABLE_HEADER);
	uint64_t len;

	ck_assert_ptr_nonnull(t);
	ck_assert_mem_eq(t, signature, 4);
	len = number(t + TABLE_LENGTH, 4);
	ck_assert_uint_ge(at, ACPI_BASE);
	ck_assert_uint_le(at + len, ACPI_END);
	ck_assert_uint_ge(len, TABLE_HEADER);
	ck_assert_uint_eq(sum(t, len), 0);
	return t;
}

/* As the guest does it: from the RSDP on. Fails the test when there is no such table. */
static const uint8_t *find(const struct gmem *m, const char *signature)
{
	const uint8_t *rsdp = gmem_at(m, ACPI_BASE, 36), *xsdt;
	uint64_t n;

	ck_assert_mem_eq(rsdp, "RSD PTR ", 8);
	ck_assert_uint_eq(rsdp[15], 2);
	ck_assert_uint_eq(sum(rsdp, 20), 0);
	ck_assert_uint_eq(number(rsdp + 20, 4), 36);
	ck_assert_uint_eq(sum(rsdp, 36), 0);
	xsdt = table(m, number(rsdp + 24, 8), "XSDT");
	n = (number(xsdt + TABLE_LENGTH, 4) - TABLE_HEADER) / 8;
	for (uint64_t i = 0; i < n; i++) {
		gpa_t at = number(xsdt + TABLE_HEADER + 8 * i, 8);
		const uint8_t *t = gmem_at(m, at, 4);

		ck_assert_ptr_nonnull(t);
		if (memcmp(t, signature, 4) == 0)
			return table(m, at, signature);
		if (memcmp(t, "FACP", 4) == 0 && strcmp(signature, "DSDT") == 0)
			return table(m, number(t + FADT_X_DSDT, 8), "DSDT");
	}
	ck_abort_msg("no table %s", signature);
	return NULL;
}

static struct gmem written(uint32_t vcpus, unsigned slots)
{
	struct board b = board_of(vcpus, slots);
	struct gmem m = guest_memory_map(MEMORY);
	struct kerr e = { 0 };

	ck_assert_msg(acpi_write_tables(&m, &b, &e) == 0, "%s", e.msg);
	return m;
}

static const struct {
	uint32_t vcpus;
	unsigned slots;
} boards[] = { { 1, 0 }, { 1, 3 }, { 2, 1 }, { BOARD_MAX_VCPUS, BOARD_MAX_SLOTS } };

START_TEST(checksums_of_every_table)
{
	struct gmem m = written(boards[_i].vcpus, boards[_i].slots);

	ck_assert_ptr_nonnull(find(&m, "FACP"));
	ck_assert_ptr_nonnull(find(&m, "APIC"));
	ck_assert_ptr_nonnull(find(&m, "DSDT"));
	guest_memory_unmap(&m);
}
END_TEST

static void is_port(const uint8_t *gas, uint16_t port)
{
	ck_assert_uint_eq(gas[0], 1); /* I/O space */
	ck_assert_uint_eq(gas[1], 8); /* bits */
	ck_assert_uint_eq(number(gas + 4, 8), port);
}

START_TEST(fadt_is_hardware_reduced)
{
	struct gmem m = written(1, 1);
	const uint8_t *f = find(&m, "FACP");
	uint64_t flags = number(f + FADT_FLAGS, 4);

	ck_assert_uint_eq(number(f + TABLE_LENGTH, 4), 276);
	ck_assert_uint_eq(f[TABLE_REVISION], 6);
	ck_assert_uint_eq(f[FADT_MINOR], 5);
	ck_assert(flags & 1 << 20); /* HW_REDUCED_ACPI */
	ck_assert(flags & 1 << 10); /* RESET_REG_SUP */
	/* No VGA, no CMOS clock, no 8042: the kernel looks for none. */
	ck_assert_uint_eq(number(f + FADT_BOOT_ARCH, 2), 1 << 2 | 1 << 5);
	is_port(f + FADT_RESET, ACPI_PORT_RESET);
	ck_assert_uint_eq(f[FADT_RESET_VALUE], ACPI_RESET_VALUE);
	is_port(f + FADT_SLEEP, ACPI_PORT_SLEEP_CONTROL);
	is_port(f + FADT_SLEEP + 12, ACPI_PORT_SLEEP_STATUS);
	guest_memory_unmap(&m);
}
END_TEST

START_TEST(madt_has_each_vcpu_and_the_ioapic)
{
	struct gmem m = written(boards[_i].vcpus, 1);
	const uint8_t *t = find(&m, "APIC"), *end = t + number(t + TABLE_LENGTH, 4), *p;
	unsigned lapics = 0, ioapics = 0;

	ck_assert_uint_eq(number(t + 36, 4), 0xfee00000);
	ck_assert_uint_eq(number(t + 40, 4), 0); /* no 8259 pair */
	for (p = t + 44; p < end; p += p[1]) {
		ck_assert_uint_ge(p[1], 2);
		if (p[0] == 0) {
			ck_assert_uint_eq(p[3], lapics);
			ck_assert_uint_eq(number(p + 4, 4), 1);
			lapics++;
		} else if (p[0] == 1) {
			ck_assert_uint_eq(number(p + 4, 4), 0xfec00000);
			ck_assert_uint_eq(number(p + 8, 4), 0);
			ioapics++;
		}
	}
	ck_assert_ptr_eq(p, end);
	ck_assert_uint_eq(lapics, boards[_i].vcpus);
	ck_assert_uint_eq(ioapics, 1);
	guest_memory_unmap(&m);
}
END_TEST

START_TEST(board_that_is_too_large)
{
	struct board b = board_of(BOARD_MAX_VCPUS + 1, 1);
	struct gmem m = guest_memory_map(MEMORY);

	ck_assert_int_eq(acpi_write_tables(&m, &b, NULL), -ENOSPC);
	b = board_of(1, BOARD_MAX_SLOTS + 1);
	ck_assert_int_eq(acpi_write_tables(&m, &b, NULL), -ENOSPC);
	guest_memory_unmap(&m);
}
END_TEST

static int run(const char *dir, const char *const argv[])
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		if (chdir(dir) == 0 && dup2(null, 1) >= 0 && dup2(null, 2) >= 0)
			(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static char *decompile(const char *dir, const char *name, const uint8_t *table)
{
	_cleanup_close_ int dirfd = open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int fd = -1;
	char aml[16], dsl[16], *text;
	const char *argv[] = { "iasl", "-d", aml, NULL };
	size_t len;

	(void)snprintf(aml, sizeof(aml), "%s.aml", name);
	(void)snprintf(dsl, sizeof(dsl), "%s.dsl", name);
	ck_assert_int_eq(io_write_file_at(dirfd, aml, table, number(table + 4, 4), 0600, NULL), 0);
	ck_assert_int_eq(run(dir, argv), 0);
	fd = openat(dirfd, dsl, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(io_read_all(fd, 1 << 20, dsl, &text, &len, NULL), 0);
	return text;
}

static void has(const char *text, const char *what)
{
	ck_assert_msg(strstr(text, what) != NULL, "no \"%s\" in:\n%s", what, text);
}

/* The reference compiler reads what was written, and compiles it again without a complaint. */
START_TEST(iasl_understands_the_tables)
{
	char dir[] = "/tmp/test_acpi.XXXXXX";
	const char *version[] = { "iasl", "-v", NULL }, *rm[] = { "rm", "-r", dir, NULL };
	const char *compile[] = { "iasl", "-we", "dsdt.dsl", NULL };
	struct gmem m = written(2, BOARD_MAX_SLOTS);
	char *text;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	if (run("/", version) != 0) {
		(void)printf("skip: iasl (package acpica-tools) is not installed\n");
	} else {
		text = decompile(dir, "dsdt", find(&m, "DSDT"));
		has(text, "Device (COM1)");
		has(text, "EisaId (\"PNP0501\")");
		has(text, "Device (V015)");
		has(text, "Name (_HID, \"LNRO0005\")");
		has(text, "Name (_CCA, One)");
		has(text, "0xD000F000,         // Address Base");
		has(text, "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, )");
		has(text, "0x00000014,");
		has(text, "Name (_S5, Package (0x04)");
		free(text);
		ck_assert_int_eq(run(dir, compile), 0);
		text = decompile(dir, "facp", find(&m, "FACP"));
		has(text, "Hardware Reduced (V5) : 1");
		has(text, "CMOS RTC Not Present (V5) : 1");
		has(text, "Reset Register Supported (V2) : 1");
		free(text);
		text = decompile(dir, "apic", find(&m, "APIC"));
		has(text, "Processor Enabled : 1");
		free(text);
	}
	ck_assert_int_eq(run("/", rm), 0);
	guest_memory_unmap(&m);
}
END_TEST

/* The four encodings of a length (20.2.4): lead byte, bytes, value with its own bytes. */
START_TEST(package_lengths)
{
	static const struct {
		size_t body, bytes;
	} cases[] = { { 1, 1 }, { 62, 1 }, { 63, 2 }, { 4093, 2 }, { 4094, 3 }, { 1048572, 3 },
		{ 1048573, 4 } };
	size_t body = cases[_i].body, n = cases[_i].bytes, total = body + n, got;
	uint8_t *buf = calloc(1, body + 16);
	struct aml a = { .buf = buf, .cap = body + 16 };
	size_t mark;

	mark = aml_open_package(&a, 7);
	for (size_t i = 1; i < body; i++)
		aml_integer(&a, 1);
	aml_close(&a, mark);
	ck_assert(!a.full);
	ck_assert_uint_eq(a.len, 1 + total);
	ck_assert_uint_eq(buf[0], 0x12);
	ck_assert_uint_eq(buf[1] >> 6, n - 1);
	got = n == 1 ? buf[1] : buf[1] & 15;
	for (size_t i = 1; i < n; i++)
		got |= (size_t)buf[1 + i] << (4 + 8 * (i - 1));
	ck_assert_uint_eq(got, total);
	ck_assert_uint_eq(buf[1 + n], 7);
	ck_assert_uint_eq(buf[total], body == 1 ? 7 : 1); /* the last byte */
	free(buf);
}
END_TEST

START_TEST(integers)
{
	static const struct {
		uint64_t value;
		uint8_t bytes[9];
		size_t len;
	} cases[] = {
		{ 0, { 0x00 }, 1 },
		{ 1, { 0x01 }, 1 },
		{ 2, { 0x0a, 2 }, 2 },
		{ 0xff, { 0x0a, 0xff }, 2 },
		{ 0x100, { 0x0b, 0, 1 }, 3 },
		{ 0x12345, { 0x0c, 0x45, 0x23, 1, 0 }, 5 },
		{ 1ULL << 32, { 0x0e, 0, 0, 0, 0, 1, 0, 0, 0 }, 9 },
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		uint8_t buf[16];
		struct aml a = { .buf = buf, .cap = sizeof(buf) };

		aml_integer(&a, cases[i].value);
		ck_assert_uint_eq(a.len, cases[i].len);
		ck_assert_mem_eq(buf, cases[i].bytes, cases[i].len);
	}
}
END_TEST

/* Nothing is written beyond the buffer, however small it is, and the caller can tell. */
START_TEST(full_buffer)
{
	uint8_t buf[64];

	for (size_t cap = 0; cap < 44; cap++) {
		struct aml a = { .buf = buf, .cap = cap };
		size_t outer, inner;

		memset(buf, 0xee, sizeof(buf));
		outer = aml_open_device(&a, "DEV");
		aml_name(&a, "_CRS");
		inner = aml_open_resources(&a);
		aml_memory32(&a, 1, 2);
		aml_interrupt(&a, 3);
		aml_close_resources(&a, inner);
		aml_close(&a, outer);
		ck_assert_uint_eq(a.full, cap < 40);
		for (size_t i = cap; i < sizeof(buf); i++)
			ck_assert_uint_eq(buf[i], 0xee);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("acpi");
	TCase *t = tcase_create("acpi");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(t, checksums_of_every_table, 0, array_size(boards));
	tcase_add_test(t, fadt_is_hardware_reduced);
	tcase_add_loop_test(t, madt_has_each_vcpu_and_the_ioapic, 0, array_size(boards));
	tcase_add_test(t, board_that_is_too_large);
	tcase_add_test(t, iasl_understands_the_tables);
	tcase_add_loop_test(t, package_lengths, 0, 7);
	tcase_add_test(t, integers);
	tcase_add_test(t, full_buffer);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
