#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>

/*
 * Guest physical memory, as the devices see it: a few regions of host
 * memory. The only way from a guest address to a pointer is gmem_at, and
 * it checks start, length and overflow. The guest may change what a
 * pointer leads to at any moment: copy first, then judge the copy.
 *
 * The table of regions is filled before any other thread starts and is
 * constant from then on; every call below is safe from any thread.
 */
typedef uint64_t gpa_t;

#define GMEM_MAX_REGIONS 4

struct gmem_region {
	gpa_t base;
	uint64_t len;
	uint8_t *host; /* owned by whoever mapped it */
};

struct gmem {
	struct gmem_region regions[GMEM_MAX_REGIONS];
	unsigned count;
};

/* Regions may not overlap or wrap. 0, -EINVAL or -ENOSPC. */
int gmem_add(struct gmem *m, gpa_t base, void *host, uint64_t len);

/*
 * Host address of [gpa, gpa + len), or NULL when any byte of it is not
 * memory of one region. len = 0 is allowed for an address inside memory.
 */
void *gmem_at(const struct gmem *m, gpa_t gpa, uint64_t len);

/* Checked copies: 0 or -EFAULT (then nothing was copied). */
int gmem_read(const struct gmem *m, gpa_t gpa, void *buf, size_t len);
int gmem_write(const struct gmem *m, gpa_t gpa, const void *buf, size_t len);
