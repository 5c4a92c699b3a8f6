#include <base/io.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>

int io_read_full(int fd, void *buf, size_t len)
{
	char *p = buf;

	while (len > 0) {
		ssize_t n = read(fd, p, len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			return -ENODATA;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_write_full(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_pread_full(int fd, void *buf, size_t len, uint64_t offset)
{
	char *p = buf;

	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)offset);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			return -ENODATA;
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int io_pwrite_full(int fd, const void *buf, size_t len, uint64_t offset)
{
	const char *p = buf;

	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)offset);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int io_read_all(
	int fd, size_t max, const char *what, char **ret_data, size_t *ret_len, struct kerr *e)
{
	_cleanup_free_ char *buf = NULL;
	size_t cap = 4096;
	size_t len = 0;

	buf = malloc(cap + 1);
	if (!buf)
		return kerr_errno(e, ENOMEM, "%s", what);
	for (;;) {
		ssize_t n;

		if (len == cap) {
			char *bigger;

			if (cap > max)
				break;
			cap *= 2;
			bigger = realloc(buf, cap + 1);
			if (!bigger)
				return kerr_errno(e, ENOMEM, "%s", what);
			buf = bigger;
		}
		n = read(fd, buf + len, cap - len);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return kerr_errno(e, errno, "%s: read", what);
		}
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			break;
	}
	if (len > max)
		return kerr_set(e, EFBIG, "%s: larger than the limit of %zu bytes", what, max);
	buf[len] = '\0';
	*ret_data = steal_ptr(buf);
	*ret_len = len;
	return 0;
}

int io_write_file_at(
	int dirfd, const char *name, const void *data, size_t len, mode_t mode, struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	char tmp[300];
	uint64_t tag;
	int r;

	if (getrandom(&tag, sizeof(tag), 0) != sizeof(tag))
		return kerr_errno(e, errno, "%s: getrandom", name);
	r = snprintf(tmp, sizeof(tmp), ".%s.%016llx.tmp", name, (unsigned long long)tag);
	if (r < 0 || (size_t)r >= sizeof(tmp))
		return kerr_set(e, ENAMETOOLONG, "%s: name is too long", name);
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return kerr_errno(e, errno, "%s: create", name);
	r = io_write_full(fd, data, len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dirfd, tmp, 0);
		return kerr_errno(e, -r, "%s: write", name);
	}
	if (fsync(dirfd) < 0)
		return kerr_errno(e, errno, "%s: fsync of its directory", name);
	return 0;
}

int io_set_nonblock(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}
