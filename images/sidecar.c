#include "store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/hex.h>
#include <base/io.h>

/* The longest kind, a space, the longest label, a newline: with room to see that it is too long. */
#define SIDECAR_MAX 256u

static const char *const kind_names[] = {
	[IMAGE_KERNEL] = "kernel",
	[IMAGE_INITRAMFS] = "initramfs",
	[IMAGE_ROOTFS] = "rootfs",
};

const char *image_kind_name(enum image_kind kind)
{
	if ((size_t)kind >= array_size(kind_names) || !kind_names[kind])
		return "unknown";
	return kind_names[kind];
}

int image_kind_parse(const char *s, enum image_kind *ret)
{
	for (size_t i = 0; i < array_size(kind_names); i++) {
		if (kind_names[i] && strcmp(s, kind_names[i]) == 0) {
			*ret = (enum image_kind)i;
			return 0;
		}
	}
	return -EINVAL;
}

void store_name(const struct digest *d, char out[static STORE_NAME_LEN])
{
	hex_encode(d->bytes, DIGEST_LEN, out);
}

void store_sidecar_name(const struct digest *d, char out[static STORE_SIDECAR_LEN])
{
	store_name(d, out);
	memcpy(out + STORE_NAME_LEN - 1, ".kind", sizeof(".kind"));
}

static bool label_byte_ok(unsigned char c)
{
	return c > 0x20 && c < 0x7f && c != '/' && c != '"' && c != '\\' && c != '\'';
}

void label_sanitise(const char *label, char out[static 128])
{
	const char *end = label ? label + strlen(label) : "";
	const char *start;
	size_t n = 0;

	while (label && end > label && end[-1] == '/')
		end--;
	start = end;
	while (label && start > label && start[-1] != '/')
		start--;
	for (; start < end && n < 127; start++)
		out[n++] = label_byte_ok((unsigned char)*start) ? *start : '_';
	if (n == 0) {
		memcpy(out, "unnamed", sizeof("unnamed"));
		return;
	}
	out[n] = '\0';
}

int sidecar_write(
	int dirfd, const struct digest *d, enum image_kind kind, const char *label, struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	char name[STORE_SIDECAR_LEN];
	char line[SIDECAR_MAX];
	char clean[128];
	char tmp[64];
	int len;
	int r;

	label_sanitise(label, clean);
	store_sidecar_name(d, name);
	len = snprintf(line, sizeof(line), "%s %s\n", image_kind_name(kind), clean);
	r = store_tmp(dirfd, tmp, &fd, e);
	if (r < 0)
		return r;
	r = io_write_full(fd, line, (size_t)len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		store_abort(dirfd, tmp);
		return kerr_errno(e, -r, "store: writing %s", name);
	}
	return 0;
}

int sidecar_read(int dirfd, const struct digest *d, enum image_kind *ret_kind,
	char ret_label[static 128], struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	char name[STORE_SIDECAR_LEN];
	char clean[128];
	enum image_kind kind;
	char *label;
	size_t len;
	int r;

	store_sidecar_name(d, name);
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return kerr_errno(e, errno, "store: %s", name);
	r = io_read_all(fd, SIDECAR_MAX, name, &text, &len, e);
	if (r < 0)
		return r;
	label = memchr(text, ' ', len);
	if (!label || len < 2 || text[len - 1] != '\n' || strlen(text) != len)
		goto damaged;
	text[len - 1] = '\0';
	*label++ = '\0';
	if (image_kind_parse(text, &kind) < 0)
		goto damaged;
	label_sanitise(label, clean);
	if (strcmp(label, clean) != 0)
		goto damaged;
	*ret_kind = kind;
	memcpy(ret_label, clean, sizeof(clean));
	return 0;
damaged:
	return kerr_set(
		e, EBADMSG, "store: %s is damaged: remove the image and import it again", name);
}
