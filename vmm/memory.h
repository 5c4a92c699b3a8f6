#pragma once

#include <stdint.h>

#include <base/kerr.h>
#include <devices/gmem.h>

/*
 * Maps `bytes` of zeroed guest memory, up to BOARD_LOWMEM_END from 0 and
 * the rest from BOARD_HIGHMEM_BASE on, and puts it into m (empty before).
 * Nothing is reserved or touched: pages come as the guest uses them, and
 * none is ever in a core dump.
 */
int memory_map(struct gmem *m, uint64_t bytes, struct kerr *e);
void memory_unmap(struct gmem *m);
