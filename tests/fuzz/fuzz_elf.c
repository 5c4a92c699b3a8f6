#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "x86_64/boot.h"

#define MEMORY (8u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A kernel file: whatever is accepted lies in guest memory, and nothing else was touched. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t *memory;
	static int fd = -1;
	struct gmem m = { 0 };
	struct boot_entry k;
	uint64_t announced = size;

	if (!memory) {
		memory = mmap(
			NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		fd = memfd_create("kernel", MFD_CLOEXEC);
		if (memory == MAP_FAILED || fd < 0)
			abort();
	}
	if (ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	/* The announced size may be wrong as well. */
	if (size > 0 && data[size - 1] == 0xff)
		announced += data[0];
	if (gmem_add(&m, 0, memory, MEMORY) < 0)
		abort();
	if (boot_load_kernel(&m, fd, announced, &k, NULL) == 0 &&
		(k.entry >= MEMORY || k.kernel_end > MEMORY || k.kernel_end <= 1u << 20))
		abort();
	return 0;
}
