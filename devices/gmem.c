#include <devices/gmem.h>

#include <errno.h>
#include <string.h>

int gmem_add(struct gmem *m, gpa_t base, void *host, uint64_t len)
{
	gpa_t end;

	if (!host || !len || __builtin_add_overflow(base, len, &end))
		return -EINVAL;
	for (unsigned i = 0; i < m->count; i++) {
		const struct gmem_region *r = &m->regions[i];

		if (base < r->base + r->len && r->base < end)
			return -EINVAL;
	}
	if (m->count >= GMEM_MAX_REGIONS)
		return -ENOSPC;
	m->regions[m->count++] = (struct gmem_region){ .base = base, .len = len, .host = host };
	return 0;
}

void *gmem_at(const struct gmem *m, gpa_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < m->count; i++) {
		const struct gmem_region *r = &m->regions[i];

		/* Differences only: base + len cannot wrap (gmem_add), gpa + len could. */
		if (gpa < r->base || gpa - r->base >= r->len)
			continue;
		if (len > r->len - (gpa - r->base))
			return NULL;
		return r->host + (gpa - r->base);
	}
	return NULL;
}

int gmem_read(const struct gmem *m, gpa_t gpa, void *buf, size_t len)
{
	const void *src = gmem_at(m, gpa, len);

	if (!src)
		return -EFAULT;
	memcpy(buf, src, len);
	return 0;
}

int gmem_write(const struct gmem *m, gpa_t gpa, const void *buf, size_t len)
{
	void *dst = gmem_at(m, gpa, len);

	if (!dst)
		return -EFAULT;
	memcpy(dst, buf, len);
	return 0;
}
