#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <base/kerr.h>

/*
 * A tree of kernel modules (lib/modules/VERSION) as modules.dep, or
 * modules.order and the modules' own words, and modules.builtin describe
 * it (depmod(8), modules.dep(5)). All are hostile: bounded in size, lines,
 * names and depth; paths cannot lead out of the tree.
 */
struct modules;

struct module_wish {
	const char *name; /* '-' and '_' are one */
	bool essential;   /* its absence is an error, not a gap */
};

/* dirfd is borrowed until modules_free. */
int modules_open(int dirfd, struct modules **ret, struct kerr *e);
void modules_free(struct modules *m);
static inline void modules_freep(struct modules **m)
{
	modules_free(*m);
}

/*
 * The modules wished for and all they need, each once, in an order in
 * which they can be loaded. The paths stay m's; the caller frees the array.
 * A module that is built in counts as there. -ENOENT names the missing one
 * and who needs it; -ELOOP for a circle.
 */
int modules_resolve(struct modules *m, const struct module_wish *wishes, size_t count,
	const char ***ret_paths, size_t *ret_count, struct kerr *e);

/*
 * One module, unpacked (.ko, .ko.gz, .ko.xz, .ko.zst) and certain to be a
 * module for x86-64. The caller frees.
 */
int modules_read(
	struct modules *m, const char *path, char **ret_data, size_t *ret_len, struct kerr *e);

/* "kernel/a/virtio-rng.ko.xz" -> "virtio-rng.ko"; -ENAMETOOLONG or -EINVAL. */
int module_file_name(const char *path, char *out, size_t len);
