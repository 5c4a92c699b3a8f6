#include "image_samples.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <lz4.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define must(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			perror(#cond);                                                             \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

int sample_dir(char path[static 64])
{
	int fd;

	(void)snprintf(path, 64, "/tmp/kosvm-test-XXXXXX");
	must(mkdtemp(path));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(fd >= 0);
	return fd;
}

void sample_dir_done(int fd, const char *path)
{
	char cmd[128];

	(void)close(fd);
	(void)snprintf(cmd, sizeof(cmd), "chmod -R u+rwx %s; rm -rf %s", path, path);
	must(system(cmd) == 0);
}

size_t sample_count(int dirfd)
{
	DIR *d = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	size_t n = 0;

	must(d);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n - 2;
}

int sample_fd(const void *data, size_t len)
{
	int fd = memfd_create("sample", MFD_CLOEXEC);

	must(fd >= 0 && write(fd, data, len) == (ssize_t)len && lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

void sample_write(int dirfd, const char *name, const void *data, size_t len)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	must(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	(void)close(fd);
}

static Elf64_Ehdr elf_header(uint16_t type)
{
	Elf64_Ehdr h = {
		.e_type = type,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_ehsize = sizeof(h),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_shentsize = sizeof(Elf64_Shdr),
	};

	memcpy(h.e_ident, ELFMAG, SELFMAG);
	h.e_ident[EI_CLASS] = ELFCLASS64;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	h.e_ident[EI_VERSION] = EV_CURRENT;
	return h;
}

uint8_t *sample_elf(uint16_t type, size_t len)
{
	Elf64_Ehdr h = elf_header(type);
	Elf64_Phdr ph = {
		.p_type = PT_LOAD,
		.p_flags = PF_R | PF_X,
		.p_paddr = 0x1000000,
		.p_vaddr = 0x1000000,
		.p_filesz = len,
		.p_memsz = len,
		.p_align = 4096,
	};
	uint8_t *elf = malloc(len);

	must(elf && len >= 256);
	/* Neither all alike nor random: it packs a little. */
	for (size_t i = 0; i < len; i++)
		elf[i] = (uint8_t)((i * 2654435761u) >> 24 & (i % 7 ? 0x1f : 0xff));
	h.e_phoff = sizeof(h);
	h.e_phnum = 1;
	memcpy(elf, &h, sizeof(h));
	memcpy(elf + sizeof(h), &ph, sizeof(ph));
	return elf;
}

uint8_t *sample_module(const char *depends, size_t *ret_len)
{
	static const char names[] = "\0.modinfo\0.shstrtab";
	Elf64_Ehdr h = elf_header(ET_REL);
	Elf64_Shdr sh[3] = { 0 };
	uint8_t *m = calloc(1, 1024);
	int n;

	must(m);
	if (depends) {
		n = snprintf(
			(char *)m + 512, 256, "license=GPL%cdepends=%s%cname=x", 0, depends, 0);
		sh[1] = (Elf64_Shdr){ .sh_name = 1, .sh_offset = 512, .sh_size = (uint64_t)n + 1 };
		sh[2] = (Elf64_Shdr){ .sh_name = 10, .sh_offset = 800, .sh_size = sizeof(names) };
		memcpy(m + 800, names, sizeof(names));
		h.e_shoff = 64;
		h.e_shnum = 3;
		h.e_shstrndx = 2;
		memcpy(m + 64, sh, sizeof(sh));
	}
	memcpy(m, &h, sizeof(h));
	*ret_len = 1024;
	return m;
}

static size_t pack_gzip(const void *data, size_t len, uint8_t *out, size_t cap)
{
	z_stream z = { .next_in = (uint8_t *)(uintptr_t)data,
		.avail_in = (uInt)len,
		.next_out = out,
		.avail_out = (uInt)cap };

	must(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	must(deflate(&z, Z_FINISH) == Z_STREAM_END);
	(void)deflateEnd(&z);
	return z.total_out;
}

/* As the kernel's scripts/xz_wrap.sh: CRC32, the x86 branch filter, LZMA2. */
static size_t pack_xz(const void *data, size_t len, uint8_t *out, size_t cap)
{
	lzma_options_lzma opt;
	lzma_filter filters[] = {
		{ .id = LZMA_FILTER_X86 },
		{ .id = LZMA_FILTER_LZMA2, .options = &opt },
		{ .id = LZMA_VLI_UNKNOWN },
	};
	size_t n = 0;

	must(!lzma_lzma_preset(&opt, 1));
	must(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, data, len, out, &n, cap) ==
		LZMA_OK);
	return n;
}

static size_t pack_lz4(const uint8_t *data, size_t len, uint8_t *out, size_t cap)
{
	static const uint8_t magic[] = { 0x02, 0x21, 0x4c, 0x18 };
	const size_t block = 8u << 20;
	size_t n = sizeof(magic);

	memcpy(out, magic, sizeof(magic));
	for (size_t at = 0; at < len; at += block) {
		size_t take = len - at < block ? len - at : block;
		int got = LZ4_compress_default((const char *)data + at, (char *)out + n + 4,
			(int)take, (int)(cap - n - 4));

		must(got > 0);
		for (int i = 0; i < 4; i++)
			out[n + (size_t)i] = (uint8_t)((uint32_t)got >> (8 * i));
		n += 4 + (size_t)got;
	}
	return n;
}

uint8_t *sample_packed(enum sample_pack how, const void *data, size_t len, size_t *ret_len)
{
	size_t cap = len + len / 8 + 4096;
	uint8_t *out = malloc(cap);

	must(out);
	switch (how) {
	case SAMPLE_GZIP:
		*ret_len = pack_gzip(data, len, out, cap);
		break;
	case SAMPLE_XZ:
		*ret_len = pack_xz(data, len, out, cap);
		break;
	case SAMPLE_ZSTD:
		*ret_len = ZSTD_compress(out, cap, data, len, 3);
		must(!ZSTD_isError(*ret_len));
		break;
	case SAMPLE_LZ4:
		*ret_len = pack_lz4(data, len, out, cap);
		break;
	}
	return out;
}

uint8_t *sample_bzimage(const void *payload, size_t len, const uint32_t *size, size_t *ret_len)
{
	const size_t setup = 512 * 3; /* setup_sects = 2 */
	const uint32_t offset = 0x40;
	const uint32_t length = (uint32_t)(len + (size ? 4 : 0));
	size_t total = setup + offset + length + 100;
	uint8_t *bz = calloc(1, total);

	must(bz);
	bz[0x1f1] = 2;
	bz[0x1fe] = 0x55;
	bz[0x1ff] = 0xaa;
	bz[0x202] = 'H';
	bz[0x203] = 'd';
	bz[0x204] = 'r';
	bz[0x205] = 'S';
	bz[0x206] = 0x0f;
	bz[0x207] = 0x02;
	bz[0x211] = 0x01;
	memcpy(bz + 0x248, &offset, 4);
	memcpy(bz + 0x24c, &length, 4);
	memcpy(bz + setup + offset, payload, len);
	if (size)
		memcpy(bz + setup + offset + len, size, 4);
	*ret_len = total;
	return bz;
}
