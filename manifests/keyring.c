#include <manifests/keyring.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <manifests/manifest.h>

#include "minisign_text.h"

#define FILE_NAME_LEN (16u + sizeof(".pub"))

static void cleanup_closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

static void file_name(const struct minisign_pub *pub, char out[static FILE_NAME_LEN])
{
	minisign_key_id_text(pub->key_id, out);
	memcpy(out + 16, ".pub", sizeof(".pub"));
}

static int entry_load(int dirfd, const char *name, struct keyring_entry *ret, struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	char expected[FILE_NAME_LEN];
	struct stat st;
	size_t len;
	int r;

	/* O_NONBLOCK: a FIFO among the keys must not hold us. */
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return kerr_errno(e, errno, "%s: open", name);
	if (fstat(fd, &st) < 0)
		return kerr_errno(e, errno, "%s: stat", name);
	if (!S_ISREG(st.st_mode))
		return kerr_set(e, EINVAL, "%s: expected a regular file", name);
	r = io_read_all(fd, MINISIGN_FILE_MAX, name, &text, &len, e);
	if (r < 0)
		return r;
	r = minisign_pub_read(name, text, len, &ret->pub, ret->comment, sizeof(ret->comment), e);
	if (r < 0)
		return r;
	file_name(&ret->pub, expected);
	if (strcmp(name, expected) != 0)
		return kerr_set(
			e, EINVAL, "%s: holds the key of another id: expected %s", name, expected);
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct keyring_entry *x = a;
	const struct keyring_entry *y = b;
	char tx[17], ty[17];

	minisign_key_id_text(x->pub.key_id, tx);
	minisign_key_id_text(y->pub.key_id, ty);
	return strcmp(tx, ty);
}

/* All but hidden files, which are the half-made ones of a crash. */
static int load_entries(int dirfd, struct keyring *k, struct kerr *e)
{
	_cleanup_(cleanup_closedirp) DIR *dir = NULL;
	struct dirent *de;
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return kerr_errno(e, errno, "open");
	dir = fdopendir(fd);
	if (!dir) {
		r = kerr_errno(e, errno, "read");
		(void)close(fd);
		return r;
	}
	for (errno = 0; (de = readdir(dir)) != NULL; errno = 0) {
		if (de->d_name[0] == '.')
			continue;
		if (k->count == KEYRING_MAX_KEYS)
			return kerr_set(e, E2BIG, "expected at most %u keys", KEYRING_MAX_KEYS);
		r = entry_load(dirfd, de->d_name, &k->entries[k->count], e);
		if (r < 0)
			return r;
		k->count++;
	}
	return errno ? kerr_errno(e, errno, "read") : 0;
}

int keyring_load(int dirfd, struct keyring *ret, struct kerr *e)
{
	struct keyring k = { 0 };
	int r;

	k.entries = calloc(KEYRING_MAX_KEYS, sizeof(*k.entries));
	if (!k.entries)
		return kerr_set(e, ENOMEM, "trusted keys: out of memory");
	r = load_entries(dirfd, &k, e);
	if (r < 0) {
		keyring_done(&k);
		(void)kerr_wrap(e, "trusted keys");
		return r;
	}
	qsort(k.entries, k.count, sizeof(*k.entries), by_id);
	*ret = k;
	return 0;
}

void keyring_done(struct keyring *k)
{
	if (!k)
		return;
	free(k->entries);
	*k = (struct keyring){ 0 };
}

int keyring_trust(int dirfd, const char *file, const char *text, size_t len,
	struct minisign_pub *ret, struct kerr *e)
{
	struct minisign_pub pub;
	struct keyring k = { 0 };
	char name[FILE_NAME_LEN];
	bool known = false;
	int r = minisign_pub_decode(file, text, len, &pub, e);

	if (r < 0)
		return r;
	r = keyring_load(dirfd, &k, e);
	if (r < 0)
		return r;
	file_name(&pub, name);
	for (size_t i = 0; i < k.count; i++) {
		if (memcmp(k.entries[i].pub.key_id, pub.key_id, sizeof(pub.key_id)) != 0)
			continue;
		known = true;
		if (memcmp(k.entries[i].pub.key, pub.key, sizeof(pub.key)) != 0)
			r = kerr_set(e, EEXIST,
				"%s: another key of id %.16s is trusted already: kosvm key rm %.16s "
				"removes it",
				file, name, name);
	}
	if (r == 0 && !known && k.count == KEYRING_MAX_KEYS)
		r = kerr_set(
			e, E2BIG, "%s: expected at most %u trusted keys", file, KEYRING_MAX_KEYS);
	if (r == 0 && !known)
		r = io_write_file_at(dirfd, name, text, len, 0644, e);
	keyring_done(&k);
	if (r == 0 && ret)
		*ret = pub;
	return r;
}

int keyring_remove(int dirfd, const char *key_id, struct kerr *e)
{
	char name[FILE_NAME_LEN];

	if (strlen(key_id) != 16 || strspn(key_id, "0123456789abcdefABCDEF") != 16)
		return kerr_set(
			e, EINVAL, "%.32s: expected a key id of 16 hexadecimal digits", key_id);
	for (size_t i = 0; i < 16; i++) {
		char c = key_id[i];

		name[i] = c >= 'a' && c <= 'f' ? (char)(c - 'a' + 'A') : c;
	}
	memcpy(name + 16, ".pub", sizeof(".pub"));
	if (unlinkat(dirfd, name, 0) < 0) {
		if (errno == ENOENT)
			return kerr_set(e, ENOENT, "%s: no such key is trusted", key_id);
		return kerr_errno(e, errno, "%s: remove", name);
	}
	if (fsync(dirfd) < 0)
		return kerr_errno(e, errno, "%s: fsync of its directory", name);
	return 0;
}

int keyring_open_manifest(const struct keyring *k, const char *file, const char *data, size_t len,
	const char *sig_file, const char *sig, size_t sig_len, struct manifest *ret,
	char signer[static 17], struct kerr *e)
{
	_cleanup_free_ struct minisign_pub *pubs = NULL;
	struct manifest m;
	size_t key = 0;
	int r;

	if (len > MANIFEST_MAX_BYTES)
		return kerr_set(e, EFBIG, "%s: %zu bytes: expected at most %u", file, len,
			MANIFEST_MAX_BYTES);
	if (!sig || sig_len == 0)
		return kerr_set(e, EBADMSG,
			"%s: not signed: expected a signature in %s; kosvm manifest sign makes one",
			file, sig_file);
	pubs = calloc(k->count + 1, sizeof(*pubs));
	if (!pubs)
		return kerr_set(e, ENOMEM, "%s: out of memory", file);
	for (size_t i = 0; i < k->count; i++)
		pubs[i] = k->entries[i].pub;
	r = minisign_verify(sig_file, sig, sig_len, data, len, pubs, k->count, &key, NULL, e);
	if (r < 0) {
		(void)kerr_wrap(e, "%s: refused", file);
		return r;
	}
	r = manifest_parse(file, data, len, &m, e);
	if (r < 0)
		return r;
	*ret = m;
	minisign_key_id_text(pubs[key].key_id, signer);
	return 0;
}
