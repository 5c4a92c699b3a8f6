#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>

/*
 * Keys and detached signatures in minisign's format (Ed25519 by libsodium):
 * `minisign -V` verifies ours, ours verifies `minisign -S`, both prehashed
 * ("ED", BLAKE2b-512, what we write) and legacy ("Ed"). All text inputs
 * are hostile: bounded, checked line by line.
 */
#define MINISIGN_FILE_MAX    4096u
#define MINISIGN_COMMENT_MAX 1024u

struct minisign_pub {
	uint8_t key_id[8];
	uint8_t key[32];
};

/* Holds secrets: wiped by minisign_sec_wipe. Mlocked memory is the caller's affair. */
struct minisign_sec {
	uint8_t key_id[8];
	uint8_t key[64];
};

/* Must be called once before any other call here (sodium_init). */
int minisign_init(struct kerr *e);

int minisign_keygen(struct minisign_sec *sec, struct minisign_pub *pub, struct kerr *e);
void minisign_sec_wipe(struct minisign_sec *sec);

/* Upper-case hexadecimal as minisign prints it (most significant byte first). */
void minisign_key_id_text(const uint8_t id[static 8], char out[static 17]);

/*
 * Key files. password NULL or "": stored unencrypted, as minisign -W does;
 * else scrypt with minisign's parameters. A wrong password is -EACCES.
 * encode: returns a fresh text, the caller frees (and wipes: sodium_memzero).
 */
int minisign_pub_encode(const struct minisign_pub *pub, char **ret, struct kerr *e);
int minisign_pub_decode(
	const char *file, const char *text, size_t len, struct minisign_pub *ret, struct kerr *e);
int minisign_sec_encode(
	const struct minisign_sec *sec, const char *password, char **ret, struct kerr *e);
/*
 * *ret_encrypted (may be NULL) is set once the file is well-formed, even when
 * its password is refused. An encrypted key with password NULL is -EACCES;
 * "" is tried as a password. Costs of scrypt above what minisign writes
 * (1 GiB, some seconds) are -EINVAL. On failure *ret is untouched.
 */
int minisign_sec_decode(const char *file, const char *text, size_t len, const char *password,
	struct minisign_sec *ret, bool *ret_encrypted, struct kerr *e);

/*
 * The text of a .minisig file over data, with a trusted comment: one line of
 * text shorter than MINISIGN_COMMENT_MAX, else -EINVAL. The caller frees.
 */
int minisign_sign(const struct minisign_sec *sec, const void *data, size_t len,
	const char *trusted_comment, char **ret, struct kerr *e);

/*
 * Verifies signature text over data against the keys: the one whose id is
 * named must have signed. -ENOKEY: no such key; -EBADMSG: data or trusted
 * comment were changed; -EINVAL: no well-formed signature. On success
 * *ret_key (may be NULL) is the index and trusted_comment (may be NULL,
 * MINISIGN_COMMENT_MAX bytes) the comment.
 */
int minisign_verify(const char *sig_file, const char *sig, size_t sig_len, const void *data,
	size_t len, const struct minisign_pub *keys, size_t key_count, size_t *ret_key,
	char *trusted_comment, struct kerr *e);
