#pragma once

#include <stdint.h>

#include <base/kerr.h>
#include <manifests/manifest.h>

/*
 * The content store: images named by their digest, in one directory
 * (borrowed dirfd), as files `<64 hex>` with mode 0444, and for each a
 * small JSON-free sidecar `<64 hex>.kind` (one word and a label). A file
 * appears by rename after fsync, whole or not at all; leftovers of a crash
 * (`.tmp-*`, and a sidecar without its image) are removed by store_clean.
 * A process that works on a temporary file holds an flock(2) on it, so
 * store_clean may run at any time. It serves any directory in which
 * state_disk_make works, too.
 */
enum image_kind { IMAGE_KERNEL = 1, IMAGE_INITRAMFS, IMAGE_ROOTFS };

const char *image_kind_name(enum image_kind kind); /* "kernel", "initramfs", "rootfs" */
int image_kind_parse(const char *s, enum image_kind *ret);

/* BLAKE2b-256 of the whole file from offset 0; the offset of fd is not used. */
int image_digest_fd(int fd, struct digest *ret, uint64_t *ret_size, struct kerr *e);

/*
 * Adds a finished temporary file (see store_tmp) under its digest; a file
 * that is there already is kept (with the new label) and the temporary one
 * goes; one that was changed on disk is replaced. -EEXIST: the same bytes
 * are there as another kind. After a failure the caller still owns the
 * temporary file: store_abort. The fd is the caller's in any case.
 */
int store_tmp(int dirfd, char name[static 64], int *ret_fd, struct kerr *e);
int store_commit(int dirfd, const char *tmp_name, int fd, enum image_kind kind, const char *label,
	struct digest *ret, struct kerr *e);
void store_abort(int dirfd, const char *tmp_name);
/* 1: somebody holds a temporary file or directory still, it was left; 0: none is there any more. */
int store_clean(int dirfd, struct kerr *e);

/*
 * Opens read-only and verifies the whole content against the digest:
 * -EBADMSG names the digest found; -ENOENT; -EINVAL when it is of another kind.
 */
int store_open_verified(int dirfd, const struct digest *d, enum image_kind kind, int *ret_fd,
	uint64_t *ret_size, struct kerr *e);

struct store_entry {
	struct digest digest;
	enum image_kind kind;
	uint64_t size;
	char label[128];
};
/* A fresh array, sorted by kind and label; the caller frees. */
int store_list(int dirfd, struct store_entry **ret, size_t *ret_count, struct kerr *e);
int store_remove(int dirfd, const struct digest *d, struct kerr *e);
