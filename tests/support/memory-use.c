#include "memory-use.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include <base/cleanup.h>

int memory_use_read(pid_t pid, uint64_t guest_bytes, struct memory_use *ret)
{
	_cleanup_fclose_ FILE *f = NULL;
	struct memory_use use = { 0 };
	char path[64], line[512];
	unsigned long long from, to, value;
	bool guest = false;

	(void)snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx ", &from, &to) == 2) {
			guest = to - from == guest_bytes;
			if (guest)
				use.guest_kib += (to - from) >> 10;
		} else if (sscanf(line, "Rss: %llu kB", &value) == 1) {
			*(guest ? &use.guest_rss_kib : &use.rss_kib) += value;
		} else if (!guest && sscanf(line, "Pss: %llu kB", &value) == 1) {
			use.pss_kib += value;
		}
	}
	if (use.guest_kib != guest_bytes >> 10)
		return -ESRCH;
	*ret = use;
	return 0;
}
