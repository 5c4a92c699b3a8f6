#include "memory.h"

#include <errno.h>
#include <sys/mman.h>

#include <wire/board.h>

#define HUGE_PAGE (2ULL << 20)

/*
 * Fresh memory at an address aligned as guest physical addresses are, so
 * that a huge page of the host is one of the guest: a stock kernel then
 * boots with some 40 second-level faults in place of thousands.
 */
static void *map_aligned(uint64_t len)
{
	uint64_t span = len + HUGE_PAGE;
	uint8_t *all = mmap(NULL, span, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t before;

	if (all == MAP_FAILED)
		return all;
	before = -(uint64_t)(uintptr_t)all & (HUGE_PAGE - 1);
	if (before > 0)
		(void)munmap(all, before);
	(void)munmap(all + before + len, span - before - len);
	return all + before;
}

static int map_region(struct gmem *m, gpa_t base, uint64_t len, struct kerr *e)
{
	void *host = map_aligned(len);
	int r;

	if (host == MAP_FAILED)
		return kerr_errno(e, errno,
			"cannot map %llu MiB of guest memory: give the agent less memory, or raise "
			"the limit on address space",
			(unsigned long long)(len >> 20));
	(void)madvise(host, len, MADV_DONTDUMP);
	(void)madvise(host, len, MADV_HUGEPAGE);
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
