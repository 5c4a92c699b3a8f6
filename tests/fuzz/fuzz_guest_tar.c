/*
 * A hostile tar stream, as kosvm-init reads it: any bytes, in pieces of any
 * size. The first byte says how long the pieces are. What was read is
 * written again and read back the same.
 */
#include <stdlib.h>
#include <string.h>

#include "tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct stream {
	const uint8_t *data;
	size_t len, piece;
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static ssize_t read_stream(void *user, void *buf, size_t len)
{
	struct stream *s = user;

	len = len < s->piece ? len : s->piece;
	len = len < s->len ? len : s->len;
	if (len)
		memcpy(buf, s->data, len);
	s->data += len;
	s->len -= len;
	return (ssize_t)len;
}

/* An entry written by us is read as it was. */
static void again(const struct tar_entry *t)
{
	static uint8_t buf[TAR_HEADERS_MAX];
	static struct tar_entry back;
	struct stream s = { .data = buf, .len = tar_encode(t, buf), .piece = 1000 };
	struct tar_reader r = { .read = read_stream, .user = &s };

	must(s.len <= sizeof(buf) && s.len % TAR_BLOCK == 0);
	must(tar_next(&r, &back, NULL) == 1);
	must(s.len == 0);
	must(back.type == t->type && back.mode == t->mode && back.uid == t->uid);
	must(back.gid == t->gid && back.size == t->size && back.mtime == t->mtime);
	must(strcmp(back.name, t->name) == 0 && strcmp(back.link, t->link) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct tar_entry t;
	static uint8_t buf[4096];
	struct stream s = { .piece = len ? data[0] + 1u : 1 };
	struct tar_reader r = { .read = read_stream, .user = &s };
	struct kerr e = { 0 };

	if (len == 0)
		return 0;
	s.data = data + 1;
	s.len = len - 1;
	while (tar_next(&r, &t, &e) == 1) {
		must(strlen(t.name) < TAR_NAME_MAX && strlen(t.link) < TAR_NAME_MAX);
		must(t.size <= TAR_SIZE_MAX && t.mode <= 07777);
		must(r.left == t.size);
		again(&t);
		if (t.mode & 1) {
			while (tar_data(&r, buf, sizeof(buf)) > 0)
				;
		}
	}
	return 0;
}
