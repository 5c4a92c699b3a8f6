#include <check.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <images/import.h>

#include "bzimage.h"
#include "decompress.h"
#include "image_samples.h"

#define ELF_LEN 3000000u /* several chunks of the streams, one byte over is not special */

static char path[64];
static struct import_ctx ctx;
static struct kerr e;

static void setup(void)
{
	memset(&e, 0, sizeof(e));
	memset(&ctx, 0, sizeof(ctx));
	ctx.store_dirfd = sample_dir(path);
}

static void teardown(void)
{
	sample_dir_done(ctx.store_dirfd, path);
}

static int import(const void *data, size_t len, struct digest *ret)
{
	_cleanup_close_ int fd = sample_fd(data, len);

	memset(&e, 0, sizeof(e));
	return import_kernel(&ctx, fd, "vmlinuz", ret, &e);
}

/* Refused with this code, these words in one line, and nothing left behind. */
static void refused(const void *data, size_t len, int code, const char *words)
{
	struct digest d;
	int r = import(data, len, &d);

	ck_assert_msg(r == -code, "expected %d, got %d: %s", -code, r, e.msg);
	ck_assert_int_eq(e.code, code);
	ck_assert_msg(strstr(e.msg, words) != NULL, "\"%s\" is not in: %s", words, e.msg);
	ck_assert_uint_eq(sample_count(ctx.store_dirfd), 0);
}

static uint8_t *make_bzimage(
	enum sample_pack how, const void *plain, size_t plain_len, size_t *ret_len)
{
	const uint32_t size = (uint32_t)plain_len;
	_cleanup_free_ uint8_t *packed = NULL;
	size_t len;

	packed = sample_packed(how, plain, plain_len, &len);
	return sample_bzimage(packed, len, how == SAMPLE_GZIP ? NULL : &size, ret_len);
}

/* _i: one of enum sample_pack. */
START_TEST(bzimage_of_each_method)
{
	_cleanup_free_ uint8_t *elf = sample_elf(ET_EXEC, ELF_LEN);
	_cleanup_free_ uint8_t *bz = NULL;
	_cleanup_free_ uint8_t *back = malloc(ELF_LEN);
	_cleanup_close_ int fd = -1;
	struct digest from_elf;
	struct digest d;
	uint64_t size;
	size_t len;
	int r;

	bz = make_bzimage((enum sample_pack)_i, elf, ELF_LEN, &len);
	r = import(bz, len, &d);
	ck_assert_msg(r == 0, "%s", e.msg);
	ck_assert_int_eq(store_open_verified(ctx.store_dirfd, &d, IMAGE_KERNEL, &fd, &size, &e), 0);
	ck_assert_uint_eq(size, ELF_LEN);
	ck_assert_int_eq(io_pread_full(fd, back, ELF_LEN, 0), 0);
	ck_assert_mem_eq(back, elf, ELF_LEN);
	ck_assert_int_eq(import(elf, ELF_LEN, &from_elf), 0);
	ck_assert_mem_eq(&from_elf, &d, sizeof(d));
	ck_assert_uint_eq(sample_count(ctx.store_dirfd), 2);
}
END_TEST

START_TEST(lz4_of_many_blocks)
{
	const size_t elf_len = (17u << 20) + 5; /* three blocks of 8 MiB */
	_cleanup_free_ uint8_t *elf = sample_elf(ET_DYN, elf_len);
	_cleanup_free_ uint8_t *bz = NULL;
	struct digest d;
	size_t len;
	int r;

	bz = make_bzimage(SAMPLE_LZ4, elf, elf_len, &len);
	r = import(bz, len, &d);
	ck_assert_msg(r == 0, "%s", e.msg);
}
END_TEST

START_TEST(cut_bzimage_is_refused)
{
	_cleanup_free_ uint8_t *elf = sample_elf(ET_EXEC, ELF_LEN);
	_cleanup_free_ uint8_t *bz = NULL;
	size_t len;

	bz = make_bzimage((enum sample_pack)_i, elf, ELF_LEN, &len);
	refused(bz, len - 200, EBADMSG, "cut short");
	refused(bz, len / 2, EBADMSG, "cut short");
	refused(bz, 0x24f, ENOEXEC, "not a kernel");
	refused(bz, 1, ENOEXEC, "not a kernel");
	refused(bz, 0, ENOEXEC, "empty");
}
END_TEST

