#include "store_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/hex.h>
#include <base/log.h>

#define STORE_MAX_ENTRIES 65536u

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

/* The image's file, open for reading and certain to be a plain file. */
static int image_open(int dirfd, const struct digest *d, int *ret_fd, struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	char text[DIGEST_TEXT_LEN + 1];
	char name[STORE_NAME_LEN];
	struct stat st;

	digest_format(d, text);
	store_name(d, name);
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return kerr_set(e, ENOENT,
			"no image %s in the store: see `kosvm image ls`, or import it with "
			"`kosvm image import`",
			text);
	if (fd < 0)
		return kerr_errno(e, errno, "image %s", text);
	if (fstat(fd, &st) < 0)
		return kerr_errno(e, errno, "image %s", text);
	if (!S_ISREG(st.st_mode))
		return kerr_set(e, EBADMSG, "image %s is not a plain file", text);
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* Whether the store holds these bytes already, unharmed and as this kind. 1, 0 or -errno. */
static int image_is_there(int dirfd, const struct digest *d, enum image_kind kind, struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	enum image_kind there;
	struct digest found;
	char label[128];
	int r;

	r = image_open(dirfd, d, &fd, NULL);
	if (r < 0)
		return r == -ENOENT || r == -EBADMSG ? 0 : kerr_errno(e, -r, "store: image");
	if (sidecar_read(dirfd, d, &there, label, NULL) == 0 && there != kind)
		return kerr_set(e, EEXIST, "the store has these bytes already, as %s \"%s\"",
			image_kind_name(there), label);
	r = image_digest_fd(fd, &found, NULL, e);
	if (r < 0)
		return r;
	return memcmp(&found, d, sizeof(found)) == 0;
}

/*
 * The rename of the image is the moment it exists. Its sidecar comes
 * first: one without an image is nothing, and store_clean takes it away.
 */
int store_commit(int dirfd, const char *tmp_name, int fd, enum image_kind kind, const char *label,
	struct digest *ret, struct kerr *e)
{
	_cleanup_close_ int lock = -1;
	char sidecar[STORE_SIDECAR_LEN];
	char name[STORE_NAME_LEN];
	struct digest d;
	int there;
	int r;

	if (fchmod(fd, 0444) < 0 || fsync(fd) < 0)
		return kerr_errno(e, errno, "store: writing the image");
	r = image_digest_fd(fd, &d, NULL, e);
	if (r < 0)
		return r;
	lock = store_lock(dirfd, e);
	if (lock < 0)
		return lock;
	there = image_is_there(dirfd, &d, kind, e);
	if (there < 0)
		return there;
	r = sidecar_write(dirfd, &d, kind, label, e);
	if (r < 0)
		return r;
	store_name(&d, name);
	if (there) {
		store_abort(dirfd, tmp_name);
	} else if (renameat(dirfd, tmp_name, dirfd, name) < 0) {
		r = kerr_errno(e, errno, "store: adding the image");
		store_sidecar_name(&d, sidecar);
		store_abort(dirfd, sidecar);
		return r;
	}
	if (fsync(lock) < 0)
		return kerr_errno(e, errno, "store: writing the directory");
	*ret = d;
	return 0;
}

int store_open_verified(int dirfd, const struct digest *d, enum image_kind kind, int *ret_fd,
	uint64_t *ret_size, struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	char text[DIGEST_TEXT_LEN + 1];
	char found_text[DIGEST_TEXT_LEN + 1];
	enum image_kind there;
	struct digest found;
	char label[128];
	uint64_t size;
	int r;

	digest_format(d, text);
	r = image_open(dirfd, d, &fd, e);
	if (r < 0)
		return r;
	r = sidecar_read(dirfd, d, &there, label, e);
	if (r == -ENOENT)
		return kerr_set(e, EBADMSG,
			"image %s: the file that says its kind is missing: remove the image and "
			"import it again",
			text);
	if (r < 0)
		return r;
	if (there != kind)
		return kerr_set(e, EINVAL, "image %s is of kind %s (\"%s\"): expected a %s", text,
			image_kind_name(there), label, image_kind_name(kind));
	r = image_digest_fd(fd, &found, &size, e);
	if (r < 0)
		return kerr_wrap(e, "image %s", text);
	if (memcmp(&found, d, sizeof(found)) != 0) {
		digest_format(&found, found_text);
		return kerr_set(e, EBADMSG,
			"%s \"%s\" was changed on disk: expected %s, found %s: import it again",
			image_kind_name(kind), label, text, found_text);
	}
	*ret_fd = steal_fd(&fd);
	if (ret_size)
		*ret_size = size;
	return 0;
}

static int entry_compare(const void *a, const void *b)
{
	const struct store_entry *x = a;
	const struct store_entry *y = b;
	int r;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	r = strcmp(x->label, y->label);
	return r ? r : memcmp(&x->digest, &y->digest, sizeof(x->digest));
}

/* Whether `name` is an image's; fills in *ret. A damaged sidecar hides it from lists only. */
static bool entry_read(int dirfd, const char *name, struct store_entry *ret)
{
	struct kerr why = { 0 };
	struct stat st;

	if (strlen(name) != STORE_NAME_LEN - 1 ||
		hex_decode(name, ret->digest.bytes, DIGEST_LEN) < 0)
		return false;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return false;
	ret->size = (uint64_t)st.st_size;
	if (sidecar_read(dirfd, &ret->digest, &ret->kind, ret->label, &why) < 0) {
		log_debug("%s", why.msg);
		return false;
	}
	return true;
}

int store_list(int dirfd, struct store_entry **ret, size_t *ret_count, struct kerr *e)
{
	_cleanup_free_ struct store_entry *list = NULL;
	_cleanup_(closedirp) DIR *dir = NULL;
	_cleanup_close_ int fd = -1;
	size_t count = 0;
	size_t cap = 16;

	list = calloc(cap, sizeof(*list));
	if (!list)
		return kerr_errno(e, ENOMEM, "store: list");
	fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return kerr_errno(e, errno, "store: open");
	dir = fdopendir(fd);
	if (!dir)
		return kerr_errno(e, errno, "store: open");
	(void)steal_fd(&fd);
	for (;;) {
		struct dirent *entry;

		errno = 0;
		entry = readdir(dir);
		if (!entry && errno)
			return kerr_errno(e, errno, "store: read the directory");
		if (!entry)
			break;
		if (count == cap) {
			struct store_entry *bigger;

			if (cap >= STORE_MAX_ENTRIES)
				return kerr_set(
					e, EFBIG, "store: more than %u images", STORE_MAX_ENTRIES);
			bigger = reallocarray(list, cap * 2, sizeof(*list));
			if (!bigger)
				return kerr_errno(e, ENOMEM, "store: list");
			list = bigger;
			cap *= 2;
		}
		if (entry_read(dirfd, entry->d_name, &list[count]))
			count++;
	}
	qsort(list, count, sizeof(*list), entry_compare);
	*ret = steal_ptr(list);
	*ret_count = count;
	return 0;
}

int store_remove(int dirfd, const struct digest *d, struct kerr *e)
{
	_cleanup_close_ int lock = -1;
	char text[DIGEST_TEXT_LEN + 1];
	char sidecar[STORE_SIDECAR_LEN];
	char name[STORE_NAME_LEN];

	digest_format(d, text);
	store_name(d, name);
	store_sidecar_name(d, sidecar);
	lock = store_lock(dirfd, e);
	if (lock < 0)
		return lock;
	if (unlinkat(dirfd, name, 0) < 0) {
		if (errno == ENOENT)
			return kerr_set(e, ENOENT, "no image %s in the store", text);
		return kerr_errno(e, errno, "image %s: remove", text);
	}
	if (unlinkat(dirfd, sidecar, 0) < 0 && errno != ENOENT)
		return kerr_errno(e, errno, "image %s: remove", text);
	if (fsync(lock) < 0)
		return kerr_errno(e, errno, "store: writing the directory");
	return 0;
}
