#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

/* kosvmd takes plain files only: what comes through a pipe is put into a nameless one. */
static int spool_stdin(struct kerr *e)
{
	const char *dir = getenv("TMPDIR");
	_cleanup_close_ int fd = -1;
	char buf[65536];
	ssize_t n;

	if (!dir || !*dir)
		dir = "/var/tmp";
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return kerr_errno(e, errno, "standard input: a temporary file in %s", dir);
	while ((n = read(STDIN_FILENO, buf, sizeof(buf))) != 0) {
		int r = n > 0 ? io_write_full(fd, buf, (size_t)n) : 0;

		if (n < 0 && errno != EINTR)
			return kerr_errno(e, errno, "standard input");
		if (r < 0)
			return kerr_errno(e, -r, "standard input: a temporary file in %s", dir);
	}
	if (lseek(fd, 0, SEEK_SET) < 0)
		return kerr_errno(e, errno, "standard input");
	return steal_fd(&fd);
}

int cli_open(const char *path, int flags, struct kerr *e)
{
	struct stat st;
	int fd;

	if (strcmp(path, "-") == 0) {
		if (fstat(STDIN_FILENO, &st) < 0)
			return kerr_errno(e, errno, "standard input");
		if (!S_ISREG(st.st_mode))
			return spool_stdin(e);
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	} else {
		fd = open(path, flags | O_CLOEXEC);
	}
	/* The reason has to fit behind the path. */
	return fd < 0 ? kerr_errno(e, errno, "%.160s%s", path, strlen(path) > 160 ? "…" : "") : fd;
}
