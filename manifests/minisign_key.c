#include <manifests/minisign.h>

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "minisign_text.h"
#include "text.h"

/* The second line of a .pub file. */
struct pub_record {
	uint8_t algorithm[2]; /* "Ed" */
	uint8_t key_id[8];
	uint8_t key[crypto_sign_PUBLICKEYBYTES];
};
_Static_assert(sizeof(struct pub_record) == 42, "as on disk");

/* What a password covers. */
struct sec_body {
	uint8_t key_id[8];
	uint8_t key[crypto_sign_SECRETKEYBYTES];
	uint8_t check[32]; /* BLAKE2b-256 of algorithm, key_id, key; zero when in the clear */
};

/* The second line of a secret key's file. */
struct sec_record {
	uint8_t algorithm[2]; /* "Ed" */
	uint8_t kdf[2];       /* "Sc", or zero: in the clear */
	uint8_t hash[2];      /* "B2" */
	uint8_t salt[crypto_pwhash_scryptsalsa208sha256_SALTBYTES];
	uint8_t opslimit[8], memlimit[8]; /* little-endian */
	struct sec_body body;
};
_Static_assert(sizeof(struct sec_record) == 158, "as on disk");

/*
 * What minisign writes is what we take at most: a hostile key file must not
 * make us compute for hours or take all memory.
 */
#define OPSLIMIT_MAX ((uint64_t)crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_SENSITIVE)
#define MEMLIMIT_MAX ((uint64_t)crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_SENSITIVE)
#define OPSLIMIT_MIN ((uint64_t)crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_MIN)
#define MEMLIMIT_MIN ((uint64_t)crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_MIN)
#define PASSWORD_MAX 1024u

