#include "copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "tar.h"

#define DEPTH_MAX 256 /* directories in directories: descriptors are held open */

struct out {
	int fd;
	struct tar_entry entry;
	uint8_t headers[TAR_HEADERS_MAX];
	uint8_t data[65536];
	struct kerr *e;
};

static int send_headers(struct out *o)
{
	int r = io_write_full(o->fd, o->headers, tar_encode(&o->entry, o->headers));

	return r < 0 ? kerr_errno(o->e, -r, "writing the stream") : 0;
}

/* As many bytes as the header said, whatever the file has become meanwhile. */
static int send_data(struct out *o, int file)
{
	uint64_t left = o->entry.size;
	int r;

	while (left) {
		size_t want = left < sizeof(o->data) ? (size_t)left : sizeof(o->data);
		ssize_t n = read(file, o->data, want);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kerr_errno(o->e, errno, "%.200s", o->entry.name);
		if (n == 0) {
			memset(o->data, 0, want);
			n = (ssize_t)want;
		}
		r = io_write_full(o->fd, o->data, (size_t)n);
		if (r < 0)
			return kerr_errno(o->e, -r, "writing the stream");
		left -= (uint64_t)n;
	}
	memset(o->data, 0, TAR_BLOCK);
	r = io_write_full(o->fd, o->data, tar_padding(o->entry.size));
	return r < 0 ? kerr_errno(o->e, -r, "writing the stream") : 0;
}

static void describe(struct out *o, const struct stat *st, enum tar_type type)
{
	o->entry.type = type;
	o->entry.mode = st->st_mode & 07777;
	o->entry.uid = st->st_uid;
	o->entry.gid = st->st_gid;
	o->entry.mtime = st->st_mtime;
	o->entry.size = type == TAR_FILE ? (uint64_t)st->st_size : 0;
	o->entry.link[0] = '\0';
}

static int send_link(
	struct out *o, int dirfd, const char *name, const struct stat *st, unsigned depth)
{
	ssize_t n;

	describe(o, st, TAR_SYMLINK);
	n = readlinkat(dirfd, name, o->entry.link, sizeof(o->entry.link) - 1);
	if (n < 0 && (errno == ENOENT || errno == EINVAL) && depth)
		return 0; /* it was one when we looked */
	if (n < 0)
		return kerr_errno(o->e, errno, "%.200s", o->entry.name);
	o->entry.link[n] = '\0';
	return send_headers(o);
}

static int send_tree(struct out *o, int dirfd, const char *name, unsigned depth);

/* fd: of the directory, taken over. Its name is in o->entry.name. */
static int send_below(struct out *o, int fd, unsigned depth)
{
	size_t len = strlen(o->entry.name);
	DIR *dir = fdopendir(fd);
	const struct dirent *d;
	int r = 0;

	if (!dir) {
		r = kerr_errno(o->e, errno, "%.200s", o->entry.name);
		(void)close(fd);
		return r;
	}
	while (r == 0 && (errno = 0, d = readdir(dir)) != NULL) {
		size_t n = strlen(d->d_name);

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (len + 1 + n >= TAR_NAME_MAX) {
			r = kerr_set(o->e, ENAMETOOLONG, "%.200s/%.200s: the path is too long",
				o->entry.name, d->d_name);
			break;
		}
		o->entry.name[len] = '/';
		memcpy(o->entry.name + len + 1, d->d_name, n + 1);
		r = send_tree(o, fd, d->d_name, depth + 1);
		o->entry.name[len] = '\0';
	}
	if (r == 0 && errno)
		r = kerr_errno(o->e, errno, "%.200s", o->entry.name);
	(void)closedir(dir);
	return r;
}

/* fd is taken over. */
static int send_open(struct out *o, int fd, unsigned depth)
{
	_cleanup_close_ int owned = fd;
	size_t len = strlen(o->entry.name);
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return kerr_errno(o->e, errno, "%.200s", o->entry.name);
	if (S_ISDIR(st.st_mode)) {
		if (depth >= DEPTH_MAX || len + 1 >= TAR_NAME_MAX)
			return kerr_set(o->e, ENAMETOOLONG, "%.200s: more than %d directories deep",
				o->entry.name, DEPTH_MAX);
		describe(o, &st, TAR_DIR);
		memcpy(o->entry.name + len, "/", 2);
		r = send_headers(o);
		o->entry.name[len] = '\0';
		return r < 0 ? r : send_below(o, steal_fd(&owned), depth);
	}
	if (!S_ISREG(st.st_mode))
		return 0; /* it was one when we looked */
	describe(o, &st, TAR_FILE);
	r = send_headers(o);
	return r < 0 ? r : send_data(o, fd);
}

/* o->entry.name is its name in the stream. What is no file, directory or link is left out. */
static int send_tree(struct out *o, int dirfd, const char *name, unsigned depth)
{
	struct stat st;
	int fd;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT && depth ? 0 /* removed meanwhile */
						: kerr_errno(o->e, errno, "%.200s", o->entry.name);
	if (S_ISLNK(st.st_mode))
		return send_link(o, dirfd, name, &st, depth);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return depth ? 0
			     : kerr_set(o->e, EOPNOTSUPP,
				       "%.200s: only files, directories and links can be copied",
				       o->entry.name);
	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return (errno == ENOENT || errno == ELOOP) && depth
			? 0
			: kerr_errno(o->e, errno, "%.200s", o->entry.name);
	return send_open(o, fd, depth);
}

/* The last part of a path that is not empty: "" for the root. */
static const char *last_part(char *path)
{
	char *slash;
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		path[--len] = '\0';
	slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static int send_end(struct out *o)
{
	int r;

	memset(o->data, 0, 2 * TAR_BLOCK);
	r = io_write_full(o->fd, o->data, 2 * TAR_BLOCK);
	return r < 0 ? kerr_errno(o->e, -r, "writing the stream") : 0;
}

int copy_out(const struct copy_request *q, int fd, struct kerr *e)
{
	_cleanup_free_ struct out *o = calloc(1, sizeof(*o));
	_cleanup_free_ char *path = strdup(q->path);
	size_t len = strlen(q->path);
	const char *name;
	bool dots;
	int top;
	int r;

	if (!o || !path)
		return kerr_errno(e, ENOMEM, "copy");
	o->fd = fd;
	o->e = e;
	name = last_part(path);
	if (strlen(name) > 255)
		return kerr_errno(e, ENAMETOOLONG, "%.200s", q->path);
	/* Of a directory that is named by its own dots, the content is asked for. */
	dots = strcmp(name, "..") == 0 || strcmp(name, ".") == 0 || !*name;
	if (dots)
		name = ".";
	memcpy(o->entry.name, name, strlen(name) + 1);
	/* With a slash behind it a link is followed, as everywhere. */
	if (q->path[len - 1] == '/' || dots) {
		top = open(q->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = top < 0 ? kerr_errno(e, errno, "%.200s", q->path) : send_open(o, top, 0);
	} else {
		r = send_tree(o, AT_FDCWD, path, 0);
	}
	return r < 0 ? r : send_end(o);
}
