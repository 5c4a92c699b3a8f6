#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "call.h"
#include "frames.h"
#include "safe.h"

struct receiver {
	struct frames *f;
	struct kerr *e;
	bool ended;
	int result; /* once it has ended: 0 or -errno */
};

static int take_end(struct receiver *v, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	_cleanup_free_ char *text = NULL;
	int code = 0;
	int r = frames_end(h, payload, &code, &text);

	if (r < 0)
		return frames_explain(r, "the copy", v->e);
	if (text)
		return kerr_set(v->e, EIO, "%s", text);
	return code == 0 ? 0 : kerr_set(v->e, EIO, "the guest failed with code %d", code);
}

/* The next piece of the archive: its length, 0 at the end (*ret is NULL then), -errno. */
static ssize_t next_piece(struct receiver *v, const void **ret)
{
	struct guest_frame_hdr h;
	uint8_t *payload;
	int r;

	*ret = NULL;
	while (!v->ended) {
		r = frames_wait(v->f, &h, &payload);
		if (r < 0) {
			v->ended = true;
			v->result = frames_explain(r, "the copy", v->e);
		} else if (h.type != GUEST_STDOUT) {
			v->ended = true;
			v->result = take_end(v, &h, payload);
		} else if (h.len > 0) {
			*ret = payload;
			return (ssize_t)h.len;
		}
	}
	return v->result;
}

static la_ssize_t read_archive(struct archive *a, void *user, const void **ret)
{
	struct receiver *v = user;
	ssize_t n = next_piece(v, ret);

	if (n < 0)
		archive_set_error(a, EIO, "%s", v->e->msg);
	return n;
}

/* What comes behind the archive, up to the guest's last word. */
static int drain(struct receiver *v)
{
	const void *rest;
	ssize_t n;

	while ((n = next_piece(v, &rest)) > 0)
		;
	return (int)n;
}

/* ---- unpacking ---- */

struct unpacker {
	struct receiver *v;
	const struct copy_path *src;
	const char *first; /* what the first part of names becomes; NULL: is left away */
	bool file_there;   /* the destination is a file: no directory may come */
	bool dir_needed;   /* its name ended in "/", and it is not there: a directory has to come */
	bool owners;
	bool any;
	struct archive *in, *disk;
};

static int fail(struct unpacker *u, struct archive *a, const char *name)
{
	if (u->v->ended && u->v->result < 0)
		return u->v->result;
	return kerr_set(u->v->e, EIO, "%s: %s", name, archive_error_string(a));
}

static void warn(const char *name)
{
	(void)fputs("kosvm cp: ", stderr);
	safe_print(stderr, name);
	(void)fputs(": left out: no file, directory or link\n", stderr);
}

/* The first member says what it is that comes. */
static int check_first(struct unpacker *u, bool is_dir)
{
	if (u->any)
		return 0;
	u->any = true;
	if (is_dir && u->file_there)
		return kerr_set(u->v->e, ENOTDIR,
			"%s is a directory and the destination a file: name a directory or what is "
			"not there yet",
			u->src->path);
	if (!is_dir && u->dir_needed)
		return kerr_set(u->v->e, ENOENT,
			"the destination ends in / and is not there: make the directory first");
	if (!is_dir && (u->src->directory || u->src->contents))
		return kerr_set(u->v->e, ENOTDIR, "%s: not a directory", u->src->path);
	return 0;
}

static int unpack_data(struct unpacker *u, const char *name)
{
	const void *data;
	int64_t offset;
	size_t len;
	int r;

	while ((r = archive_read_data_block(u->in, &data, &len, &offset)) == ARCHIVE_OK) {
		if (archive_write_data_block(u->disk, data, len, offset) < ARCHIVE_OK)
			return fail(u, u->disk, name);
	}
	return r == ARCHIVE_EOF ? 0 : fail(u, u->in, name);
}

