#include "usage.h"

#include <stdio.h>
#include <string.h>

#include <base/units.h>

#include "print.h"

double usage_cpu(const json_t *earlier, const json_t *stats)
{
	const json_t *s;
	size_t i;

	json_array_foreach(json_object_get(earlier, "stats"), i, s)
	{
		uint64_t t0 = cli_u64(s, "time_ns"), t1 = cli_u64(stats, "time_ns");
		uint64_t c0 = cli_u64(s, "vcpu_ns"), c1 = cli_u64(stats, "vcpu_ns");

		if (strcmp(cli_text(s, "id"), cli_text(stats, "id")) != 0)
			continue;
		/* Less than before: it was started again, or the clock was set. */
		return t1 > t0 && c1 >= c0 ? 100.0 * (double)(c1 - c0) / (double)(t1 - t0) : -1;
	}
	return -1;
}

static void pair(const json_t *o, const char *a, const char *b, char *buf, size_t len)
{
	char left[16];
	char right[16];

	units_format_size(cli_u64(o, a), left, sizeof(left));
	units_format_size(cli_u64(o, b), right, sizeof(right));
	(void)snprintf(buf, len, "%s / %s", left, right);
}

void usage_format(const json_t *stats, double cpu, struct usage_text *ret)
{
	if (cpu < 0)
		(void)snprintf(ret->cpu, sizeof(ret->cpu), "-");
	else
		(void)snprintf(ret->cpu, sizeof(ret->cpu), "%.1f%%", cpu < 1e6 ? cpu : 1e6);
	pair(stats, "memory_bytes", "memory_max", ret->memory, sizeof(ret->memory));
	pair(stats, "vsock_rx_bytes", "vsock_tx_bytes", ret->vsock, sizeof(ret->vsock));
	pair(stats, "blk_read_bytes", "blk_write_bytes", ret->block, sizeof(ret->block));
}
