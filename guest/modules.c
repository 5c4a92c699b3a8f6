#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <base/log.h>

#define LIST_MAX 65536u

static void module_load(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		log_warn("module %s: %s", path, strerror(errno));
	else if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
		log_warn("module %s: %s", path, strerror(errno));
}

int modules_load(const char *list, struct kerr *e)
{
	_cleanup_close_ int fd = open(list, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	char *save = NULL;
	size_t len;
	int r;

	if (fd < 0)
		return errno == ENOENT ? 0 : kerr_errno(e, errno, "%s", list);
	r = io_read_all(fd, LIST_MAX, list, &text, &len, e);
	if (r < 0)
		return r;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		module_load(line);
	return 0;
}
