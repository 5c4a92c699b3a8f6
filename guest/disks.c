#include "disks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>

#define POLL_FIRST_MS 1u
#define POLL_MAX_MS   20u

static bool disk_has_serial(const char *name, const char *serial)
{
	_cleanup_close_ int fd = -1;
	char path[300];
	char buf[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/sys/block/%s/serial", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (n < 0)
		return false;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return strcmp(buf, serial) == 0;
}

static bool disk_find(const char *serial, char ret[static DISK_PATH_MAX])
{
	DIR *dir = opendir("/sys/block");
	const struct dirent *d;
	bool found = false;

	while (dir && !found && (d = readdir(dir)) != NULL) {
		if (strncmp(d->d_name, "vd", 2) != 0 || strlen(d->d_name) > 16 ||
			!disk_has_serial(d->d_name, serial))
			continue;
		(void)snprintf(ret, DISK_PATH_MAX, "/dev/%.16s", d->d_name);
		found = access(ret, F_OK) == 0;
	}
	if (dir)
		(void)closedir(dir);
	return found;
}

int disk_wait(
	const char *serial, unsigned timeout_ms, char ret[static DISK_PATH_MAX], struct kerr *e)
{
	uint64_t end = clock_mono_ns() + timeout_ms * CLOCK_NS_PER_MS;
	unsigned ms = POLL_FIRST_MS;

	while (!disk_find(serial, ret)) {
		struct timespec ts = { .tv_nsec = (long)(ms * CLOCK_NS_PER_MS) };

		if (clock_mono_ns() >= end)
			return kerr_set(e, ENODEV,
				"no disk with serial \"%s\" appeared within %u ms", serial,
				timeout_ms);
		(void)nanosleep(&ts, NULL);
		ms = ms < POLL_MAX_MS ? ms * 2 : POLL_MAX_MS;
	}
	return 0;
}
