#include <manifests/minisign.h>

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>

#include "minisign_text.h"
#include "text.h"

/* The second line of a signature file, and what the fourth one signs the front of. */
struct signature {
	uint8_t algorithm[2]; /* "Ed": over the data; "ED": over its BLAKE2b-512 */
	uint8_t key_id[8];
	uint8_t sig[crypto_sign_BYTES];
};
_Static_assert(sizeof(struct signature) == 74, "as on disk");

#define DATA_HASH_LEN 64u
#define SIGNATURE_CHARS                                                                            \
	sodium_base64_ENCODED_LEN(sizeof(struct signature), sodium_base64_VARIANT_ORIGINAL)
#define GLOBAL_CHARS sodium_base64_ENCODED_LEN(crypto_sign_BYTES, sodium_base64_VARIANT_ORIGINAL)

int minisign_init(struct kerr *e)
{
	if (sodium_init() < 0)
		return kerr_set(e, EIO, "libsodium does not start: no source of randomness");
	return 0;
}

void minisign_key_id_text(const uint8_t id[static 8], char out[static 17])
{
	uint64_t n = 0;

	for (int i = 7; i >= 0; i--)
		n = n << 8 | id[i];
	(void)snprintf(out, 17, "%016" PRIX64, n);
}

/* What the global signature covers: the signature's bytes, then the trusted comment. */
struct global {
	uint8_t bytes[crypto_sign_BYTES + MINISIGN_COMMENT_MAX];
	size_t len;
};

static void global_set(struct global *g, const struct signature *s, const char *trusted, size_t len)
{
	memcpy(g->bytes, s->sig, sizeof(s->sig));
	memcpy(g->bytes + sizeof(s->sig), trusted, len);
	g->len = sizeof(s->sig) + len;
}

int minisign_sign(const struct minisign_sec *sec, const void *data, size_t len,
	const char *trusted_comment, char **ret, struct kerr *e)
{
	struct signature s = { .algorithm = { 'E', 'D' } };
	uint8_t hash[DATA_HASH_LEN];
	uint8_t global_sig[crypto_sign_BYTES];
	struct global g;
	char line2[SIGNATURE_CHARS], line4[GLOBAL_CHARS];
	size_t trusted_len = strlen(trusted_comment);
	char *text;

	if (trusted_len >= MINISIGN_COMMENT_MAX ||
		text_span(trusted_comment, trusted_len) != trusted_len)
		return kerr_set(e, EINVAL,
			"trusted comment: expected one line of text of at most %u bytes",
			MINISIGN_COMMENT_MAX - 1);
	memcpy(s.key_id, sec->key_id, sizeof(s.key_id));
	(void)crypto_generichash(hash, sizeof(hash), data, len, NULL, 0);
	(void)crypto_sign_detached(s.sig, NULL, hash, sizeof(hash), sec->key);
	global_set(&g, &s, trusted_comment, trusted_len);
	(void)crypto_sign_detached(global_sig, NULL, g.bytes, g.len, sec->key);
	(void)sodium_bin2base64(line2, sizeof(line2), (const uint8_t *)&s, sizeof(s),
		sodium_base64_VARIANT_ORIGINAL);
	(void)sodium_bin2base64(line4, sizeof(line4), global_sig, sizeof(global_sig),
		sodium_base64_VARIANT_ORIGINAL);
	if (asprintf(&text,
		    MINISIGN_UNTRUSTED "signature from kosvm\n%s\n" MINISIGN_TRUSTED "%s\n%s\n",
		    line2, trusted_comment, line4) < 0)
		return kerr_set(e, ENOMEM, "out of memory");
	*ret = text;
	return 0;
}

static int signature_read(const char *file, const char *text, size_t len, struct signature *s,
	const char **trusted, size_t *trusted_len, uint8_t global_sig[static crypto_sign_BYTES],
	struct kerr *e)
{
	struct minisign_text t;
	const char *untrusted;
	size_t untrusted_len;
	int r = minisign_text_init(&t, file, text, len, e);

	if (r == 0)
		r = minisign_text_comment(&t, MINISIGN_UNTRUSTED, &untrusted, &untrusted_len, e);
	if (r == 0)
		r = minisign_text_base64(&t, "a signature", (uint8_t *)s, sizeof(*s), e);
	if (r == 0 && memcmp(s->algorithm, "Ed", 2) != 0 && memcmp(s->algorithm, "ED", 2) != 0)
		r = kerr_set(e, EINVAL, "%s:%u: expected a signature of algorithm Ed or ED", file,
			t.line);
	if (r == 0)
		r = minisign_text_comment(&t, MINISIGN_TRUSTED, trusted, trusted_len, e);
	if (r == 0)
		r = minisign_text_base64(
			&t, "the comment's signature", global_sig, crypto_sign_BYTES, e);
	return r == 0 ? minisign_text_end(&t, e) : r;
}

static int signature_check(const char *file, const struct signature *s, const void *data,
	size_t len, const struct minisign_pub *key, struct kerr *e)
{
	uint8_t hash[DATA_HASH_LEN];
	char id[17];

	if (s->algorithm[1] == 'D') {
		(void)crypto_generichash(hash, sizeof(hash), data, len, NULL, 0);
		data = hash;
		len = sizeof(hash);
	}
	if (crypto_sign_verify_detached(s->sig, data, len, key->key) == 0)
		return 0;
	minisign_key_id_text(s->key_id, id);
	return kerr_set(e, EBADMSG,
		"%s: key %s did not sign these bytes: the file or its signature was changed", file,
		id);
}

int minisign_verify(const char *sig_file, const char *sig, size_t sig_len, const void *data,
	size_t len, const struct minisign_pub *keys, size_t key_count, size_t *ret_key,
	char *trusted_comment, struct kerr *e)
{
	struct signature s = { 0 };
	uint8_t global_sig[crypto_sign_BYTES];
	struct global g;
	const char *trusted = "";
	size_t trusted_len = 0;
	size_t at = 0;
	char id[17];
	int r = signature_read(sig_file, sig, sig_len, &s, &trusted, &trusted_len, global_sig, e);

	if (r < 0)
		return r;
	minisign_key_id_text(s.key_id, id);
	while (at < key_count && memcmp(keys[at].key_id, s.key_id, sizeof(s.key_id)) != 0)
		at++;
	if (at == key_count)
		return kerr_set(e, ENOKEY,
			"%s: signed by key %s, which is not trusted here: kosvm key trust FILE.pub "
			"adds a key",
			sig_file, id);
	r = signature_check(sig_file, &s, data, len, &keys[at], e);
	if (r < 0)
		return r;
	global_set(&g, &s, trusted, trusted_len);
	if (crypto_sign_verify_detached(global_sig, g.bytes, g.len, keys[at].key) != 0)
		return kerr_set(e, EBADMSG,
			"%s: key %s did not sign the trusted comment: it was changed", sig_file,
			id);
	if (ret_key)
		*ret_key = at;
	if (trusted_comment) {
		memcpy(trusted_comment, trusted, trusted_len);
		trusted_comment[trusted_len] = '\0';
	}
	return 0;
}