static void put_le64(uint8_t out[static 8], uint64_t v)
{
	for (int i = 0; i < 8; i++)
		out[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_le64(const uint8_t in[static 8])
{
	uint64_t v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | in[i];
	return v;
}

int minisign_keygen(struct minisign_sec *sec, struct minisign_pub *pub, struct kerr *e)
{
	if (crypto_sign_keypair(pub->key, sec->key) != 0)
		return kerr_set(e, EIO, "libsodium makes no key");
	randombytes_buf(sec->key_id, sizeof(sec->key_id));
	memcpy(pub->key_id, sec->key_id, sizeof(pub->key_id));
	return 0;
}

void minisign_sec_wipe(struct minisign_sec *sec)
{
	if (sec)
		sodium_memzero(sec, sizeof(*sec));
}

/* "untrusted comment: COMMENT\nBASE64\n" in fresh memory. */
static int encode(const char *comment, const void *data, size_t len, char **ret, struct kerr *e)
{
	size_t front = strlen(MINISIGN_UNTRUSTED) + strlen(comment) + 1;
	size_t base64 = sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
	char *text = malloc(front + base64 + 1);

	if (!text)
		return kerr_set(e, ENOMEM, "out of memory");
	(void)snprintf(text, front + 1, MINISIGN_UNTRUSTED "%s\n", comment);
	(void)sodium_bin2base64(text + front, base64, data, len, sodium_base64_VARIANT_ORIGINAL);
	memcpy(text + front + base64 - 1, "\n", 2);
	*ret = text;
	return 0;
}

int minisign_pub_encode(const struct minisign_pub *pub, char **ret, struct kerr *e)
{
	struct pub_record rec = { .algorithm = { 'E', 'd' } };
	char comment[64], id[17];

	memcpy(rec.key_id, pub->key_id, sizeof(rec.key_id));
	memcpy(rec.key, pub->key, sizeof(rec.key));
	minisign_key_id_text(pub->key_id, id);
	(void)snprintf(comment, sizeof(comment), "minisign public key %s", id);
	return encode(comment, &rec, sizeof(rec), ret, e);
}

int minisign_pub_read(const char *file, const char *text, size_t len, struct minisign_pub *ret,
	char *comment, size_t comment_size, struct kerr *e)
{
	struct pub_record rec;
	struct minisign_text t;
	const char *untrusted;
	size_t n;
	int r = minisign_text_init(&t, file, text, len, e);

	if (r == 0)
		r = minisign_text_comment(&t, MINISIGN_UNTRUSTED, &untrusted, &n, e);
	if (r == 0)
		r = minisign_text_base64(&t, "a public key", (uint8_t *)&rec, sizeof(rec), e);
	if (r == 0 &&
		(memcmp(rec.algorithm, "Ed", 2) != 0 ||
			!crypto_core_ed25519_is_valid_point(rec.key)))
		r = kerr_set(
			e, EINVAL, "%s:%u: expected a public key of algorithm Ed", file, t.line);
	if (r == 0)
		r = minisign_text_end(&t, e);
	if (r < 0)
		return r;
	memcpy(ret->key_id, rec.key_id, sizeof(ret->key_id));
	memcpy(ret->key, rec.key, sizeof(ret->key));
	if (comment_size > 0) {
		if (n >= comment_size)
			n = text_span(untrusted, comment_size - 1);
		memcpy(comment, untrusted, n);
		comment[n] = '\0';
	}
	return 0;
}

int minisign_pub_decode(
	const char *file, const char *text, size_t len, struct minisign_pub *ret, struct kerr *e)
{
	return minisign_pub_read(file, text, len, ret, NULL, 0, e);
}

static void body_check(const struct sec_record *rec, uint8_t out[static 32])
{
	crypto_generichash_state st;

	(void)crypto_generichash_init(&st, NULL, 0, 32);
	(void)crypto_generichash_update(&st, rec->algorithm, sizeof(rec->algorithm));
	(void)crypto_generichash_update(&st, rec->body.key_id, sizeof(rec->body.key_id));
	(void)crypto_generichash_update(&st, rec->body.key, sizeof(rec->body.key));
	(void)crypto_generichash_final(&st, out, 32);
	sodium_memzero(&st, sizeof(st));
}

/* Covers or uncovers the body. -ENOMEM when scrypt gets no memory. */
static int body_xor(struct sec_record *rec, const char *password, uint64_t ops, uint64_t mem)
{
	uint8_t stream[sizeof(rec->body)];
	uint8_t *body = (uint8_t *)&rec->body;

	if (crypto_pwhash_scryptsalsa208sha256(stream, sizeof(stream), password, strlen(password),
		    rec->salt, ops, (size_t)mem) != 0)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(stream); i++)
		body[i] ^= stream[i];
	sodium_memzero(stream, sizeof(stream));
	return 0;
}

/* As minisign does: less memory is better than no password. */
static int body_cover(struct sec_record *rec, const char *password, struct kerr *e)
{
	uint64_t ops = OPSLIMIT_MAX;
	uint64_t mem = MEMLIMIT_MAX;

	if (strlen(password) > PASSWORD_MAX)
		return kerr_set(e, EINVAL, "password: expected at most %u bytes", PASSWORD_MAX);
	memcpy(rec->kdf, "Sc", 2);
	randombytes_buf(rec->salt, sizeof(rec->salt));
	body_check(rec, rec->body.check);
	while (body_xor(rec, password, ops, mem) < 0) {
		ops /= 2;
		mem /= 2;
		if (ops < OPSLIMIT_MIN || mem < MEMLIMIT_MIN)
			return kerr_set(e, ENOMEM, "no memory to encrypt the key with a password");
	}
	put_le64(rec->opslimit, ops);
	put_le64(rec->memlimit, mem);
	return 0;
}

int minisign_sec_encode(
	const struct minisign_sec *sec, const char *password, char **ret, struct kerr *e)
{
	struct sec_record rec = { .algorithm = { 'E', 'd' }, .hash = { 'B', '2' } };
	const char *comment = "minisign secret key, not encrypted";
	int r = 0;

	memcpy(rec.body.key_id, sec->key_id, sizeof(rec.body.key_id));
	memcpy(rec.body.key, sec->key, sizeof(rec.body.key));
	if (password && *password != '\0') {
		comment = "minisign encrypted secret key";
		r = body_cover(&rec, password, e);
	}
	if (r == 0)
		r = encode(comment, &rec, sizeof(rec), ret, e);
	sodium_memzero(&rec, sizeof(rec));
	return r;
}

static int body_uncover(
	const char *file, struct sec_record *rec, const char *password, struct kerr *e)
{
	uint64_t ops = get_le64(rec->opslimit);
	uint64_t mem = get_le64(rec->memlimit);

	if (ops > OPSLIMIT_MAX || mem > MEMLIMIT_MAX || ops < OPSLIMIT_MIN || mem < MEMLIMIT_MIN)
		return kerr_set(e, EINVAL,
			"%s: asks for %llu operations and %llu bytes to check its password: "
			"expected at most %llu and %llu",
			file, (unsigned long long)ops, (unsigned long long)mem,
			(unsigned long long)OPSLIMIT_MAX, (unsigned long long)MEMLIMIT_MAX);
	if (!password)
		return kerr_set(e, EACCES, "%s: the key is encrypted: a password is needed", file);
	if (strlen(password) > PASSWORD_MAX)
		return kerr_set(e, EACCES, "%s: wrong password", file);
	if (body_xor(rec, password, ops, mem) < 0)
		return kerr_set(e, ENOMEM, "%s: no memory to decrypt the key: it takes %llu MiB",
			file, (unsigned long long)(mem >> 20));
	return 0;
}

/* The secret half and the public half in one record must be of one key. */
static int key_consistent(const uint8_t key[static crypto_sign_SECRETKEYBYTES])
{
	uint8_t pub[crypto_sign_PUBLICKEYBYTES];
	uint8_t sec[crypto_sign_SECRETKEYBYTES];
	int same;

	(void)crypto_sign_seed_keypair(pub, sec, key);
	same = sodium_memcmp(sec, key, sizeof(sec)) == 0;
	sodium_memzero(sec, sizeof(sec));
	return same;
}

static int sec_open(const char *file, struct sec_record *rec, const char *password, struct kerr *e)
{
	bool encrypted = memcmp(rec->kdf, "Sc", 2) == 0;
	uint8_t check[32];
	int r;

	if (encrypted) {
		r = body_uncover(file, rec, password, e);
		if (r < 0)
			return r;
	}
	body_check(rec, check);
	if (encrypted && sodium_memcmp(check, rec->body.check, sizeof(check)) != 0)
		return kerr_set(e, EACCES, "%s: wrong password", file);
	if (!encrypted && !sodium_is_zero(rec->body.check, sizeof(check)) &&
		sodium_memcmp(check, rec->body.check, sizeof(check)) != 0)
		return kerr_set(e, EINVAL, "%s: damaged: its checksum is wrong", file);
	if (!key_consistent(rec->body.key))
		return kerr_set(e, EINVAL, "%s: damaged: its two halves are of two keys", file);
	return 0;
}

int minisign_sec_decode(const char *file, const char *text, size_t len, const char *password,
	struct minisign_sec *ret, bool *ret_encrypted, struct kerr *e)
{
	static const uint8_t in_the_clear[2];
	struct sec_record rec;
	struct minisign_text t;
	const char *comment;
	size_t comment_len;
	int r = minisign_text_init(&t, file, text, len, e);

	if (r == 0)
		r = minisign_text_comment(&t, MINISIGN_UNTRUSTED, &comment, &comment_len, e);
	if (r == 0)
		r = minisign_text_base64(&t, "a secret key", (uint8_t *)&rec, sizeof(rec), e);
	if (r == 0)
		r = minisign_text_end(&t, e);
	if (r == 0 &&
		(memcmp(rec.algorithm, "Ed", 2) != 0 || memcmp(rec.hash, "B2", 2) != 0 ||
			(memcmp(rec.kdf, "Sc", 2) != 0 && memcmp(rec.kdf, in_the_clear, 2) != 0)))
		r = kerr_set(e, EINVAL, "%s:%u: expected a secret key of algorithm Ed, Sc, B2",
			file, t.line);
	if (r == 0 && ret_encrypted)
		*ret_encrypted = rec.kdf[0] != 0;
	if (r == 0)
		r = sec_open(file, &rec, password, e);
	if (r == 0) {
		memcpy(ret->key_id, rec.body.key_id, sizeof(ret->key_id));
		memcpy(ret->key, rec.body.key, sizeof(ret->key));
	}
	sodium_memzero(&rec, sizeof(rec));
	return r;
}
