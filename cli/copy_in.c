#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include <base/cleanup.h>

#include "call.h"
#include "frames.h"
#include "safe.h"

#define CHUNK 32768u

struct sender {
	struct frames *f;
	struct kerr *e;
	bool answered; /* the guest has said its last word */
	int code;
	char *text;
};

/* The guest's last word: 0 when it says that all is there. */
static int take_answer(struct sender *s)
{
	struct guest_frame_hdr h;
	uint8_t *payload;
	int r = frames_wait(s->f, &h, &payload);

	if (r == 0)
		r = frames_end(&h, payload, &s->code, &s->text);
	if (r < 0)
		return frames_explain(r, "the copy", s->e);
	s->answered = true;
	if (s->text)
		return kerr_set(s->e, EIO, "%s", s->text);
	return s->code == 0 ? 0 : kerr_set(s->e, EIO, "the guest failed with code %d", s->code);
}

/* Waits for room. A guest that has an answer already does not want the rest. */
static int send_part(struct sender *s, const void *data, size_t len)
{
	struct pollfd p = { .fd = s->f->fd, .events = POLLIN | POLLOUT };
	int r;

	while (poll(&p, 1, -1) < 0) {
		if (errno != EINTR)
			return kerr_errno(s->e, errno, "poll");
	}
	if (p.revents & POLLIN) {
		r = take_answer(s);
		return r < 0 ? r : kerr_set(s->e, EPROTO, "the guest ended before the copy did");
	}
	r = frames_send_raw(s->f, GUEST_STDIN, data, len);
	if (r == -EPIPE || r == -ECONNRESET) {
		/* It may have said why. */
		r = take_answer(s);
		return r < 0 ? r : kerr_set(s->e, EPROTO, "the guest ended before the copy did");
	}
	return r < 0 ? kerr_errno(s->e, -r, "stream") : 0;
}

static la_ssize_t write_archive(struct archive *a, void *user, const void *data, size_t len)
{
	struct sender *s = user;
	size_t n = len < CHUNK ? len : CHUNK;

	if (send_part(s, data, n) == 0)
		return (la_ssize_t)n;
	archive_set_error(a, EIO, "%s", s->e->msg);
	return -1;
}

/* ---- a tree of this machine as an archive ---- */

struct packer {
	struct archive *disk, *out;
	struct sender *s;
	const char *top;   /* the path that was opened */
	const char *first; /* what the first part of names shall be; NULL: leave it away */
	bool skip_top;
};

static int archive_fail(struct packer *p, struct archive *a, const char *what)
{
	/* What the stream met is said already. */
	if (p->s->e->code)
		return -p->s->e->code;
	return kerr_set(p->s->e, EIO, "%s: %s", what, archive_error_string(a));
}

static int write_zeros(struct packer *p, int64_t n)
{
	static const char zeros[CHUNK];

	while (n > 0) {
		size_t part = n < (int64_t)sizeof(zeros) ? (size_t)n : sizeof(zeros);

		if (archive_write_data(p->out, zeros, part) < 0)
			return -EIO;
		n -= (int64_t)part;
	}
	return 0;
}

/* The bytes of a file; holes are written as zeros, for the guest's tar knows none. */
static int pack_data(struct packer *p, const char *path)
{
	const void *data;
	int64_t offset, pos = 0;
	size_t len;
	int r;

	while ((r = archive_read_data_block(p->disk, &data, &len, &offset)) == ARCHIVE_OK) {
		if (write_zeros(p, offset - pos) < 0 || archive_write_data(p->out, data, len) < 0)
			return archive_fail(p, p->out, path);
		pos = offset + (int64_t)len;
	}
	return r == ARCHIVE_EOF ? 0 : archive_fail(p, p->disk, path);
}

static void warn(const char *path, const char *text)
{
	(void)fputs("kosvm cp: ", stderr);
	safe_print(stderr, path);
	(void)fprintf(stderr, ": %s\n", text);
}

static int pack_entry(struct packer *p, struct archive_entry *entry)
{
	_cleanup_free_ char *path = strdup(archive_entry_pathname(entry));
	_cleanup_free_ char *name = NULL;
	const char *below;
	mode_t type = archive_entry_filetype(entry);

	if (!path)
		abort();
	below = path + strlen(p->top);
	below += strspn(below, "/");
	if (!*below && p->skip_top)
		return 0;
	if (type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK) {
		warn(path, "left out: no file, directory or link");
		return 0;
	}
	if (asprintf(&name, "%s%s%s", p->first ? p->first : "", p->first && *below ? "/" : "",
		    below) < 0)
		abort();
	archive_entry_set_pathname(entry, name);
	archive_entry_set_hardlink(entry, NULL);
	archive_entry_sparse_clear(entry);
	if (archive_write_header(p->out, entry) < ARCHIVE_WARN)
		return archive_fail(p, p->out, path);
	if (type == AE_IFREG && archive_entry_size(entry) > 0)
		return pack_data(p, path);
	return 0;
}

