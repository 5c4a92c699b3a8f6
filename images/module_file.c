#include "modules_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "decompress.h"
#include "elf_check.h"

#define MODULE_MAX (64u << 20)

int module_file_name(const char *path, char *out, size_t len)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	const char *end = strstr(base, ".ko");
	int n;

	if (!end || end == base)
		return -EINVAL;
	n = snprintf(out, len, "%.*s.ko", (int)(end - base), base);
	return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}

/* The plain bytes of a packed module, in a file of memory. */
static int unpack(int fd, uint64_t size, enum decompress_method method, const char *path, int *ret,
	struct kerr *e)
{
	_cleanup_close_ int out = memfd_create("module", MFD_CLOEXEC);
	struct decompress d = {
		.in_fd = fd,
		.in_length = size,
		.out_fd = out,
		.out_max = MODULE_MAX,
		.what = path,
	};
	int r;

	if (out < 0)
		return kerr_errno(e, errno, "%s", path);
	r = decompress_run(&d, method, e);
	if (r < 0)
		return r;
	if (lseek(out, 0, SEEK_SET) < 0)
		return kerr_errno(e, errno, "%s", path);
	*ret = steal_fd(&out);
	return 0;
}

/* modules.order says .ko even where the installed file is packed. */
static int open_any(int dirfd, const char *path)
{
	static const char *const suffixes[] = { "", ".xz", ".zst", ".gz" };
	int fd = -ENOENT;

	for (size_t i = 0; fd == -ENOENT && i < array_size(suffixes); i++) {
		char name[512];
		int n = snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);

		if (n < 0 || (size_t)n >= sizeof(name))
			return -ENAMETOOLONG;
		fd = modules_open_beneath(dirfd, name);
	}
	return fd;
}

int modules_read(
	struct modules *m, const char *path, char **ret_data, size_t *ret_len, struct kerr *e)
{
	_cleanup_close_ int fd = open_any(modules_dirfd(m), path);
	_cleanup_close_ int plain = -1;
	_cleanup_free_ char *data = NULL;
	uint8_t magic[DECOMPRESS_MAGIC_LEN] = { 0 };
	enum decompress_method method;
	struct stat st;
	size_t len;
	ssize_t n;
	int r;

	if (fd < 0)
		return kerr_errno(e, -fd, "%s", path);
	if (fstat(fd, &st) < 0)
		return kerr_errno(e, errno, "%s", path);
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)MODULE_MAX)
		return kerr_set(e, EINVAL, "%s: expected a plain file of at most %u MiB", path,
			MODULE_MAX >> 20);
	n = pread(fd, magic, sizeof(magic), 0);
	if (n < 0)
		return kerr_errno(e, errno, "%s", path);
	method = decompress_detect(magic, (size_t)n);
	if (method != DECOMPRESS_NONE) {
		r = unpack(fd, (uint64_t)st.st_size, method, path, &plain, e);
		if (r < 0)
			return r;
	}
	r = io_read_all(plain >= 0 ? plain : fd, MODULE_MAX, path, &data, &len, e);
	if (r < 0)
		return r;
	r = elf_check_module(data, len, e);
	if (r < 0)
		return kerr_wrap(e, "%s: not a kernel module", path);
	*ret_data = steal_ptr(data);
	*ret_len = len;
	return 0;
}
