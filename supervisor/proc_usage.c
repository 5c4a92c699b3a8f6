#include "proc_usage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>

int proc_usage_read(pid_t pid, struct proc_usage *ret)
{
	_cleanup_close_ int fd = -1;
	char path[32];
	char buf[1024];
	unsigned long long utime;
	unsigned long long stime;
	unsigned long long start;
	long long rss;
	uint64_t tick = CLOCK_NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
	const char *p;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, buf, sizeof(buf) - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	/* The name may hold anything, but no ) comes behind it. */
	p = strrchr(buf, ')');
	if (!p ||
		sscanf(p + 1,
			" %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d "
			"%*d %llu %*u %lld",
			&utime, &stime, &start, &rss) != 4)
		return -EPROTO;
	*ret = (struct proc_usage){
		.cpu_ns = (utime + stime) * tick,
		.memory_bytes = (uint64_t)rss * (uint64_t)sysconf(_SC_PAGESIZE),
		.start_time = start,
	};
	return 0;
}

uint64_t proc_age_ns(uint64_t start_time)
{
	uint64_t tick = CLOCK_NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
	uint64_t start;
	uint64_t now;
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	now = (uint64_t)ts.tv_sec * CLOCK_NS_PER_S + (uint64_t)ts.tv_nsec;
	if (__builtin_mul_overflow(start_time, tick, &start) || start > now)
		return 0;
	return now - start;
}