static int pack_tree(struct packer *p)
{
	struct archive_entry *entry = archive_entry_new();
	int r = 0;

	while (r == 0) {
		int got = archive_read_next_header2(p->disk, entry);

		if (got == ARCHIVE_EOF)
			break;
		/* What cannot be read is an error: half a copy is none. */
		if (got != ARCHIVE_OK)
			r = archive_fail(p, p->disk, "read");
		else
			(void)archive_read_disk_descend(p->disk);
		if (r == 0)
			r = pack_entry(p, entry);
	}
	archive_entry_free(entry);
	return r;
}

static int pack(struct packer *p, bool follow)
{
	int r = 0;

	p->disk = archive_read_disk_new();
	p->out = archive_write_new();
	if (!p->disk || !p->out)
		abort();
	(void)(follow ? archive_read_disk_set_symlink_hybrid(p->disk)
		      : archive_read_disk_set_symlink_physical(p->disk));
	(void)archive_read_disk_set_behavior(p->disk,
		ARCHIVE_READDISK_NO_XATTR | ARCHIVE_READDISK_NO_ACL | ARCHIVE_READDISK_NO_FFLAGS);
	(void)archive_write_set_format_pax_restricted(p->out);
	(void)archive_write_set_bytes_per_block(p->out, (int)CHUNK);
	(void)archive_write_set_bytes_in_last_block(p->out, 1);
	if (archive_write_open(p->out, p->s, NULL, write_archive, NULL) != ARCHIVE_OK)
		r = archive_fail(p, p->out, "tar");
	else if (archive_read_disk_open(p->disk, p->top) != ARCHIVE_OK)
		r = archive_fail(p, p->disk, p->top);
	if (r == 0)
		r = pack_tree(p);
	if (r == 0 && archive_write_close(p->out) != ARCHIVE_OK)
		r = archive_fail(p, p->out, "tar");
	if (r < 0)
		(void)archive_write_fail(p->out);
	(void)archive_write_free(p->out);
	(void)archive_read_free(p->disk);
	return r;
}

static int pass_stdin(struct sender *s)
{
	char buf[CHUNK];

	for (;;) {
		ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kerr_errno(s->e, errno, "standard input");
		if (n == 0)
			return 0;
		r = send_part(s, buf, (size_t)n);
		if (r < 0)
			return r;
	}
}

/* What COPY_IN's PATH is, and what the names in the archive begin with. */
static char *plan(
	const struct copy_path *src, const struct copy_path *dst, bool is_dir, struct packer *p)
{
	char *path = NULL;

	if (src->stream)
		return asprintf(&path, "%s/", strcmp(dst->path, "/") == 0 ? "" : dst->path) < 0
			? NULL
			: path;
	p->top = src->path;
	if (is_dir && src->contents) {
		/* The names begin with the destination's own, so that it may be new or not. */
		p->first = *copy_path_last(dst) ? copy_path_last(dst) : NULL;
		p->skip_top = true;
		return copy_path_parent(dst);
	}
	p->first = copy_path_last(src);
	if (asprintf(&path, "%s%s", dst->path,
		    dst->directory && !is_dir && strcmp(dst->path, "/") != 0 ? "/" : "") < 0)
		return NULL;
	return path;
}

int copy_in(
	const struct copy_path *src, const struct copy_path *dst, unsigned flags, struct kerr *e)
{
	const bool follow = flags & COPY_FOLLOW;
	struct sender s = { .e = e };
	struct packer p = { .s = &s };
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *path = NULL;
	struct stat st = { 0 };
	json_t *text;
	int r;

	if (!src->stream &&
		(follow || src->directory ? stat(src->path, &st) : lstat(src->path, &st)) < 0)
		return kerr_errno(e, errno, "%s", src->path);
	if (!src->stream && src->directory && !S_ISDIR(st.st_mode))
		return kerr_errno(e, ENOTDIR, "%s/", src->path);
	path = plan(src, dst, S_ISDIR(st.st_mode), &p);
	if (!path)
		abort();
	text = call_string("the path", path, e);
	if (!text)
		return -EINVAL;
	r = call_stream(url_agent(dst->agent, "copy"),
		json_pack("{s:o, s:s, s:b}", "path", text, "direction", "in", "owners",
			(flags & COPY_OWNERS) != 0),
		&fd, e);
	if (r < 0)
		return r;
	s.f = frames_new(fd);
	r = src->stream ? pass_stdin(&s) : pack(&p, follow || src->directory);
	if (r == 0)
		r = frames_send_raw(s.f, GUEST_STDIN, NULL, 0);
	if (r == 0 || (r == -EPIPE && !s.answered))
		r = take_answer(&s);
	free(s.text);
	frames_free(s.f);
	return r;
}