static int unpack_entry(struct unpacker *u, struct archive_entry *entry)
{
	const char *told = archive_entry_pathname(entry);
	const char *link = archive_entry_hardlink(entry);
	_cleanup_free_ char *name = told ? copy_name_from(u->src, told, u->first) : NULL;
	_cleanup_free_ char *target = link ? copy_name_from(u->src, link, u->first) : NULL;
	mode_t type = archive_entry_filetype(entry);
	int r;

	if (!name || (link && (!target || !*target)))
		return kerr_set(u->v->e, EPROTO, "the guest sent a name that leads elsewhere: %s",
			name && link   ? link
				: told ? told
				       : "none");
	if (!link && type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK) {
		warn(name);
		return 0;
	}
	r = check_first(u, !link && type == AE_IFDIR);
	if (r < 0 || !*name)
		return r;
	archive_entry_set_pathname(entry, name);
	if (link)
		archive_entry_set_hardlink(entry, target);
	/* Nothing of a guest's runs here as somebody else. */
	archive_entry_set_perm(entry, archive_entry_perm(entry) & 01777);
	if (archive_write_header(u->disk, entry) != ARCHIVE_OK)
		return fail(u, u->disk, name);
	if (!link && type == AE_IFREG && archive_entry_size(entry) > 0)
		r = unpack_data(u, name);
	if (r == 0 && archive_write_finish_entry(u->disk) != ARCHIVE_OK)
		r = fail(u, u->disk, name);
	return r;
}

static int unpack_all(struct unpacker *u)
{
	struct archive_entry *entry;
	int r = 0;

	if (archive_read_open(u->in, u->v, NULL, read_archive, NULL) != ARCHIVE_OK)
		return fail(u, u->in, u->src->path);
	while (r == 0) {
		int got = archive_read_next_header(u->in, &entry);

		if (got == ARCHIVE_EOF)
			break;
		r = got == ARCHIVE_OK ? unpack_entry(u, entry) : fail(u, u->in, u->src->path);
	}
	if (r == 0 && archive_write_close(u->disk) != ARCHIVE_OK)
		r = fail(u, u->disk, u->src->path);
	if (r == 0)
		r = drain(u->v);
	if (r == 0 && !u->any)
		r = kerr_set(u->v->e, EPROTO, "the guest sent nothing");
	return r;
}

static int unpack(struct unpacker *u)
{
	int r;

	u->in = archive_read_new();
	u->disk = archive_write_disk_new();
	if (!u->in || !u->disk)
		abort();
	(void)archive_read_support_format_tar(u->in);
	(void)archive_write_disk_set_options(u->disk,
		(u->owners ? ARCHIVE_EXTRACT_OWNER : 0) | ARCHIVE_EXTRACT_PERM |
			ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
			ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS);
	r = unpack_all(u);
	(void)archive_write_free(u->disk);
	(void)archive_read_free(u->in);
	return r;
}

/* Where it goes, by the rules of docker cp; this process stands there afterwards. */
static int go_there(struct unpacker *u, const struct copy_path *dst, struct kerr *e)
{
	_cleanup_free_ char *parent = copy_path_parent(dst);
	struct stat st;
	int error = stat(dst->path, &st) < 0 ? errno : 0;
	const char *base = parent;

	if (error && error != ENOENT)
		return kerr_errno(e, error, "%s", dst->path);
	if (!error && S_ISDIR(st.st_mode)) {
		base = dst->path;
		u->first = u->src->contents ? NULL : copy_path_last(u->src);
	} else {
		if (!error && dst->directory)
			return kerr_errno(e, ENOTDIR, "%s/", dst->path);
		u->file_there = !error;
		u->dir_needed = error && dst->directory;
		u->first = copy_path_last(dst);
	}
	return chdir(base) < 0 ? kerr_errno(e, errno, "%s", base) : 0;
}

static int pass_stdout(struct receiver *v)
{
	const void *data;
	ssize_t n;

	while ((n = next_piece(v, &data)) > 0) {
		int r = io_write_full(STDOUT_FILENO, data, (size_t)n);

		if (r < 0)
			return kerr_errno(v->e, -r, "standard output");
	}
	return (int)n;
}

int copy_out(
	const struct copy_path *src, const struct copy_path *dst, unsigned flags, struct kerr *e)
{
	struct receiver v = { .e = e };
	struct unpacker u = { .v = &v, .src = src, .owners = flags & COPY_OWNERS };
	_cleanup_close_ int fd = -1;
	json_t *text = call_string("the path", src->path, e);
	int r;

	if (!text)
		return -EINVAL;
	r = call_stream(url_agent(src->agent, "copy"),
		json_pack("{s:o, s:s}", "path", text, "direction", "out"), &fd, e);
	if (r == 0 && !dst->stream)
		r = go_there(&u, dst, e);
	if (r < 0)
		return r;
	v.f = frames_new(fd);
	r = dst->stream ? pass_stdout(&v) : unpack(&u);
	frames_free(v.f);
	return r;
}
