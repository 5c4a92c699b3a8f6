#include <check.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <base/cleanup.h>

#include "guest_memory.h"
#include "x86_64/boot.h"

#define MEMORY (16ULL << 20)
#define TEXT   0x200000ULL
#define DATA   0x300000ULL

/* A small, right kernel image; each test breaks one thing in it. */
struct image {
	Elf64_Ehdr eh;
	Elf64_Phdr text, data, note;
	struct {
		Elf64_Nhdr nh;
		char name[4];
		uint64_t entry;
	} pvh;
	uint8_t code[64];
	uint8_t values[32];
};

static struct image good(void)
{
	struct image i = {
		.eh = { .e_ident = ELFMAG,
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_entry = TEXT,
			.e_phoff = offsetof(struct image, text),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 3 },
		.text = { .p_type = PT_LOAD,
			.p_offset = offsetof(struct image, code),
			.p_paddr = TEXT,
			.p_filesz = 64,
			.p_memsz = 64 },
		.data = { .p_type = PT_LOAD,
			.p_offset = offsetof(struct image, values),
			.p_paddr = DATA,
			.p_filesz = 32,
			.p_memsz = 0x5000 },
		.note = { .p_type = PT_NOTE,
			.p_offset = offsetof(struct image, pvh),
			.p_filesz = sizeof(i.pvh),
			.p_memsz = sizeof(i.pvh) },
		.pvh = { .nh = { .n_namesz = 4, .n_descsz = 8, .n_type = 18 },
			.name = "Xen",
			.entry = TEXT + 16 },
	};

	i.eh.e_ident[EI_CLASS] = ELFCLASS64;
	i.eh.e_ident[EI_DATA] = ELFDATA2LSB;
	memset(i.code, 0xc3, sizeof(i.code));
	memset(i.values, 0xda, sizeof(i.values));
	return i;
}