/* The header's length is shortened with the file: only the stream itself can tell. */
START_TEST(cut_payload_is_refused)
{
	_cleanup_free_ uint8_t *elf = sample_elf(ET_EXEC, ELF_LEN);
	_cleanup_free_ uint8_t *packed = NULL;
	const uint32_t size = ELF_LEN;
	size_t packed_len;

	packed = sample_packed((enum sample_pack)_i, elf, ELF_LEN, &packed_len);
	for (size_t cut = 1; cut < packed_len - 100; cut += packed_len / 5) {
		_cleanup_free_ uint8_t *bz = NULL;
		struct digest d;
		size_t len;

		bz = sample_bzimage(
			packed, packed_len - cut, _i == SAMPLE_GZIP ? NULL : &size, &len);
		ck_assert_int_eq(import(bz, len, &d), -EBADMSG);
		ck_assert_uint_eq(sample_count(ctx.store_dirfd), 0);
	}
}
END_TEST

START_TEST(changed_payload_is_refused)
{
	_cleanup_free_ uint8_t *elf = sample_elf(ET_EXEC, ELF_LEN);
	_cleanup_free_ uint8_t *bz = NULL;
	unsigned refusals = 0;
	unsigned tries = 0;
	size_t len;

	bz = make_bzimage((enum sample_pack)_i, elf, ELF_LEN, &len);
	for (size_t at = 1600; at < len - 200; at += len / 40) {
		struct digest d;

		tries++;
		bz[at] ^= 0xff;
		if (import(bz, len, &d) < 0)
			refusals++;
		else
			ck_assert_int_eq(store_remove(ctx.store_dirfd, &d, &e), 0);
		bz[at] ^= 0xff;
		ck_assert_uint_eq(sample_count(ctx.store_dirfd), 0);
	}
	/* lz4 and zstd without a checksum cannot see a changed literal; the others see each. */
	if (_i == SAMPLE_GZIP || _i == SAMPLE_XZ)
		ck_assert_uint_eq(refusals, tries);
}
END_TEST

START_TEST(size_that_does_not_match_is_refused)
{
	_cleanup_free_ uint8_t *elf = sample_elf(ET_EXEC, 100000);
	_cleanup_free_ uint8_t *packed = NULL;
	const uint32_t wrong = 100001;
	uint8_t *bz;
	size_t packed_len;
	size_t len;

	packed = sample_packed((enum sample_pack)_i, elf, 100000, &packed_len);
	bz = sample_bzimage(packed, packed_len, &wrong, &len);
	refused(bz, len, EBADMSG, _i == SAMPLE_GZIP ? "behind the end" : "says 100001");
	free(bz);
}
END_TEST

START_TEST(other_methods_are_refused_by_name)
{
	static const struct {
		const char *magic;
		const char *name;
	} methods[] = {
		{ "BZh9", "bzip2" },
		{ "\x5d\0\0\0", "lzma" },
		{ "\x89LZO", "lzo" },
		{ "????", "an unknown method" },
	};

	for (size_t i = 0; i < array_size(methods); i++) {
		uint8_t payload[64] = { 0 };
		const uint32_t size = 100;
		uint8_t *bz;
		size_t len;

		memcpy(payload, methods[i].magic, 4);
		bz = sample_bzimage(payload, sizeof(payload), &size, &len);
		refused(bz, len, ENOTSUP, methods[i].name);
		free(bz);
	}
}
END_TEST

