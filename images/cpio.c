#include "cpio.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <base/io.h>

#define CPIO_NAME_MAX 255u
#define CPIO_TRAILER  "TRAILER!!!"

static int put(struct cpio *c, const void *data, size_t len, struct kerr *e)
{
	int r = io_write_full(c->fd, data, len);

	if (r < 0)
		return kerr_errno(e, -r, "initramfs: writing");
	c->written += len;
	return 0;
}

static int pad(struct cpio *c, unsigned multiple, struct kerr *e)
{
	static const char zeros[512];
	size_t rest = c->written % multiple;

	return rest ? put(c, zeros, multiple - rest, e) : 0;
}

int cpio_add(struct cpio *c, const char *name, mode_t mode, dev_t rdev, const void *data,
	size_t len, struct kerr *e)
{
	bool trailer = strcmp(name, CPIO_TRAILER) == 0;
	size_t name_len = strlen(name) + 1;
	char head[111];
	int r;

	if (name_len > CPIO_NAME_MAX || len > UINT32_MAX)
		return kerr_set(e, E2BIG, "initramfs: %s is too large", name);
	(void)snprintf(head, sizeof(head),
		"070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		trailer ? 0u : ++c->ino, (unsigned)mode, 0u, 0u, S_ISDIR(mode) ? 2u : 1u, 0u,
		(unsigned)len, 0u, 0u, major(rdev), minor(rdev), (unsigned)name_len, 0u);
	r = put(c, head, sizeof(head) - 1, e);
	if (r == 0)
		r = put(c, name, name_len, e);
	if (r == 0)
		r = pad(c, 4, e);
	if (r == 0 && len > 0)
		r = put(c, data, len, e);
	if (r == 0)
		r = pad(c, 4, e);
	return r;
}

int cpio_finish(struct cpio *c, struct kerr *e)
{
	int r = cpio_add(c, CPIO_TRAILER, 0, 0, NULL, 0, e);

	return r < 0 ? r : pad(c, 512, e);
}
