#include "import_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "cpio.h"
#include "elf_check.h"
#include "modules.h"

#define INIT_MAX         (64u << 20)
#define MODULES_MAX      64u
#define MODULE_ENTRY_MAX 96u

/*
 * What an agent's kernel must have to find its board, its disks and the
 * host. libcrc32c comes by dependency of erofs; the algorithm it asks for
 * when it is loaded does not, and some kernels have that as a module.
 */
static const struct module_wish import_modules[] = {
	{ "virtio_ring", true },
	{ "virtio", true },
	{ "virtio_mmio", true },
	{ "virtio_blk", true },
	{ "vsock", true },
	{ "vmw_vsock_virtio_transport_common", true },
	{ "vmw_vsock_virtio_transport", true },
	{ "crc32c_generic", false },
	{ "erofs", true },
	{ "overlay", false },
	{ "virtio_balloon", false },
	{ "virtio_rng", false },
};

struct initramfs_source {
	int init_fd;
	int modules_dirfd;
};

/* A file of the archive; `name` is "modules/…". */
struct archived {
	char name[MODULE_ENTRY_MAX];
	const char *path;
};

struct plan {
	struct archived files[MODULES_MAX];
	size_t count;
	char list[MODULES_MAX * (MODULE_ENTRY_MAX + 2)]; /* /modules.list */
	size_t list_len;
};

static int archived_compare(const void *a, const void *b)
{
	return strcmp(((const struct archived *)a)->name, ((const struct archived *)b)->name);
}

/* Loading order goes into the list, the archive itself is sorted. */
static int plan_make(struct plan *p, const char **paths, size_t count, struct kerr *e)
{
	if (count > MODULES_MAX)
		return kerr_set(e, EFBIG, "initramfs: %zu modules are needed, at most %u fit",
			count, MODULES_MAX);
	for (size_t i = 0; i < count; i++) {
		struct archived *a = &p->files[i];

		memcpy(a->name, "modules/", 8);
		if (module_file_name(paths[i], a->name + 8, sizeof(a->name) - 8) < 0)
			return kerr_set(e, EINVAL,
				"initramfs: %.128s: expected the name of a module", paths[i]);
		a->path = paths[i];
		p->list_len += (size_t)snprintf(
			p->list + p->list_len, sizeof(p->list) - p->list_len, "/%s\n", a->name);
	}
	p->count = count;
	qsort(p->files, count, sizeof(p->files[0]), archived_compare);
	return 0;
}

static int add_modules(const struct import_ctx *ctx, struct cpio *c, struct modules *m,
	const struct plan *p, struct kerr *e)
{
	for (size_t i = 0; i < p->count; i++) {
		_cleanup_free_ char *data = NULL;
		size_t len;
		int r;

		import_report(ctx, "packing modules", (double)i / (double)p->count);
		r = modules_read(m, p->files[i].path, &data, &len, e);
		if (r < 0)
			return kerr_wrap(e, "initramfs");
		r = cpio_add(c, p->files[i].name, S_IFREG | 0444, 0, data, len, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int make_initramfs(const struct import_ctx *ctx, int out_fd, void *arg, struct kerr *e)
{
	const struct initramfs_source *src = arg;
	_cleanup_(modules_freep) struct modules *m = NULL;
	_cleanup_free_ const char **paths = NULL;
	_cleanup_free_ struct plan *p = calloc(1, sizeof(*p));
	_cleanup_free_ char *init = NULL;
	struct cpio c = { .fd = out_fd };
	size_t init_len;
	size_t count;
	int r;

	if (!p)
		return kerr_errno(e, ENOMEM, "initramfs");
	r = io_read_all(src->init_fd, INIT_MAX, "kosvm-init", &init, &init_len, e);
	if (r < 0)
		return r;
	r = elf_check_static(init, init_len, e);
	if (r < 0)
		return kerr_wrap(e, "initramfs: init");
	r = modules_open(src->modules_dirfd, &m, e);
	if (r == 0)
		r = modules_resolve(
			m, import_modules, array_size(import_modules), &paths, &count, e);
	if (r == 0)
		r = plan_make(p, paths, count, e);
	if (r < 0)
		return r;
	/* The kernel opens /dev/console for init before anything is mounted. */
	r = cpio_add(&c, "dev", S_IFDIR | 0755, 0, NULL, 0, e);
	if (r == 0)
		r = cpio_add(&c, "dev/console", S_IFCHR | 0600, makedev(5, 1), NULL, 0, e);
	if (r == 0)
		r = cpio_add(&c, "init", S_IFREG | 0755, 0, init, init_len, e);
	if (r == 0)
		r = cpio_add(&c, "modules", S_IFDIR | 0755, 0, NULL, 0, e);
	if (r == 0)
		r = cpio_add(&c, "modules.list", S_IFREG | 0444, 0, p->list, p->list_len, e);
	if (r == 0)
		r = add_modules(ctx, &c, m, p, e);
	return r < 0 ? r : cpio_finish(&c, e);
}

int import_initramfs(const struct import_ctx *ctx, int init_fd, int modules_dirfd,
	const char *label, struct digest *ret, struct kerr *e)
{
	struct initramfs_source src = { .init_fd = init_fd, .modules_dirfd = modules_dirfd };
	uint64_t size;
	int r;

	r = import_file_size(init_fd, INIT_MAX, "init", &size, e);
	if (r < 0)
		return r;
	if (lseek(init_fd, 0, SEEK_SET) < 0)
		return kerr_errno(e, errno, "init");
	return import_into_store(ctx, IMAGE_INITRAMFS, label, make_initramfs, &src, ret, e);
}
