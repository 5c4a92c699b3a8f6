#pragma once

#include <images/store.h>

/*
 * Making images. Run in a worker process of kosvmd's, never in its loop:
 * they take long, and they parse hostile files. `progress` is called with
 * a line for a person and a fraction 0..1 (negative: unknown).
 */
typedef void (*import_progress_fn)(void *user, const char *what, double fraction);

struct import_ctx {
	int store_dirfd;
	import_progress_fn progress; /* may be NULL */
	void *user;
};

/*
 * A bzImage (its payload is unpacked: gzip, xz, zstd, lz4; else refused
 * with the method's name) or an ELF vmlinux. The result is the vmlinux.
 * -ENOEXEC with what was found: "not a kernel".
 */
int import_kernel(const struct import_ctx *ctx, int fd, const char *label, struct digest *ret,
	struct kerr *e);

/*
 * An initramfs (newc cpio) of kosvm-init as /init and the modules named by
 * the list in initramfs.c with what they need (modules.dep, or what the modules
 * themselves say when the kernel package was only unpacked; missing ones that
 * are built in are fine: modules.builtin). /modules.list has their absolute
 * paths, one a line, in loading order; /dev/console is there. modules_dirfd is
 * lib/modules/VERSION. Reproducible: same input, same digest.
 */
int import_initramfs(const struct import_ctx *ctx, int init_fd, int modules_dirfd,
	const char *label, struct digest *ret, struct kerr *e);

/*
 * A root filesystem: an EROFS image as it is (superblock checked), a
 * directory, or a tar file (plain or compressed), made into EROFS by
 * mkfs.erofs with fixed time stamps and UUID. Reproducible.
 */
int import_rootfs(const struct import_ctx *ctx, int fd, const char *label, struct digest *ret,
	struct kerr *e);

/*
 * A fresh state disk: a sparse file of `size` bytes with an ext4 made by
 * mkfs.ext4, its root owned by uid:gid. `name` in dirfd appears by rename
 * when it is whole.
 */
int state_disk_make(
	int dirfd, const char *name, uint64_t size, uint32_t uid, uint32_t gid, struct kerr *e);
