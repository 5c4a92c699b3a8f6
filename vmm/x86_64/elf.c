#include "boot.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

/*
 * The kernel file is hostile: it is read once, header by header, and every
 * sum is checked before it is used. Guest memory is fresh (zero), so what
 * a segment has in memory beyond its file bytes needs no work.
 */
#define KERNEL_LOWEST 0x100000ULL
#define MAX_PHDRS     64
#define MAX_NOTES     65536u /* bytes of one PT_NOTE segment */

#define XEN_ELFNOTE_PHYS32_ENTRY 18 /* Xen, public/elfnote.h */

struct kernel_file {
	int fd;
	uint64_t size;
	Elf64_Ehdr eh;
	Elf64_Phdr ph[MAX_PHDRS];
};

static int not_a_kernel(struct kerr *e, const char *why)
{
	return kerr_set(e, ENOEXEC,
		"kernel: %s; expected an x86-64 ELF image (vmlinux, unpacked from bzImage)", why);
}

/* Reads [offset, offset + len) of the file, which must have it. */
static int file_read(
	const struct kernel_file *f, uint64_t offset, void *buf, size_t len, struct kerr *e)
{
	uint64_t end;
	int r;

	if (__builtin_add_overflow(offset, len, &end) || end > f->size)
		return not_a_kernel(e, "the file is cut short");
	r = io_pread_full(f->fd, buf, len, offset);
	if (r == -ENODATA)
		return not_a_kernel(e, "the file is shorter than announced");
	if (r < 0)
		return kerr_errno(
			e, -r, "cannot read the kernel at offset %llu", (unsigned long long)offset);
	return 0;
}

/*
 * The file's bytes of one segment, into memory that is zero: what the file
 * does not store (a hole; a third of a kernel is zeroes) is not read. A
 * file system that knows no holes has one piece of data.
 */
static int read_segment(
	const struct kernel_file *f, const Elf64_Phdr *p, uint8_t *to, struct kerr *e)
{
	uint64_t at = p->p_offset;
	uint64_t end = at + p->p_filesz; /* checked */

	while (at < end) {
		off_t data = lseek(f->fd, (off_t)at, SEEK_DATA);
		off_t hole = data < 0 ? -1 : lseek(f->fd, data, SEEK_HOLE);
		uint64_t until = end;
		int r;

		if (data < 0 && errno == ENXIO) /* a hole up to the end of the file */
			return 0;
		if (data > (off_t)at)
			at = (uint64_t)data;
		if (at >= end)
			return 0;
		if (hole > data && (uint64_t)hole < end)
			until = (uint64_t)hole;
		r = file_read(f, at, to + (at - p->p_offset), until - at, e);
		if (r < 0)
			return r;
		at = until;
	}
	return 0;
}

static int read_headers(struct kernel_file *f, struct kerr *e)
{
	const Elf64_Ehdr *eh = &f->eh;
	struct stat st;
	int r;

	/* Else what is missing at the end would pass for a hole. */
	if (fstat(f->fd, &st) < 0)
		return kerr_errno(e, errno, "kernel file");
	if (st.st_size < 0 || (uint64_t)st.st_size < f->size)
		return not_a_kernel(e, "the file is shorter than announced");
	r = file_read(f, 0, &f->eh, sizeof(f->eh), e);
	if (r < 0)
		return r;
	if (memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0)
		return not_a_kernel(e, "not an ELF file");
	if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != ELFDATA2LSB ||
		eh->e_machine != EM_X86_64)
		return not_a_kernel(e, "an ELF file for another machine");
	if (eh->e_type != ET_EXEC)
		return not_a_kernel(e, "an ELF file that is not a fixed-address executable");
	if (eh->e_phentsize != sizeof(Elf64_Phdr) || eh->e_phnum == 0 || eh->e_phnum > MAX_PHDRS)
		return not_a_kernel(e, "the program header table is malformed");
	return file_read(f, eh->e_phoff, f->ph, (size_t)eh->e_phnum * sizeof(f->ph[0]), e);
}

static bool is_load(const Elf64_Phdr *p)
{
	return p->p_type == PT_LOAD && p->p_memsz != 0;
}

/* Bounds of one segment: inside the file, above 1 MiB, inside guest memory. */
static int check_segment(
	const struct gmem *m, const struct kernel_file *f, const Elf64_Phdr *p, struct kerr *e)
{
	uint64_t end;

	if (p->p_filesz > p->p_memsz)
		return not_a_kernel(e, "a segment has more bytes in the file than in memory");
	if (__builtin_add_overflow(p->p_offset, p->p_filesz, &end) || end > f->size)
		return not_a_kernel(e, "a segment reaches beyond the end of the file");
	if (__builtin_add_overflow(p->p_paddr, p->p_memsz, &end))
		return not_a_kernel(e, "a segment wraps around the address space");
	if (p->p_paddr < KERNEL_LOWEST)
		return not_a_kernel(e, "a segment lies below 1 MiB");
	if (!gmem_at(m, p->p_paddr, p->p_memsz))
		return kerr_set(e, ENOSPC,
			"kernel: the segment at %#llx, %llu bytes, does not fit into the guest's "
			"memory; give the guest more memory",
			(unsigned long long)p->p_paddr, (unsigned long long)p->p_memsz);
	return 0;
}

