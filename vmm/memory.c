#include "memory.h"

#include <errno.h>
#include <sys/mman.h>

#include <wire/board.h>

static int map_region(struct gmem *m, gpa_t base, uint64_t len, struct kerr *e)
{
	void *host = mmap(NULL, len, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int r;

	if (host == MAP_FAILED)
		return kerr_errno(e, errno,
			"cannot map %llu MiB of guest memory: give the agent less memory, or raise "
			"the limit on address space",
			(unsigned long long)(len >> 20));
	(void)madvise(host, len, MADV_DONTDUMP);
	r = gmem_add(m, base, host, len);
	if (r < 0) {
		(void)munmap(host, len);
		return kerr_errno(e, -r, "guest memory at 0x%llx", (unsigned long long)base);
	}
	return 0;
}

int memory_map(struct gmem *m, uint64_t bytes, struct kerr *e)
{
	uint64_t low = bytes < BOARD_LOWMEM_END ? bytes : BOARD_LOWMEM_END;
	int r = map_region(m, 0, low, e);

	if (r == 0 && bytes > low)
		r = map_region(m, BOARD_HIGHMEM_BASE, bytes - low, e);
	if (r < 0)
		memory_unmap(m);
	return r;
}

void memory_unmap(struct gmem *m)
{
	for (unsigned i = 0; i < m->count; i++)
		(void)munmap(m->regions[i].host, m->regions[i].len);
	m->count = 0;
}