/* A small file that unpacks to more than any kernel. */
START_TEST(bomb_is_refused)
{
	const size_t plain_len = 64u << 20;
	uint8_t *plain = mmap(NULL, plain_len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	_cleanup_free_ uint8_t *packed = NULL;
	_cleanup_close_ int in = -1;
	_cleanup_close_ int out = memfd_create("out", MFD_CLOEXEC);
	struct decompress d = { .out_fd = out, .out_max = 1 << 20, .what = "bomb" };
	size_t len;
	uint8_t magic[DECOMPRESS_MAGIC_LEN];

	ck_assert_ptr_ne(plain, MAP_FAILED);
	packed = sample_packed((enum sample_pack)_i, plain, plain_len, &len);
	in = sample_fd(packed, len);
	d.in_fd = in;
	d.in_length = len;
	memcpy(magic, packed, sizeof(magic));
	ck_assert_int_eq(decompress_run(&d, decompress_detect(magic, sizeof(magic)), &e), -EFBIG);
	ck_assert_ptr_nonnull(strstr(e.msg, "limit of 1M"));
	ck_assert_uint_le(d.written, 1 << 20);
	(void)munmap(plain, plain_len);
}
END_TEST

START_TEST(what_is_no_kernel_is_refused)
{
	_cleanup_free_ uint8_t *elf = sample_elf(ET_EXEC, 4096);
	_cleanup_free_ uint8_t *bz = NULL;
	Elf64_Ehdr h;
	Elf64_Phdr ph;
	size_t len;

	memcpy(&h, elf, sizeof(h));
	memcpy(&ph, elf + sizeof(h), sizeof(ph));
#define WITH(field, value, words)                                                                  \
	do {                                                                                       \
		Elf64_Ehdr h0 = h;                                                                 \
		Elf64_Phdr ph0 = ph;                                                               \
		field = (value);                                                                   \
		memcpy(elf, &h, sizeof(h));                                                        \
		memcpy(elf + sizeof(h), &ph, sizeof(ph));                                          \
		refused(elf, 4096, ENOEXEC, words);                                                \
		h = h0;                                                                            \
		ph = ph0;                                                                          \
	} while (0)
	WITH(h.e_machine, EM_AARCH64, "machine 183");
	WITH(h.e_ident[EI_CLASS], ELFCLASS32, "64-bit");
	WITH(h.e_ident[EI_DATA], ELFDATA2MSB, "little-endian");
	WITH(h.e_type, ET_REL, "type 1");
	WITH(h.e_phnum, 0, "0 program headers");
	WITH(h.e_phnum, 65535, "65535 program headers");
	WITH(h.e_phentsize, 32, "of 32 bytes");
	WITH(h.e_phoff, 4090, "cut short");
	WITH(h.e_phoff, UINT64_MAX - 8, "cut short");
	WITH(ph.p_offset, UINT64_MAX, "cut short");
	WITH(ph.p_filesz, 4097, "cut short");
	WITH(ph.p_memsz, 1, "makes no sense");
	WITH(ph.p_paddr, UINT64_MAX - 5, "makes no sense");
	WITH(ph.p_type, PT_NOTE, "nothing to load");
#undef WITH
	refused("hello, world", 12, ENOEXEC, "68 65 6c 6c");
	/* A good wrapping of something else. */
	bz = make_bzimage(SAMPLE_ZSTD,
		"not an ELF file, but long enough to be one, "
		"if length were all that it took",
		75, &len);
	refused(bz, len, ENOEXEC, "not a kernel");
}
END_TEST

START_TEST(hostile_headers_are_refused)
{
	_cleanup_free_ uint8_t *elf = sample_elf(ET_EXEC, 4096);
	_cleanup_free_ uint8_t *bz = NULL;
	const uint32_t huge = UINT32_MAX;
	const uint32_t zero = 0;
	uint8_t saved[0x250];
	size_t len;

	bz = make_bzimage(SAMPLE_GZIP, elf, 4096, &len);
	memcpy(saved, bz, sizeof(saved));
	memcpy(bz + 0x248, &huge, 4);
	refused(bz, len, EBADMSG, "cut short");
	memcpy(bz + 0x24c, &huge, 4);
	refused(bz, len, EBADMSG, "cut short");
	memcpy(bz, saved, sizeof(saved));
	memcpy(bz + 0x24c, &zero, 4);
	refused(bz, len, EBADMSG, "without a payload");
	memcpy(bz, saved, sizeof(saved));
	bz[0x1f1] = 255;
	refused(bz, len, EBADMSG, "cut short");
	memcpy(bz, saved, sizeof(saved));
	bz[0x206] = 7;
	refused(bz, len, ENOEXEC, "not a kernel");
	memcpy(bz, saved, sizeof(saved));
	bz[0x211] = 0;
	refused(bz, len, ENOEXEC, "not a kernel");
}
END_TEST

START_TEST(what_is_no_file_is_refused)
{
	_cleanup_close_ int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct digest d;

	ck_assert_int_eq(import_kernel(&ctx, dir, "k", &d, &e), -EINVAL);
	ck_assert_int_eq(import_kernel(&ctx, null, "k", &d, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "plain file"));
}
END_TEST

/* The limit on a file's size stands in for a full disk: the write fails half-way. */
START_TEST(failed_write_leaves_nothing)
{
	struct rlimit small = { .rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY };
	struct rlimit old;
	_cleanup_free_ uint8_t *elf = sample_elf(ET_EXEC, ELF_LEN);
	_cleanup_free_ uint8_t *bz = NULL;
	_cleanup_close_ int fd = -1;
	struct digest d;
	size_t len;
	int r;

	bz = make_bzimage((enum sample_pack)_i, elf, ELF_LEN, &len);
	fd = sample_fd(bz, len);
	ck_assert_ptr_ne(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	r = import_kernel(&ctx, fd, "k", &d, &e);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	ck_assert_int_eq(r, -EFBIG);
	ck_assert_ptr_nonnull(strstr(e.msg, "writing"));
	ck_assert_uint_eq(sample_count(ctx.store_dirfd), 0);
}
END_TEST

static void count_progress(void *user, const char *what, double fraction)
{
	double *last = user;

	ck_assert_ptr_nonnull(what);
	ck_assert(fraction <= 1.0);
	if (fraction >= 0) {
		ck_assert(fraction >= *last);
		*last = fraction;
	}
}

START_TEST(progress_goes_from_0_to_1)
{
	_cleanup_free_ uint8_t *elf = sample_elf(ET_EXEC, ELF_LEN);
	_cleanup_free_ uint8_t *bz = NULL;
	struct digest d;
	double last = 0;
	size_t len;

	ctx.progress = count_progress;
	ctx.user = &last;
	bz = make_bzimage((enum sample_pack)_i, elf, ELF_LEN, &len);
	ck_assert_int_eq(import(bz, len, &d), 0);
	ck_assert(last > 0.99);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("import");
	TCase *t = tcase_create("kernel");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, bzimage_of_each_method, SAMPLE_GZIP, SAMPLE_LZ4 + 1);
	tcase_add_loop_test(t, cut_bzimage_is_refused, SAMPLE_GZIP, SAMPLE_LZ4 + 1);
	tcase_add_loop_test(t, cut_payload_is_refused, SAMPLE_GZIP, SAMPLE_LZ4 + 1);
	tcase_add_loop_test(t, changed_payload_is_refused, SAMPLE_GZIP, SAMPLE_LZ4 + 1);
	tcase_add_loop_test(t, size_that_does_not_match_is_refused, SAMPLE_GZIP, SAMPLE_LZ4 + 1);
	tcase_add_loop_test(t, bomb_is_refused, SAMPLE_GZIP, SAMPLE_LZ4 + 1);
	tcase_add_loop_test(t, failed_write_leaves_nothing, SAMPLE_GZIP, SAMPLE_LZ4 + 1);
	tcase_add_loop_test(t, progress_goes_from_0_to_1, SAMPLE_GZIP, SAMPLE_LZ4 + 1);
	tcase_add_test(t, lz4_of_many_blocks);
	tcase_add_test(t, other_methods_are_refused_by_name);
	tcase_add_test(t, what_is_no_kernel_is_refused);
	tcase_add_test(t, hostile_headers_are_refused);
	tcase_add_test(t, what_is_no_file_is_refused);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
