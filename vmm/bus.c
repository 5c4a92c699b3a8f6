#include "bus.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

int bus_add(struct bus *b, const struct bus_window *w)
{
	unsigned at = 0;
	uint64_t end;

	if (w->len == 0 || __builtin_add_overflow(w->base, w->len, &end))
		return -EINVAL;
	if (b->count == BUS_MAX_WINDOWS)
		return -ENOSPC;
	while (at < b->count && b->windows[at].base < w->base)
		at++;
	if (at > 0 && b->windows[at - 1].base + b->windows[at - 1].len > w->base)
		return -EEXIST;
	if (at < b->count && end > b->windows[at].base)
		return -EEXIST;
	memmove(&b->windows[at + 1], &b->windows[at], (b->count - at) * sizeof(*w));
	b->windows[at] = *w;
	b->count++;
	return 0;
}

static const struct bus_window *find(const struct bus *b, uint64_t addr, uint32_t len)
{
	unsigned lo = 0;
	unsigned hi = b->count;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		const struct bus_window *w = &b->windows[mid];

		if (addr < w->base)
			hi = mid;
		else if (addr - w->base >= w->len)
			lo = mid + 1;
		else
			return len <= w->len - (addr - w->base) ? w : NULL;
	}
	return NULL;
}

void bus_read(const struct bus *b, uint64_t addr, void *buf, uint32_t len)
{
	const struct bus_window *w = find(b, addr, len);

	if (w && w->read)
		w->read(w->user, addr - w->base, buf, len);
	else
		memset(buf, 0xff, len);
}

void bus_write(const struct bus *b, uint64_t addr, const void *buf, uint32_t len)
{
	const struct bus_window *w = find(b, addr, len);

	if (w && w->write)
		w->write(w->user, addr - w->base, buf, len);
}
