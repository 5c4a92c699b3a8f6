#include "elf_check.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <base/io.h>

#define PHDRS_MAX 64u

static int check_header(const Elf64_Ehdr *h, struct kerr *e)
{
	if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
		return kerr_set(e, ENOEXEC, "no ELF file: it starts with %02x %02x %02x %02x",
			h->e_ident[0], h->e_ident[1], h->e_ident[2], h->e_ident[3]);
	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB)
		return kerr_set(e, ENOEXEC, "an ELF file, but not a 64-bit little-endian one");
	if (h->e_machine != EM_X86_64)
		return kerr_set(e, ENOEXEC, "an ELF file for machine %u: expected %u (x86-64)",
			h->e_machine, EM_X86_64);
	return 0;
}

static int check_segments(
	const Elf64_Ehdr *h, const Elf64_Phdr *ph, uint64_t size, bool is_static, struct kerr *e)
{
	bool any = false;

	for (unsigned i = 0; i < h->e_phnum; i++) {
		uint64_t end;

		if (ph[i].p_type == PT_INTERP && is_static)
			return kerr_set(e, ENOEXEC,
				"a dynamic program: expected a static one (link with -static)");
		if (ph[i].p_type != PT_LOAD)
			continue;
		if (__builtin_add_overflow(ph[i].p_offset, ph[i].p_filesz, &end) || end > size)
			return kerr_set(e, ENOEXEC,
				"an ELF file that is cut short: segment %u is not within it", i);
		if (ph[i].p_filesz > ph[i].p_memsz ||
			__builtin_add_overflow(ph[i].p_paddr, ph[i].p_memsz, &end))
			return kerr_set(
				e, ENOEXEC, "an ELF file whose segment %u makes no sense", i);
		any = any || ph[i].p_memsz > 0;
	}
	if (!any)
		return kerr_set(e, ENOEXEC, "an ELF file with nothing to load");
	return 0;
}

static int check_program_header(const Elf64_Ehdr *h, uint64_t size, struct kerr *e)
{
	uint64_t end;
	int r = check_header(h, e);

	if (r < 0)
		return r;
	if (h->e_type != ET_EXEC && h->e_type != ET_DYN)
		return kerr_set(
			e, ENOEXEC, "an ELF file of type %u: expected a program", h->e_type);
	if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum == 0 || h->e_phnum > PHDRS_MAX)
		return kerr_set(e, ENOEXEC, "an ELF file with %u program headers of %u bytes",
			h->e_phnum, h->e_phentsize);
	if (__builtin_add_overflow(h->e_phoff, h->e_phnum * sizeof(Elf64_Phdr), &end) || end > size)
		return kerr_set(e, ENOEXEC, "an ELF file that is cut short");
	return 0;
}

int elf_check_kernel(int fd, uint64_t size, struct kerr *e)
{
	Elf64_Phdr ph[PHDRS_MAX];
	Elf64_Ehdr h;
	int r;

	if (size < sizeof(h))
		return kerr_set(
			e, ENOEXEC, "only %llu bytes long: no ELF file", (unsigned long long)size);
	r = io_pread_full(fd, &h, sizeof(h), 0);
	if (r < 0)
		return kerr_errno(e, -r, "read");
	r = check_program_header(&h, size, e);
	if (r < 0)
		return r;
	r = io_pread_full(fd, ph, h.e_phnum * sizeof(*ph), h.e_phoff);
	if (r < 0)
		return kerr_errno(e, -r, "read");
	return check_segments(&h, ph, size, false, e);
}

int elf_check_static(const void *data, size_t len, struct kerr *e)
{
	Elf64_Phdr ph[PHDRS_MAX];
	Elf64_Ehdr h;
	int r;

	if (len < sizeof(h))
		return kerr_set(e, ENOEXEC, "only %zu bytes long: no ELF file", len);
	memcpy(&h, data, sizeof(h));
	r = check_program_header(&h, len, e);
	if (r < 0)
		return r;
	memcpy(ph, (const char *)data + h.e_phoff, h.e_phnum * sizeof(*ph));
	return check_segments(&h, ph, len, true, e);
}

int elf_check_module(const void *data, size_t len, struct kerr *e)
{
	Elf64_Ehdr h;
	int r;

	if (len < sizeof(h))
		return kerr_set(e, ENOEXEC, "only %zu bytes long: no ELF file", len);
	memcpy(&h, data, sizeof(h));
	r = check_header(&h, e);
	if (r < 0)
		return r;
	if (h.e_type != ET_REL)
		return kerr_set(e, ENOEXEC, "an ELF file of type %u: expected a module", h.e_type);
	return 0;
}
