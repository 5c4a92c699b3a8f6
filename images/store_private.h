#pragma once

#include <images/store.h>

/* Every name that is not part of an image yet begins with this. */
#define STORE_TMP_PREFIX ".tmp-"

/* "<64 hex>" and "<64 hex>.kind" with their NUL. */
#define STORE_NAME_LEN    (2u * DIGEST_LEN + 1u)
#define STORE_SIDECAR_LEN (STORE_NAME_LEN + 5u)

void store_name(const struct digest *d, char out[static STORE_NAME_LEN]);
void store_sidecar_name(const struct digest *d, char out[static STORE_SIDECAR_LEN]);

/*
 * The sidecar: one line "KIND LABEL\n". Writing goes by a temporary file
 * and rename; reading refuses anything else with -EBADMSG (-ENOENT when
 * there is none).
 */
int sidecar_write(
	int dirfd, const struct digest *d, enum image_kind kind, const char *label, struct kerr *e);
int sidecar_read(int dirfd, const struct digest *d, enum image_kind *ret_kind,
	char ret_label[static 128], struct kerr *e);

/*
 * A label is for people only: the last component of what was given, with
 * every byte that is not plain printable ASCII replaced by '_'.
 */
void label_sanitise(const char *label, char out[static 128]);

/*
 * A private directory (0700) in the store, for unpacking. Locked like a
 * temporary file: store_clean leaves it alone while *ret_fd is open. The
 * caller closes the fd and calls store_tmp_dir_remove, which also takes
 * trees that are deep, large or of odd modes.
 */
int store_tmp_dir(int dirfd, char name[static 64], int *ret_fd, struct kerr *e);
int store_tmp_dir_remove(int dirfd, const char *name, struct kerr *e);

/*
 * The store's lock, a flock(2) on a description of its own: adding,
 * removing and cleaning exclude each other across processes. Closing the
 * returned fd releases it. -errno on failure.
 */
int store_lock(int dirfd, struct kerr *e);
