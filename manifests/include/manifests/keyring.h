#pragma once

#include <stddef.h>

#include <manifests/minisign.h>

/*
 * The public keys this host trusts: one minisign .pub file each, in one
 * directory, named KEYID.pub. Opened and changed by kosvmd alone.
 */
#define KEYRING_MAX_KEYS 256u

struct keyring_entry {
	struct minisign_pub pub;
	char comment[128]; /* untrusted comment, printable */
};

struct keyring {
	struct keyring_entry *entries;
	size_t count;
};

/*
 * dirfd: the directory, borrowed. A file that is no key fails the load and is
 * named; hidden ones, which a crash may leave, are passed over. Sorted by id.
 */
int keyring_load(int dirfd, struct keyring *ret, struct kerr *e);
void keyring_done(struct keyring *k);

/*
 * Text of a .pub file. A key that is there already is fine; another one of
 * the same id is -EEXIST. ret may be NULL.
 */
int keyring_trust(int dirfd, const char *file, const char *text, size_t len,
	struct minisign_pub *ret, struct kerr *e);

/* By key id text (16 hex digits). -ENOENT. */
int keyring_remove(int dirfd, const char *key_id, struct kerr *e);

/*
 * The whole gate: bounded read results in, verified and parsed manifest
 * out. Refuses before parsing unless one of the keys signed these bytes:
 * -EBADMSG without a signature (sig NULL or empty), else as minisign_verify.
 */
struct manifest;
int keyring_open_manifest(const struct keyring *k, const char *file, const char *data, size_t len,
	const char *sig_file, const char *sig, size_t sig_len, struct manifest *ret,
	char signer[static 17], struct kerr *e);
