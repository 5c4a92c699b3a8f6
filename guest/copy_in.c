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

#define DIRS_MAX 16384u /* whose times are set again in the end */

struct dir_time {
	char *name;
	int64_t mtime;
};

struct in {
	const struct copy_request *q;
	struct tar_reader reader;
	int fd;
	int base;        /* names are below it */
	const char *top; /* what the first part of each name becomes; NULL: stays */
	char was[256];   /* the first part that became it */
	struct tar_entry entry;
	char name[TAR_NAME_MAX]; /* the entry's, clean and renamed */
	char link[TAR_NAME_MAX];
	struct dir_time *dirs;
	size_t n_dirs;
	uint8_t data[65536];
	struct kerr *e;
};

static ssize_t read_stream(void *user, void *buf, size_t len)
{
	const struct in *in = user;
	ssize_t n;

	do
		n = read(in->fd, buf, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int refuse(struct in *in, int code, const char *why)
{
	return kerr_set(in->e, code, "%.200s: %s", in->entry.name, why);
}

static int fail(struct in *in)
{
	return kerr_errno(in->e, errno, "%.200s", in->entry.name);
}

/*
 * A name of the stream without ".", empty parts and a slash at its end, and
 * renamed. One that leads out is refused. "" is the base itself.
 */
static int clean_name(struct in *in, const char *raw, char *ret)
{
	size_t at = 0;
	bool first = true;

	if (raw[0] == '/')
		return refuse(in, EPROTO, "an absolute name in the stream");
	while (*raw) {
		size_t n = strcspn(raw, "/");
		const char *part = raw;

		raw += n + (raw[n] == '/');
		if (n == 0 || (n == 1 && part[0] == '.'))
			continue;
		if (n == 2 && part[0] == '.' && part[1] == '.')
			return refuse(in, EPROTO, "a name with .. in the stream");
		if (n > 255)
			return refuse(in, ENAMETOOLONG, "a part of the name is too long");
		if (first && in->top) {
			if (!in->was[0])
				memcpy(in->was, part, n);
			if (strlen(in->was) != n || memcmp(in->was, part, n) != 0)
				return refuse(in, ENOTDIR,
					"there is more than one thing to copy, and the path is no directory");
			part = in->top;
			n = strlen(part);
		}
		if (at + n + 2 > TAR_NAME_MAX)
			return refuse(in, ENAMETOOLONG, "the name is too long");
		if (!first)
			ret[at++] = '/';
		memcpy(ret + at, part, n);
		at += n;
		first = false;
	}
	ret[at] = '\0';
	if (first && in->top)
		return refuse(in, ENOTDIR, "the content of a directory needs a directory to go to");
	return 0;
}

/*
 * The directory an entry of that name goes to, made if it is not there; no
 * link is followed. *ret_leaf: the last part of name.
 */
static int open_parent(struct in *in, char *name, const char **ret_leaf)
{
	_cleanup_close_ int dir = fcntl(in->base, F_DUPFD_CLOEXEC, 3);
	char *part = name;
	char *slash;

	if (dir < 0)
		return fail(in);
	while ((slash = strchr(part, '/')) != NULL) {
		int next;

		*slash = '\0';
		if (mkdirat(dir, part, 0755) < 0 && errno != EEXIST) {
			*slash = '/';
			return fail(in);
		}
		next = openat(dir, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		*slash = '/';
		if (next < 0)
			return errno == ENOTDIR || errno == ELOOP
				? refuse(in, ENOTDIR,
					  "something that is no directory is in the way")
				: fail(in);
		close_fd(&dir);
		dir = next;
		part = slash + 1;
	}
	*ret_leaf = part;
	return steal_fd(&dir);
}

static uid_t uid_of(const struct in *in)
{
	return in->q->owners ? in->entry.uid : in->q->uid;
}

static gid_t gid_of(const struct in *in)
{
	return in->q->owners ? in->entry.gid : in->q->gid;
}

/* Nobody becomes somebody else by what was copied, unless owners are kept. */
static mode_t mode_of(const struct in *in)
{
	return in->entry.mode & (in->q->owners ? 07777 : 01777);
}

static const struct timespec *times_of(int64_t mtime, struct timespec ret[static 2])
{
	ret[0] = (struct timespec){ .tv_nsec = UTIME_OMIT };
	ret[1] = (struct timespec){ .tv_sec = (time_t)mtime };
	return ret;
}

/* The owner first: a change of it takes bits of the mode away. */
static int finish_fd(struct in *in, int fd)
{
	struct timespec ts[2];

	if (fchown(fd, uid_of(in), gid_of(in)) < 0 || fchmod(fd, mode_of(in)) < 0 ||
		futimens(fd, times_of(in->entry.mtime, ts)) < 0)
		return fail(in);
	return 0;
}

/* What is there and no directory makes room. */
static int make_room(struct in *in, int dir, const char *leaf)
{
	if (unlinkat(dir, leaf, 0) == 0 || errno == ENOENT)
		return 0;
	return errno == EISDIR ? refuse(in, EISDIR, "a directory is in the way") : fail(in);
}

static int put_file(struct in *in, int dir, const char *leaf)
{
	_cleanup_close_ int fd = -1;
	ssize_t n;
	int r = make_room(in, dir, leaf);

	if (r < 0)
		return r;
	fd = openat(dir, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(in);
	while ((n = tar_data(&in->reader, in->data, sizeof(in->data))) > 0) {
		r = io_write_full(fd, in->data, (size_t)n);
		if (r < 0)
			return kerr_errno(in->e, -r, "%.200s", in->entry.name);
	}
	if (n < 0)
		return refuse(in, EPROTO, "the tar stream was cut short");
	return finish_fd(in, fd);
}

/* Files to come change its time: it is set in the end, as far as we remember. */
static void remember(struct in *in)
{
	struct dir_time *d;

	if (in->n_dirs >= DIRS_MAX)
		return;
	if ((in->n_dirs & (in->n_dirs - 1)) == 0) {
		size_t room = in->n_dirs ? in->n_dirs * 2 : 1;

		d = realloc(in->dirs, room * sizeof(*d));
		if (!d)
			return;
		in->dirs = d;
	}
	d = &in->dirs[in->n_dirs];
	d->mtime = in->entry.mtime;
	d->name = strdup(in->name);
	in->n_dirs += d->name != NULL;
}

/*
 * Whether fd is a directory of ours with nothing in it, as one is that was
 * just made: the agent may have put another one in its place, which is not
 * to become the agent's.
 */
static bool is_fresh(int fd)
{
	_cleanup_close_ int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = own < 0 ? NULL : fdopendir(own);
	const struct dirent *entry;
	struct stat st;
	bool fresh = d && fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
		(st.st_mode & 07777 & ~(mode_t)S_ISGID) == 0700;

	if (!d)
		return false;
	(void)steal_fd(&own);
	while (fresh && (entry = readdir(d)) != NULL)
		fresh = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	(void)closedir(d);
	return fresh;
}

static int put_dir(struct in *in, int dir, const char *leaf)
{
	_cleanup_close_ int fd = -1;
	bool made = mkdirat(dir, leaf, 0700) == 0;

	if (!made && errno != EEXIST)
		return fail(in);
	fd = openat(dir, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOTDIR || errno == ELOOP
			? refuse(in, ENOTDIR, "something that is no directory is in the way")
			: fail(in);
	if (!made || !is_fresh(fd))
		return 0; /* keeps its owner, mode and time */
	remember(in);
	return finish_fd(in, fd);
}

static int put_symlink(struct in *in, int dir, const char *leaf)
{
	_cleanup_close_ int fd = -1;
	struct timespec ts[2];
	struct stat st;
	int r = make_room(in, dir, leaf);

	if (r < 0)
		return r;
	if (symlinkat(in->entry.link, dir, leaf) < 0)
		return fail(in);
	/* By a descriptor: what the agent put in its place is no link, and does not become its. */
	fd = openat(dir, leaf, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(in);
	if (!S_ISLNK(st.st_mode))
		return 0;
	if (fchownat(fd, "", uid_of(in), gid_of(in), AT_EMPTY_PATH) < 0)
		return fail(in);
	(void)utimensat(dir, leaf, times_of(in->entry.mtime, ts), AT_SYMLINK_NOFOLLOW);
	return 0;
}

/* To a file of the same stream; where it stands now it may be another one, but never outside. */
static int put_hardlink(struct in *in, int dir, const char *leaf)
{
	_cleanup_close_ int from = -1;
	const char *from_leaf = "";
	struct stat st;
	int r = clean_name(in, in->entry.link, in->link);

	if (r < 0)
		return r;
	from = open_parent(in, in->link, &from_leaf);
	if (from < 0)
		return from;
	if (fstatat(from, from_leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(in);
	if (!S_ISREG(st.st_mode))
		return refuse(in, EPROTO, "a hard link to what is no file");
	r = make_room(in, dir, leaf);
	if (r == 0 && linkat(from, from_leaf, dir, leaf, 0) < 0)
		r = fail(in);
	return r;
}

static int put_entry(struct in *in)
{
	_cleanup_close_ int dir = -1;
	const char *leaf = "";
	int r = clean_name(in, in->entry.name, in->name);

	if (r < 0)
		return r;
	if (!in->name[0]) /* "./": the base is there already, and stays as it is */
		return in->entry.type == TAR_DIR ? 0 : refuse(in, EPROTO, "no name");
	dir = open_parent(in, in->name, &leaf);
	if (dir < 0)
		return dir;
	switch (in->entry.type) {
	case TAR_DIR:
		return put_dir(in, dir, leaf);
	case TAR_SYMLINK:
		return put_symlink(in, dir, leaf);
	case TAR_HARDLINK:
		return put_hardlink(in, dir, leaf);
	default:
		return put_file(in, dir, leaf);
	}
}

static void set_times(struct in *in)
{
	in->e = NULL; /* the first fault is the one to tell */
	while (in->n_dirs > 0) {
		struct dir_time *d = &in->dirs[--in->n_dirs];
		_cleanup_close_ int dir = -1;
		struct timespec ts[2];
		const char *leaf = "";

		dir = open_parent(in, d->name, &leaf);
		if (dir >= 0 && leaf)
			(void)utimensat(dir, leaf, times_of(d->mtime, ts), AT_SYMLINK_NOFOLLOW);
		free(d->name);
	}
	free(in->dirs);
}

/* Finds the base: the path itself, or the directory it is to be made in. */
static int open_base(struct in *in, char *path)
{
	size_t len = strlen(path);
	char *slash;

	in->base = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (in->base >= 0)
		return 0;
	if ((errno != ENOENT && errno != ENOTDIR) || path[len - 1] == '/')
		return kerr_errno(in->e, errno, "%.200s", path);
	slash = strrchr(path, '/');
	in->top = slash + 1;
	if (strcmp(in->top, ".") == 0 || strcmp(in->top, "..") == 0 || strlen(in->top) > 255)
		return kerr_errno(in->e, ENOENT, "%.200s", path);
	*slash = '\0';
	in->base = open(slash == path ? "/" : path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return in->base < 0 ? kerr_errno(in->e, errno, "%.200s", slash == path ? "/" : path) : 0;
}

static int take_all(struct in *in)
{
	int r;

	while ((r = tar_next(&in->reader, &in->entry, in->e)) > 0) {
		r = put_entry(in);
		if (r < 0)
			break;
	}
	return r;
}

/* What pads the stream to its end, so that its writer need not fail. */
static void read_rest(struct in *in)
{
	while (read_stream(in, in->data, sizeof(in->data)) > 0)
		;
}

int copy_in(const struct copy_request *q, int fd, struct kerr *e)
{
	_cleanup_free_ struct in *in = calloc(1, sizeof(*in));
	_cleanup_free_ char *path = strdup(q->path);
	int r;

	if (!in || !path)
		return kerr_errno(e, ENOMEM, "copy");
	in->q = q;
	in->fd = fd;
	in->e = e;
	in->base = -1;
	in->reader = (struct tar_reader){ .read = read_stream, .user = in };
	r = open_base(in, path);
	if (r == 0)
		r = take_all(in);
	set_times(in);
	if (r == 0)
		read_rest(in);
	close_fd(&in->base);
	return r;
}