static int load_bytes(const void *data, size_t len, uint64_t announced, struct gmem *m,
	struct boot_entry *ret, struct kerr *e)
{
	_cleanup_close_ int fd = memfd_create("kernel", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
	return boot_load_kernel(m, fd, announced, ret, e);
}

static int load(const struct image *i, struct boot_entry *ret)
{
	struct gmem m = guest_memory_map(MEMORY);
	struct kerr e = { 0 };
	int r = load_bytes(i, sizeof(*i), sizeof(*i), &m, ret, &e);

	ck_assert_int_eq(e.code, -r);
	ck_assert(r == 0 || e.msg[0] != '\0');
	guest_memory_unmap(&m);
	return r;
}

/* Expects the refusal, and that the answer was not touched. */
static void refused(const struct image *i, int code)
{
	struct boot_entry k = { .entry = 77 };

	ck_assert_int_eq(load(i, &k), code);
	ck_assert_uint_eq(k.entry, 77);
}

START_TEST(loads_segments_where_they_belong)
{
	struct gmem m = guest_memory_map(MEMORY);
	struct image i = good();
	struct boot_entry k = { 0 };
	uint8_t *text = gmem_at(&m, TEXT, 65), *data = gmem_at(&m, DATA, 33);

	ck_assert_int_eq(load_bytes(&i, sizeof(i), sizeof(i), &m, &k, NULL), 0);
	ck_assert_mem_eq(text, i.code, 64);
	ck_assert_uint_eq(text[64], 0);
	ck_assert_mem_eq(data, i.values, 32);
	ck_assert_uint_eq(data[32], 0);
	ck_assert_uint_eq(k.kernel_end, DATA + 0x5000);
	guest_memory_unmap(&m);
}
END_TEST

/* What the file does not store reads as zero, and the rest lands in its place. */
START_TEST(holes_in_the_file)
{
	enum { PAGE = 4096, PAGES = 16 };
	static const uint8_t stored[PAGES] = { [0] = 1, [3] = 1, [4] = 1, [9] = 1 };
	static const uint64_t lengths[] = { 16 * PAGE, 10 * PAGE, 9 * PAGE + 7, 3 * PAGE };
	uint8_t page[PAGE];

	memset(page, 0x5a, sizeof(page));
	for (size_t n = 0; n < array_size(lengths); n++) {
		_cleanup_close_ int fd = memfd_create("kernel", MFD_CLOEXEC);
		struct gmem m = guest_memory_map(MEMORY);
		struct image i = good();
		struct boot_entry k;

		i.data.p_offset = PAGE;
		i.data.p_filesz = lengths[n];
		i.data.p_memsz = PAGES * PAGE;
		ck_assert_int_eq(ftruncate(fd, PAGE * (1 + PAGES)), 0);
		ck_assert_int_eq(pwrite(fd, &i, sizeof(i), 0), sizeof(i));
		for (unsigned p = 0; p < PAGES; p++)
			if (stored[p])
				ck_assert_int_eq(pwrite(fd, page, PAGE, (1 + p) * PAGE), PAGE);
		ck_assert_int_eq(boot_load_kernel(&m, fd, PAGE * (1 + PAGES), &k, NULL), 0);
		for (unsigned at = 0; at < PAGES * PAGE; at++) {
			uint8_t *byte = gmem_at(&m, DATA + at, 1);
			bool set = stored[at / PAGE] && at < lengths[n];

			ck_assert_uint_eq(*byte, set ? 0x5a : 0);
		}
		guest_memory_unmap(&m);
	}
}
END_TEST

START_TEST(note_chooses_pvh)
{
	struct image i = good();
	struct boot_entry k;

	ck_assert_int_eq(load(&i, &k), 0);
	ck_assert_int_eq(k.protocol, BOOT_PVH);
	ck_assert_uint_eq(k.entry, TEXT + 16);
	i.pvh.nh.n_descsz = 4; /* 32-bit descriptors are right as well */
	ck_assert_int_eq(load(&i, &k), 0);
	ck_assert_int_eq(k.protocol, BOOT_PVH);
	ck_assert_uint_eq(k.entry, TEXT + 16);
}
END_TEST

START_TEST(without_the_note_linux64)
{
	struct image i = good();
	struct boot_entry k;

	i.pvh.nh.n_type = 17;
	ck_assert_int_eq(load(&i, &k), 0);
	ck_assert_int_eq(k.protocol, BOOT_LINUX64);
	ck_assert_uint_eq(k.entry, TEXT);
	i = good();
	memcpy(i.pvh.name, "GNU", 4);
	ck_assert_int_eq(load(&i, &k), 0);
	ck_assert_int_eq(k.protocol, BOOT_LINUX64);
	i = good();
	i.eh.e_phnum = 2;
	ck_assert_int_eq(load(&i, &k), 0);
	ck_assert_int_eq(k.protocol, BOOT_LINUX64);
}
END_TEST

START_TEST(malformed_notes_are_no_note)
{
	static const uint32_t sizes[] = { 5, 0xfffffffc, 0xffffffff, 0x80000000, 9 };
	struct image i;
	struct boot_entry k;

	for (size_t n = 0; n < array_size(sizes); n++) {
		i = good();
		i.pvh.nh.n_namesz = sizes[n];
		ck_assert_int_eq(load(&i, &k), 0);
		ck_assert_int_eq(k.protocol, BOOT_LINUX64);
		i = good();
		i.pvh.nh.n_descsz = sizes[n];
		ck_assert_int_eq(load(&i, &k), 0);
		ck_assert_int_eq(k.protocol, BOOT_LINUX64);
	}
	i = good();
	i.note.p_filesz = sizeof(Elf64_Nhdr) - 1;
	ck_assert_int_eq(load(&i, &k), 0);
	ck_assert_int_eq(k.protocol, BOOT_LINUX64);
}
END_TEST

START_TEST(header_that_is_no_kernel)
{
	struct image i = good();

	i.eh.e_ident[0] = 'M';
	refused(&i, -ENOEXEC);
	i = good();
	i.eh.e_ident[EI_CLASS] = ELFCLASS32;
	refused(&i, -ENOEXEC);
	i = good();
	i.eh.e_ident[EI_DATA] = ELFDATA2MSB;
	refused(&i, -ENOEXEC);
	i = good();
	i.eh.e_machine = EM_AARCH64;
	refused(&i, -ENOEXEC);
	i = good();
	i.eh.e_type = ET_DYN;
	refused(&i, -ENOEXEC);
}
END_TEST

START_TEST(program_headers_out_of_bounds)
{
	struct image i = good();

	i.eh.e_phentsize--;
	refused(&i, -ENOEXEC);
	i = good();
	i.eh.e_phnum = 0;
	refused(&i, -ENOEXEC);
	i.eh.e_phnum = 65;
	refused(&i, -ENOEXEC);
	i.eh.e_phnum = 64; /* allowed, but the file has not as many */
	refused(&i, -ENOEXEC);
	i = good();
	i.eh.e_phoff = sizeof(i) - 1;
	refused(&i, -ENOEXEC);
	i.eh.e_phoff = UINT64_MAX - 8;
	refused(&i, -ENOEXEC);
}
END_TEST

START_TEST(segments_out_of_bounds)
{
	struct image i = good();

	i.text.p_filesz = 65; /* more than in memory */
	refused(&i, -ENOEXEC);
	i = good();
	i.data.p_offset = sizeof(i) - 31;
	refused(&i, -ENOEXEC);
	i.data.p_offset = UINT64_MAX - 8;
	refused(&i, -ENOEXEC);
	i = good();
	i.data.p_paddr = 0xfffff;
	refused(&i, -ENOEXEC);
	i.data.p_paddr = UINT64_MAX - 0x4000;
	refused(&i, -ENOEXEC);
	i.data.p_paddr = MEMORY - 0x4fff;
	refused(&i, -ENOSPC);
	i.data.p_paddr = MEMORY;
	refused(&i, -ENOSPC);
	i = good();
	i.data.p_memsz = UINT64_MAX;
	refused(&i, -ENOEXEC);
	i.data.p_memsz = MEMORY;
	refused(&i, -ENOSPC);
}
END_TEST

START_TEST(last_byte_of_memory_is_usable)
{
	struct image i = good();
	struct boot_entry k;

	i.data.p_paddr = MEMORY - 0x5000;
	ck_assert_int_eq(load(&i, &k), 0);
	ck_assert_uint_eq(k.kernel_end, MEMORY);
}
END_TEST

START_TEST(segments_that_overlap)
{
	struct image i = good();

	i.data.p_paddr = TEXT + 63;
	refused(&i, -ENOEXEC);
	i.data.p_paddr = TEXT - 0x4fff;
	refused(&i, -ENOEXEC);
	i.data.p_paddr = TEXT;
	refused(&i, -ENOEXEC);
}
END_TEST

START_TEST(entry_outside_of_what_is_loaded)
{
	struct image i = good();

	i.pvh.entry = TEXT + 64;
	refused(&i, -ENOEXEC);
	i.pvh.entry = DATA + 32; /* memory of a segment, but nothing from the file */
	refused(&i, -ENOEXEC);
	i.pvh.entry = 0;
	refused(&i, -ENOEXEC);
	i = good();
	i.eh.e_phnum = 2;
	i.eh.e_entry = TEXT - 1;
	refused(&i, -ENOEXEC);
}
END_TEST

START_TEST(nothing_to_load)
{
	struct image i = good();

	i.text.p_memsz = i.text.p_filesz = 0;
	i.data.p_type = PT_NULL;
	refused(&i, -ENOEXEC);
}
END_TEST

START_TEST(note_segment_out_of_bounds)
{
	struct image i = good();

	i.note.p_filesz = 65537;
	refused(&i, -ENOEXEC);
	i.note.p_filesz = 4096;
	refused(&i, -ENOEXEC);
	i.note.p_filesz = sizeof(i.pvh);
	i.note.p_offset = UINT64_MAX - 4;
	refused(&i, -ENOEXEC);
}
END_TEST

START_TEST(each_shorter_file)
{
	struct gmem m = guest_memory_map(MEMORY);
	struct image i = good();
	struct boot_entry k;

	for (size_t len = 0; len < sizeof(i); len++) {
		ck_assert_int_eq(load_bytes(&i, len, len, &m, &k, NULL), -ENOEXEC);
		/* The file is shorter than its announced size. */
		ck_assert_int_eq(load_bytes(&i, len, sizeof(i), &m, &k, NULL), -ENOEXEC);
	}
	guest_memory_unmap(&m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("elf");
	TCase *t = tcase_create("elf");
	SRunner *sr;
	int failed;

	tcase_add_test(t, loads_segments_where_they_belong);
	tcase_add_test(t, holes_in_the_file);
	tcase_add_test(t, note_chooses_pvh);
	tcase_add_test(t, without_the_note_linux64);
	tcase_add_test(t, malformed_notes_are_no_note);
	tcase_add_test(t, header_that_is_no_kernel);
	tcase_add_test(t, program_headers_out_of_bounds);
	tcase_add_test(t, segments_out_of_bounds);
	tcase_add_test(t, last_byte_of_memory_is_usable);
	tcase_add_test(t, segments_that_overlap);
	tcase_add_test(t, entry_outside_of_what_is_loaded);
	tcase_add_test(t, nothing_to_load);
	tcase_add_test(t, note_segment_out_of_bounds);
	tcase_add_test(t, each_shorter_file);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
