#pragma once

#include <stdint.h>

/*
 * A space of addresses (guest physical, or I/O ports) and who answers in
 * which window of it: a small table sorted by address. Filled before the
 * vCPUs start, constant from then on.
 */
#define BUS_MAX_WINDOWS 24

struct bus_window {
	uint64_t base;
	uint64_t len;
	void *user;
	/* vCPU threads; offset + len <= the window's len, len is 1 to 8. NULL: reads ones. */
	void (*read)(void *user, uint64_t offset, void *buf, uint32_t len);
	void (*write)(void *user, uint64_t offset, const void *buf, uint32_t len);
};

struct bus {
	unsigned count;
	struct bus_window windows[BUS_MAX_WINDOWS];
};

/* -EEXIST: overlaps another window; -EINVAL: empty or wraps; -ENOSPC. */
int bus_add(struct bus *b, const struct bus_window *w);

/* Where nobody answers, or an access leaves its window: all ones, and nothing. */
void bus_read(const struct bus *b, uint64_t addr, void *buf, uint32_t len);
void bus_write(const struct bus *b, uint64_t addr, const void *buf, uint32_t len);
