#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bzimage.h"
#include "decompress.h"
#include "elf_check.h"

/*
 * What `kosvm image import` does with a stranger's kernel: the header, the
 * payload by whatever method it claims, the ELF that comes out. A second
 * way in treats the input as the payload itself, which saves the fuzzer
 * from having to find the header first.
 */
#define OUT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void unpack(int in, uint64_t offset, uint64_t length, const uint8_t *magic, size_t len)
{
	static int out = -1;
	struct kerr e = { 0 };
	struct decompress d = {
		.in_fd = in,
		.in_offset = offset,
		.in_length = length,
		.out_max = OUT_MAX,
		.what = "fuzz",
	};

	if (out < 0)
		out = memfd_create("out", MFD_CLOEXEC);
	if (ftruncate(out, 0) < 0 || lseek(out, 0, SEEK_SET) < 0)
		abort();
	d.out_fd = out;
	if (decompress_run(&d, decompress_detect(magic, len), &e) < 0) {
		if (e.code == 0 || e.msg[0] == '\0')
			abort();
		return;
	}
	if (d.written > OUT_MAX || d.consumed > length)
		abort();
	(void)elf_check_kernel(out, d.written, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int in = -1;
	struct kerr e = { 0 };
	struct bzimage bz;

	if (in < 0)
		in = memfd_create("in", MFD_CLOEXEC);
	if (ftruncate(in, 0) < 0 || pwrite(in, data, size, 0) != (ssize_t)size)
		abort();
	if (bzimage_parse(data, size, size, &bz, &e) == 0) {
		if (bz.payload_offset + bz.payload_length > size)
			abort();
		unpack(in, bz.payload_offset, bz.payload_length, data + bz.payload_offset,
			bz.payload_length);
	} else {
		unpack(in, 0, size, data, size);
		(void)elf_check_kernel(in, size, &e);
		(void)elf_check_static(data, size, &e);
	}
	return 0;
}
