#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <manifests/keyring.h>
#include <manifests/manifest.h>

#define DIGEST "blake2b:0000000000000000000000000000000000000000000000000000000000000000"

static const char good[] =
	"[agent]\nname = echo-mint\n[image]\nkernel = " DIGEST "\ninitramfs = " DIGEST
	"\nrootfs = " DIGEST "\n[run]\ncommand = /bin/x\n";

static char dir[64];
static int keys_fd = -1;
static struct kerr e;
static struct minisign_sec sec;
static struct minisign_pub pub;
static char *pub_text;
static char id[17];
static struct manifest m;
static char signer[17];

static void setup(void)
{
	(void)strcpy(dir, "/tmp/test_keyring.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	keys_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(keys_fd, 0);
	ck_assert_int_eq(minisign_init(&e), 0);
	ck_assert_int_eq(minisign_keygen(&sec, &pub, &e), 0);
	ck_assert_int_eq(minisign_pub_encode(&pub, &pub_text, &e), 0);
	minisign_key_id_text(pub.key_id, id);
}

static void teardown(void)
{
	char command[100];

	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0); /* NOLINT: a fixed command of this test */
	(void)close(keys_fd);
	free(pub_text);
}

static int trust(void)
{
	return keyring_trust(keys_fd, "mine.pub", pub_text, strlen(pub_text), NULL, &e);
}

static size_t count_keys(void)
{
	struct keyring k;
	size_t n;

	ck_assert_msg(keyring_load(keys_fd, &k, &e) == 0, "%s", e.msg);
	n = k.count;
	keyring_done(&k);
	return n;
}

START_TEST(trust_and_remove)
{
	struct keyring k;
	struct minisign_pub back;

	ck_assert_uint_eq(count_keys(), 0);
	ck_assert_int_eq(
		keyring_trust(keys_fd, "mine.pub", pub_text, strlen(pub_text), &back, &e), 0);
	ck_assert_mem_eq(&back, &pub, sizeof(pub));
	ck_assert_int_eq(trust(), 0); /* twice is fine */
	ck_assert_int_eq(keyring_load(keys_fd, &k, &e), 0);
	ck_assert_uint_eq(k.count, 1);
	ck_assert_mem_eq(&k.entries[0].pub, &pub, sizeof(pub));
	ck_assert_int_eq(strncmp(k.entries[0].comment, "minisign public key ", 20), 0);
	ck_assert_str_eq(k.entries[0].comment + 20, id);
	keyring_done(&k);
	keyring_done(&k);
	keyring_done(NULL);
	/* lower case is the same id */
	for (char *p = id; *p; p++)
		*p = *p >= 'A' && *p <= 'F' ? (char)(*p - 'A' + 'a') : *p;
	ck_assert_int_eq(keyring_remove(keys_fd, id, &e), 0);
	ck_assert_uint_eq(count_keys(), 0);
	ck_assert_int_eq(keyring_remove(keys_fd, id, &e), -ENOENT);
	ck_assert_int_eq(keyring_remove(keys_fd, "../../etc/passwd", &e), -EINVAL);
	ck_assert_int_eq(keyring_remove(keys_fd, "12", &e), -EINVAL);
}
END_TEST

START_TEST(another_key_of_the_same_id)
{
	struct minisign_sec other_sec;
	struct minisign_pub other;
	char *text = NULL;

	ck_assert_int_eq(trust(), 0);
	ck_assert_int_eq(minisign_keygen(&other_sec, &other, &e), 0);
	memcpy(other.key_id, pub.key_id, sizeof(other.key_id));
	ck_assert_int_eq(minisign_pub_encode(&other, &text, &e), 0);
	ck_assert_int_eq(
		keyring_trust(keys_fd, "other.pub", text, strlen(text), NULL, &e), -EEXIST);
	ck_assert_uint_eq(count_keys(), 1);
	free(text);
}
END_TEST

START_TEST(sorted_by_id)
{
	struct keyring k;
	char before[17] = "", now[17];

	for (int i = 0; i < 8; i++) {
		char *text = NULL;

		ck_assert_int_eq(minisign_keygen(&sec, &pub, &e), 0);
		ck_assert_int_eq(minisign_pub_encode(&pub, &text, &e), 0);
		ck_assert_int_eq(keyring_trust(keys_fd, "f", text, strlen(text), NULL, &e), 0);
		free(text);
	}
	ck_assert_int_eq(keyring_load(keys_fd, &k, &e), 0);
	ck_assert_uint_eq(k.count, 8);
	for (size_t i = 0; i < k.count; i++) {
		minisign_key_id_text(k.entries[i].pub.key_id, now);
		ck_assert_int_lt(strcmp(before, now), 0);
		(void)strcpy(before, now);
	}
	keyring_done(&k);
}
END_TEST

static void put_file(const char *name, const char *text)
{
	ck_assert_int_eq(io_write_file_at(keys_fd, name, text, strlen(text), 0644, &e), 0);
}

