#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>

#define TREE_DEPTH 16

static int remove_at(int dirfd, const char *name, int depth, struct kerr *e)
{
	struct dirent *d;
	DIR *dir;
	int fd;
	int r = 0;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return kerr_errno(e, errno, "%s: unlink", name);
	if (depth == 0)
		return kerr_set(e, ELOOP, "%s: directories are nested too deeply", name);
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return kerr_errno(e, errno, "%s: open", name);
	dir = fdopendir(fd);
	if (!dir) {
		r = kerr_errno(e, errno, "%s: open", name);
		(void)close(fd);
		return r;
	}
	while (r == 0 && (d = readdir(dir))) {
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			r = remove_at(fd, d->d_name, depth - 1, e);
	}
	(void)closedir(dir);
	if (r == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0)
		r = kerr_errno(e, errno, "%s: rmdir", name);
	return r;
}

int tree_remove(int dirfd, const char *name, struct kerr *e)
{
	return remove_at(dirfd, name, TREE_DEPTH, e);
}