static int check_overlap(const struct kernel_file *f, struct kerr *e)
{
	for (unsigned i = 0; i < f->eh.e_phnum; i++) {
		const Elf64_Phdr *a = &f->ph[i];

		for (unsigned j = 0; is_load(a) && j < i; j++) {
			const Elf64_Phdr *b = &f->ph[j];

			if (is_load(b) && a->p_paddr < b->p_paddr + b->p_memsz &&
				b->p_paddr < a->p_paddr + a->p_memsz)
				return not_a_kernel(e, "two segments overlap");
		}
	}
	return 0;
}

/* Is this the first byte of code that a segment brings from the file? */
static bool is_loaded(const struct kernel_file *f, gpa_t at)
{
	for (unsigned i = 0; i < f->eh.e_phnum; i++) {
		const Elf64_Phdr *p = &f->ph[i];

		if (is_load(p) && at >= p->p_paddr && at - p->p_paddr < p->p_filesz)
			return true;
	}
	return false;
}

/* n rounded up to a multiple of four, in 64 bits: cannot wrap for 32-bit n. */
static uint64_t align4(uint32_t n)
{
	return ((uint64_t)n + 3) & ~3ULL;
}

/*
 * Looks for Xen's PHYS32_ENTRY in a note segment (System V ABI, "Note
 * Section"); the descriptor has four or eight bytes.
 */
static bool find_pvh_note(const uint8_t *notes, uint64_t len, uint64_t *ret_entry)
{
	uint64_t pos = 0;

	while (len - pos >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr nh;
		uint64_t name = pos + sizeof(nh), desc, next;

		memcpy(&nh, notes + pos, sizeof(nh));
		desc = name + align4(nh.n_namesz);
		next = desc + align4(nh.n_descsz);
		if (desc > len || desc + nh.n_descsz > len)
			return false;
		if (nh.n_type == XEN_ELFNOTE_PHYS32_ENTRY && nh.n_namesz == 4 &&
			memcmp(notes + name, "Xen", 4) == 0 &&
			(nh.n_descsz == 4 || nh.n_descsz == 8)) {
			*ret_entry = 0;
			memcpy(ret_entry, notes + desc, nh.n_descsz);
			return true;
		}
		if (next > len)
			return false;
		pos = next;
	}
	return false;
}

/* Fills in protocol and entry: PVH when the kernel offers it. */
static int choose_entry(const struct kernel_file *f, struct boot_entry *ret, struct kerr *e)
{
	ret->protocol = BOOT_LINUX64;
	ret->entry = f->eh.e_entry;
	for (unsigned i = 0; i < f->eh.e_phnum; i++) {
		const Elf64_Phdr *p = &f->ph[i];
		_cleanup_free_ uint8_t *notes = NULL;
		uint64_t entry;
		int r;

		if (p->p_type != PT_NOTE || p->p_filesz == 0)
			continue;
		if (p->p_filesz > MAX_NOTES)
			return not_a_kernel(e, "a note segment is too large");
		notes = malloc(p->p_filesz);
		if (!notes)
			return kerr_errno(e, ENOMEM, "kernel notes");
		r = file_read(f, p->p_offset, notes, p->p_filesz, e);
		if (r < 0)
			return r;
		if (find_pvh_note(notes, p->p_filesz, &entry)) {
			ret->protocol = BOOT_PVH;
			ret->entry = entry;
			break;
		}
	}
	if (!is_loaded(f, ret->entry) || (ret->protocol == BOOT_PVH && ret->entry > UINT32_MAX))
		return not_a_kernel(e, "the entry point lies outside of what is loaded");
	return 0;
}

int boot_load_kernel(
	const struct gmem *m, int fd, uint64_t size, struct boot_entry *ret, struct kerr *e)
{
	struct kernel_file f = { .fd = fd, .size = size };
	struct boot_entry entry = { 0 };
	int r;

	r = read_headers(&f, e);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < f.eh.e_phnum; i++) {
		if (!is_load(&f.ph[i]))
			continue;
		r = check_segment(m, &f, &f.ph[i], e);
		if (r < 0)
			return r;
		if (f.ph[i].p_paddr + f.ph[i].p_memsz > entry.kernel_end)
			entry.kernel_end = f.ph[i].p_paddr + f.ph[i].p_memsz;
	}
	r = check_overlap(&f, e);
	if (r < 0)
		return r;
	r = choose_entry(&f, &entry, e);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < f.eh.e_phnum; i++) {
		const Elf64_Phdr *p = &f.ph[i];

		if (!is_load(p))
			continue;
		r = read_segment(&f, p, gmem_at(m, p->p_paddr, p->p_filesz), e);
		if (r < 0)
			return r;
	}
	*ret = entry;
	return 0;
}
