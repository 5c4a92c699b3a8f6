#pragma once

#include <check.h>
#include <stdint.h>
#include <sys/mman.h>

#include <devices/gmem.h>
#include <wire/board.h>

/* Guest memory as the VMM maps it: sparse, so that 64 GiB cost what is touched. */
static inline struct gmem guest_memory_map(uint64_t bytes)
{
	uint64_t low = bytes < BOARD_LOWMEM_END ? bytes : BOARD_LOWMEM_END;
	struct gmem m = { 0 };
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_int_eq(gmem_add(&m, 0, p, low), 0);
	if (bytes > low)
		ck_assert_int_eq(
			gmem_add(&m, BOARD_HIGHMEM_BASE, (uint8_t *)p + low, bytes - low), 0);
	return m;
}

static inline void guest_memory_unmap(struct gmem *m)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < m->count; i++)
		bytes += m->regions[i].len;
	(void)munmap(m->regions[0].host, bytes);
	m->count = 0;
}