/* The load fails and names the file. */
START_TEST(what_is_no_key)
{
	struct keyring k = { 0 };

	put_file(".1234.pub.0.tmp", "half a ke"); /* left by a crash: passed over */
	ck_assert_uint_eq(count_keys(), 0);
	put_file("notes.txt", "hello\n");
	ck_assert_int_eq(keyring_load(keys_fd, &k, &e), -EINVAL);
	ck_assert_str_eq(e.msg,
		"trusted keys: notes.txt:1: expected a line that begins with \"untrusted comment: "
		"\"");
	ck_assert_ptr_null(k.entries);
	ck_assert_int_eq(trust(), -EINVAL);
	ck_assert_int_eq(unlinkat(keys_fd, "notes.txt", 0), 0);
	put_file("0123456789ABCDEF.pub", pub_text);
	ck_assert_int_eq(keyring_load(keys_fd, &k, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "0123456789ABCDEF.pub: holds the key of another id"));
	ck_assert_int_eq(unlinkat(keys_fd, "0123456789ABCDEF.pub", 0), 0);
	ck_assert_int_eq(mkfifoat(keys_fd, "pipe.pub", 0600), 0);
	ck_assert_int_eq(keyring_load(keys_fd, &k, &e), -EINVAL);
	ck_assert_str_eq(e.msg, "trusted keys: pipe.pub: expected a regular file");
	ck_assert_int_eq(unlinkat(keys_fd, "pipe.pub", 0), 0);
	ck_assert_int_eq(symlinkat("/etc/passwd", keys_fd, "link.pub"), 0);
	ck_assert_int_eq(keyring_load(keys_fd, &k, &e), -ELOOP);
	ck_assert_int_eq(keyring_load(-1, &k, &e), -EBADF);
	ck_assert_int_eq(keyring_trust(keys_fd, "x.pub", "x", 1, NULL, &e), -EINVAL);
}
END_TEST

/* Opens text as a manifest that `sig` signs, with the keys of the directory. */
static int open_manifest(const char *text, size_t len, const char *sig)
{
	struct keyring k;
	int r;

	ck_assert_int_eq(keyring_load(keys_fd, &k, &e), 0);
	r = keyring_open_manifest(&k, "a.ini", text, len, "a.ini.minisig", sig,
		sig ? strlen(sig) : 0, &m, signer, &e);
	keyring_done(&k);
	return r;
}

static char *sign(const char *text)
{
	char *sig = NULL;

	ck_assert_int_eq(minisign_sign(&sec, text, strlen(text), "test", &sig, &e), 0);
	return sig;
}

START_TEST(the_gate_opens)
{
	_cleanup_free_ char *sig = sign(good);

	ck_assert_int_eq(trust(), 0);
	ck_assert_msg(open_manifest(good, strlen(good), sig) == 0, "%s", e.msg);
	ck_assert_str_eq(m.name, "echo-mint");
	ck_assert_str_eq(signer, id);
	manifest_done(&m);
}
END_TEST

START_TEST(the_gate_stays_shut)
{
	_cleanup_free_ char *sig = sign(good);
	_cleanup_free_ char *broken_sig = NULL;
	char big[10] = "";

	ck_assert_int_eq(open_manifest(good, strlen(good), sig), -ENOKEY);
	ck_assert_ptr_nonnull(strstr(e.msg, "a.ini: refused: a.ini.minisig: signed by key "));
	ck_assert_int_eq(trust(), 0);
	ck_assert_int_eq(open_manifest(good, strlen(good), NULL), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(e.msg, "a.ini: not signed"));
	ck_assert_int_eq(open_manifest(good, strlen(good), ""), -EBADMSG);
	ck_assert_int_eq(open_manifest(good, strlen(good), "nonsense"), -EINVAL);
	ck_assert_int_eq(open_manifest(good, strlen(good) - 1, sig), -EBADMSG);
	ck_assert_int_eq(open_manifest(big, MANIFEST_MAX_BYTES + 1, sig), -EFBIG);
	/* revoked */
	ck_assert_int_eq(keyring_remove(keys_fd, id, &e), 0);
	ck_assert_int_eq(open_manifest(good, strlen(good), sig), -ENOKEY);
	/* What is not signed is not parsed: its mistakes are not told. */
	ck_assert_int_eq(open_manifest("[[[", 3, sig), -ENOKEY);
	ck_assert_int_eq(trust(), 0);
	broken_sig = sign("[agent]\nnme = x\n");
	ck_assert_int_eq(open_manifest("[agent]\nnme = x\n", 16, broken_sig), -EINVAL);
	ck_assert_str_eq(e.msg, "a.ini:2: nme: unknown key in [agent]: did you mean name?");
}
END_TEST

START_TEST(one_byte_of_the_manifest)
{
	_cleanup_free_ char *sig = sign(good);
	char copy[sizeof(good)];

	ck_assert_int_eq(trust(), 0);
	memcpy(copy, good, sizeof(good));
	for (size_t i = 0; i < sizeof(good) - 1; i++) {
		for (int change = 1; change < 256; change <<= 1) {
			copy[i] = (char)(copy[i] ^ change);
			ck_assert_int_eq(open_manifest(copy, sizeof(good) - 1, sig), -EBADMSG);
			copy[i] = good[i];
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("keyring");
	TCase *t = tcase_create("keyring");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, trust_and_remove);
	tcase_add_test(t, another_key_of_the_same_id);
	tcase_add_test(t, sorted_by_id);
	tcase_add_test(t, what_is_no_key);
	tcase_add_test(t, the_gate_opens);
	tcase_add_test(t, the_gate_stays_shut);
	tcase_add_test(t, one_byte_of_the_manifest);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
