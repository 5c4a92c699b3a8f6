#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <manifests/minisign.h>

/* Made by minisign 0.11 with -W over the three bytes "hi\n". */
static const char their_pub[] = "untrusted comment: minisign public key 1FEBEC4F85F64C0D\n"
				"RWQNTPaFT+zrH2JaeVtHw/vF2rjQ8tVZq7uZwPhRSNY4vCsABhim935f\n";
static const char their_sec[] =
	"untrusted comment: minisign encrypted secret key\n"
	"RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAADUz2hU/s6x+6ACNneyFR"
	"aqByKpztnpWzcZJobP+MEe3M4vB8vIUMzmJaeVtHw/vF2rjQ8tVZq7uZwPhRSNY4vCsABhim935fAAAAAAAAAAAAAAAA"
	"AAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
static const char their_sig[] =
	"untrusted comment: signature from minisign secret key\n"
	"RUQNTPaFT+zrH1a0fZjXb8lM1mf1Sx/bP/PNnNzU1gFqocSPovYvmmqlrpShEP9RVqM5a3mgRkHJC5KubgSpqJbGIH+dqq"
	"MZZw0=\n"
	"trusted comment: timestamp:1795467338\tfile:f\thashed\n"
	"xhNwcAII+uN6Lrm/Qjg159rGYbJsZLzdg7Ce0mI5z7XArEMvMAgkSjoyZ2MWUoVEpujQ6jirX9kIzNG6+FfhDg==\n";
static const char their_legacy_sig[] =
	"untrusted comment: signature from minisign secret key\n"
	"RWQNTPaFT+zrH7GIv4QAX2TFmAWcCMfnqFdABn3j50ZJzwT7Uy/CMo5wF4F0V7gCJw38JQS0ZbymP3Vysi/8l5qVIeuASV"
	"2sug0=\n"
	"trusted comment: timestamp:1795467338\tfile:f\n"
	"N7JdP+z9fwqZe9JLesWUYBLEwlsPeOAUqUl67wFCiQ8eEJ0naObjgWoUXnjFFRiKG0QUtkorfPZzsZttle/SAA==\n";

static const char data[] = "[agent]\nname = echo-mint\n";
static struct minisign_sec sec;
static struct minisign_pub pub;
static struct kerr e;

static void setup(void)
{
	ck_assert_int_eq(minisign_init(&e), 0);
	ck_assert_int_eq(minisign_keygen(&sec, &pub, &e), 0);
}

static char *sign(const char *trusted)
{
	char *text = NULL;

	ck_assert_msg(
		minisign_sign(&sec, data, sizeof(data) - 1, trusted, &text, &e) == 0, "%s", e.msg);
	return text;
}

static int verify(const char *sig, size_t len)
{
	return minisign_verify(
		"f.minisig", sig, len, data, sizeof(data) - 1, &pub, 1, NULL, NULL, &e);
}

/* Exactly len bytes on the heap, so that a read past them is caught. */
static char *exact(const char *s, size_t len)
{
	char *copy = malloc(len ? len : 1);

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, s, len);
	return copy;
}

START_TEST(round_trip)
{
	struct minisign_sec others_sec;
	struct minisign_pub keys[2];
	_cleanup_free_ char *sig = sign("made\tfor a test, grüß");
	char comment[MINISIGN_COMMENT_MAX];
	size_t key = 7;

	ck_assert_int_eq(minisign_keygen(&others_sec, &keys[0], &e), 0);
	keys[1] = pub;
	ck_assert_int_eq(minisign_verify("f", sig, strlen(sig), data, sizeof(data) - 1, keys, 2,
				 &key, comment, &e),
		0);
	ck_assert_uint_eq(key, 1);
	ck_assert_str_eq(comment, "made\tfor a test, grüß");
}
END_TEST

START_TEST(empty_data)
{
	char *sig = NULL;

	ck_assert_int_eq(minisign_sign(&sec, "", 0, "", &sig, &e), 0);
	ck_assert_int_eq(minisign_verify("f", sig, strlen(sig), "", 0, &pub, 1, NULL, NULL, &e), 0);
	ck_assert_int_eq(
		minisign_verify("f", sig, strlen(sig), "x", 1, &pub, 1, NULL, NULL, &e), -EBADMSG);
	free(sig);
}
END_TEST

START_TEST(made_by_minisign)
{
	struct minisign_pub p;
	struct minisign_sec s;
	char id[17], comment[MINISIGN_COMMENT_MAX];
	bool encrypted = true;

	ck_assert_int_eq(minisign_pub_decode("p", their_pub, strlen(their_pub), &p, &e), 0);
	minisign_key_id_text(p.key_id, id);
	ck_assert_str_eq(id, "1FEBEC4F85F64C0D");
	ck_assert_int_eq(minisign_verify("f", their_sig, strlen(their_sig), "hi\n", 3, &p, 1, NULL,
				 comment, &e),
		0);
	ck_assert_str_eq(comment, "timestamp:1795467338\tfile:f\thashed");
	ck_assert_int_eq(minisign_verify("f", their_legacy_sig, strlen(their_legacy_sig), "hi\n", 3,
				 &p, 1, NULL, NULL, &e),
		0);
	ck_assert_int_eq(minisign_verify("f", their_legacy_sig, strlen(their_legacy_sig), "ho\n", 3,
				 &p, 1, NULL, NULL, &e),
		-EBADMSG);
	ck_assert_msg(minisign_sec_decode(
			      "k", their_sec, strlen(their_sec), NULL, &s, &encrypted, &e) == 0,
		"%s", e.msg);
	ck_assert(!encrypted);
	ck_assert_mem_eq(s.key + 32, p.key, 32);
	ck_assert_mem_eq(s.key_id, p.key_id, 8);
}
END_TEST

/* Every single bit of the signature's file; the untrusted comment alone may change. */
START_TEST(one_bit_of_the_signature)
{
	_cleanup_free_ char *sig = sign("trusted words");
	size_t len = strlen(sig);
	size_t from = strlen("untrusted comment: ");
	size_t to = (size_t)(strchr(sig, '\n') - sig);

	ck_assert_int_eq(verify(sig, len), 0);
	for (size_t i = 0; i < len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			sig[i] = (char)(sig[i] ^ (1 << bit));
			if (verify(sig, len) == 0)
				ck_assert_msg(
					i >= from && i < to, "byte %zu bit %d was taken", i, bit);
			sig[i] = (char)(sig[i] ^ (1 << bit));
		}
	}
	ck_assert_int_eq(verify(sig, len), 0);
}
END_TEST

START_TEST(one_bit_of_the_data)
{
	_cleanup_free_ char *sig = sign("trusted words");
	char copy[sizeof(data)];

	memcpy(copy, data, sizeof(data));
	for (size_t i = 0; i < sizeof(data) - 1; i++) {
		for (int bit = 0; bit < 8; bit++) {
			copy[i] = (char)(copy[i] ^ (1 << bit));
			ck_assert_int_eq(minisign_verify("f", sig, strlen(sig), copy,
						 sizeof(data) - 1, &pub, 1, NULL, NULL, &e),
				-EBADMSG);
			copy[i] = (char)(copy[i] ^ (1 << bit));
		}
	}
	/* one byte less, one more */
	ck_assert_int_eq(minisign_verify("f", sig, strlen(sig), data, sizeof(data) - 2, &pub, 1,
				 NULL, NULL, &e),
		-EBADMSG);
	ck_assert_int_eq(
		minisign_verify("f", sig, strlen(sig), data, sizeof(data), &pub, 1, NULL, NULL, &e),
		-EBADMSG);
}
END_TEST

START_TEST(truncated_signature)
{
	_cleanup_free_ char *sig = sign("trusted words");
	size_t len = strlen(sig);

	for (size_t n = 0; n < len; n++) {
		_cleanup_free_ char *cut = exact(sig, n);
		int r = verify(cut, n);

		/* The last line may lack its end. */
		ck_assert_msg(
			n == len - 1 ? r == 0 : r == -EINVAL, "%zu of %zu bytes: %d", n, len, r);
	}
}
END_TEST

START_TEST(refused_signatures)
{
	_cleanup_free_ char *sig = sign("trusted words");
	char big[MINISIGN_FILE_MAX + 2];
	size_t len = strlen(sig);
	char *trusted = strstr(sig, "trusted words");
	struct minisign_pub other = pub;
	struct minisign_sec other_sec;
	char id[17];

	/* too much behind it */
	memcpy(big, sig, len);
	memcpy(big + len, "x", 2);
	ck_assert_int_eq(verify(big, len + 1), -EINVAL);
	ck_assert_str_eq(e.msg, "f.minisig:5: expected the end of the file");
	memset(big, 'x', sizeof(big));
	ck_assert_int_eq(verify(big, sizeof(big)), -EINVAL);
	ck_assert_str_eq(e.msg, "f.minisig: 4098 bytes: expected at most 4096");
	ck_assert_int_eq(verify("", 0), -EINVAL);
	ck_assert_str_eq(e.msg, "f.minisig: empty");
	/* nobody's key, and a key of the same id that did not sign */
	ck_assert_int_eq(
		minisign_verify("f", sig, len, data, sizeof(data) - 1, NULL, 0, NULL, NULL, &e),
		-ENOKEY);
	minisign_key_id_text(pub.key_id, id);
	ck_assert_ptr_nonnull(strstr(e.msg, id));
	other.key_id[0] ^= 1;
	ck_assert_int_eq(
		minisign_verify("f", sig, len, data, sizeof(data) - 1, &other, 1, NULL, NULL, &e),
		-ENOKEY);
	ck_assert_int_eq(minisign_keygen(&other_sec, &other, &e), 0);
	memcpy(other.key_id, pub.key_id, sizeof(other.key_id));
	ck_assert_int_eq(
		minisign_verify("f", sig, len, data, sizeof(data) - 1, &other, 1, NULL, NULL, &e),
		-EBADMSG);
	/* another trusted comment */
	memcpy(trusted, "Trusted", 7);
	ck_assert_int_eq(verify(sig, len), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(e.msg, "trusted comment"));
}
END_TEST

START_TEST(trusted_comment_bounds)
{
	char comment[MINISIGN_COMMENT_MAX + 1];
	char back[MINISIGN_COMMENT_MAX];
	char *sig = NULL;

	memset(comment, 'c', sizeof(comment));
	comment[MINISIGN_COMMENT_MAX] = '\0';
	ck_assert_int_eq(minisign_sign(&sec, data, 1, comment, &sig, &e), -EINVAL);
	comment[MINISIGN_COMMENT_MAX - 1] = '\0';
	ck_assert_int_eq(minisign_sign(&sec, data, 1, comment, &sig, &e), 0);
	ck_assert_int_eq(
		minisign_verify("f", sig, strlen(sig), data, 1, &pub, 1, NULL, back, &e), 0);
	ck_assert_str_eq(back, comment);
	free(sig);
	ck_assert_int_eq(minisign_sign(&sec, data, 1, "two\nlines", &sig, &e), -EINVAL);
	ck_assert_int_eq(minisign_sign(&sec, data, 1, "\x1b[2J", &sig, &e), -EINVAL);
}
END_TEST

START_TEST(public_key_files)
{
	struct minisign_pub p = { 0 };
	char *text = NULL;
	size_t len;

	ck_assert_int_eq(minisign_pub_encode(&pub, &text, &e), 0);
	len = strlen(text);
	ck_assert_int_eq(minisign_pub_decode("p", text, len, &p, &e), 0);
	ck_assert_mem_eq(&p, &pub, sizeof(p));
	for (size_t n = 0; n < len - 1; n++) {
		_cleanup_free_ char *cut = exact(text, n);

		ck_assert_int_eq(minisign_pub_decode("p", cut, n, &p, &e), -EINVAL);
	}
	free(text);
	/* a point that is none, an algorithm that is none, a secret key */
	text = exact(their_pub, sizeof(their_pub));
	memset(text + strlen(text) - 41, '/', 40);
	ck_assert_int_eq(minisign_pub_decode("p", text, strlen(text), &p, &e), -EINVAL);
	free(text);
	text = exact(their_pub, sizeof(their_pub));
	memcpy(strchr(text, '\n') + 1, "RUQN", 4);
	ck_assert_int_eq(minisign_pub_decode("p", text, strlen(text), &p, &e), -EINVAL);
	ck_assert_str_eq(e.msg, "p:2: expected a public key of algorithm Ed");
	free(text);
	ck_assert_int_eq(minisign_pub_decode("p", their_sec, strlen(their_sec), &p, &e), -EINVAL);
	ck_assert_str_eq(e.msg, "p:2: expected a public key: 56 characters of base64");
	ck_assert_mem_eq(&p, &pub, sizeof(p));
}
END_TEST

START_TEST(clear_secret_key_files)
{
	struct minisign_sec s = { 0 };
	bool encrypted = true;
	char *text = NULL;
	char *base64;
	size_t taken = 0;

	ck_assert_int_eq(minisign_sec_encode(&sec, "", &text, &e), 0);
	ck_assert_int_eq(minisign_sec_decode("k", text, strlen(text), NULL, &s, &encrypted, &e), 0);
	ck_assert(!encrypted);
	ck_assert_mem_eq(&s, &sec, sizeof(s));
	/* A damaged one is refused, or what was damaged is not used: salt, limits, id. */
	base64 = strchr(text, '\n') + 1;
	for (char *p = base64; *p != '\n'; p++) {
		char was = *p;

		*p = was == 'A' ? 'B' : 'A';
		if (minisign_sec_decode("k", text, strlen(text), NULL, &s, NULL, &e) == 0) {
			ck_assert_mem_eq(s.key, sec.key, sizeof(s.key));
			taken++;
		}
		*p = was;
	}
	ck_assert_uint_lt(taken, 84); /* (2 * 8 + 32 + 8 + 6) bytes of base64 */
	ck_assert_int_eq(
		minisign_sec_decode("k", text, strlen(text) - 2, NULL, &s, NULL, &e), -EINVAL);
	sodium_memzero(text, strlen(text));
	free(text);
	minisign_sec_wipe(&s);
	ck_assert(sodium_is_zero((const uint8_t *)&s, sizeof(s)));
	minisign_sec_wipe(NULL);
}
END_TEST

START_TEST(encrypted_secret_key_files)
{
	struct minisign_sec s = { .key_id = "untouch" };
	struct minisign_sec before = s;
	bool encrypted = false;
	char *text = NULL;

	ck_assert_msg(minisign_sec_encode(&sec, "päss", &text, &e) == 0, "%s", e.msg);
	ck_assert_int_eq(
		minisign_sec_decode("k", text, strlen(text), NULL, &s, &encrypted, &e), -EACCES);
	ck_assert(encrypted);
	ck_assert_str_eq(e.msg, "k: the key is encrypted: a password is needed");
	ck_assert_int_eq(
		minisign_sec_decode("k", text, strlen(text), "pass", &s, NULL, &e), -EACCES);
	ck_assert_str_eq(e.msg, "k: wrong password");
	ck_assert_mem_eq(&s, &before, sizeof(s));
	ck_assert_int_eq(minisign_sec_decode("k", text, strlen(text), "päss", &s, NULL, &e), 0);
	ck_assert_mem_eq(&s, &sec, sizeof(s));
	free(text);
}
END_TEST

/* A file that asks for more work or memory than minisign ever does is refused at once. */
START_TEST(hostile_costs)
{
	static const struct {
		uint8_t ops[8], mem[8];
	} costs[] = {
		{ { 0, 0, 0, 4 }, { [4] = 1 } },       /* 64 Mi operations, 4 GiB */
		{ { [7] = 0xff }, { 0, 0, 0, 1 } },    /* without end */
		{ { 0, 0, 0, 2 }, { [7] = 0x80 } },    /* all memory there is */
		{ { 0 }, { 0 } },                      /* nothing at all */
		{ { 1, 0, 0, 2 }, { 0, 0, 0, 0x40 } }, /* one operation too many */
		{ { 0, 0, 0, 2 }, { 1, 0, 0, 0x40 } }, /* one byte too many */
	};
	uint8_t rec[158] = "EdScB2";
	char text[400];
	struct minisign_sec s;
	size_t front;

	for (size_t i = 0; i < array_size(costs); i++) {
		memcpy(rec + 38, costs[i].ops, 8);
		memcpy(rec + 46, costs[i].mem, 8);
		front = (size_t)snprintf(text, sizeof(text), "untrusted comment: x\n");
		(void)sodium_bin2base64(text + front, sizeof(text) - front, rec, sizeof(rec),
			sodium_base64_VARIANT_ORIGINAL);
		ck_assert_int_eq(
			minisign_sec_decode("k", text, strlen(text), "p", &s, NULL, &e), -EINVAL);
		ck_assert_ptr_nonnull(strstr(e.msg, "to check its password"));
	}
}
END_TEST

/* Both ways with the program itself, in a directory of its own. */
static char dir[] = "/tmp/test_minisign.XXXXXX";

static void enter_dir(void)
{
	setup();
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
}

static void write_text(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(io_write_full(fd, text, strlen(text)), 0);
	(void)close(fd);
}

static char *read_text(const char *name)
{
	_cleanup_close_ int fd = open(name, O_RDONLY | O_CLOEXEC);
	char *text = NULL;
	size_t len;

	ck_assert_msg(fd >= 0, "%s: %s", name, strerror(errno));
	ck_assert_int_eq(io_read_all(fd, MINISIGN_FILE_MAX, name, &text, &len, &e), 0);
	return text;
}

__attribute__((format(printf, 1, 2))) static int run(const char *fmt, ...)
{
	char command[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	return system(command); /* NOLINT: fixed commands of this test */
}

static void leave_dir(void)
{
	ck_assert_int_eq(chdir("/"), 0);
	(void)run("rm -rf %s", dir);
}

START_TEST(they_verify_ours)
{
	_cleanup_free_ char *sig = sign("from us\tto them");
	_cleanup_free_ char *out = NULL;
	char *text = NULL;

	write_text("f", data);
	write_text("f.minisig", sig);
	ck_assert_int_eq(minisign_pub_encode(&pub, &text, &e), 0);
	write_text("k.pub", text);
	free(text);
	ck_assert_int_eq(run("minisign -V -Q -H -p k.pub -m f >out 2>&1"), 0);
	out = read_text("out");
	ck_assert_str_eq(out, "from us\tto them\n");
	write_text("f", "changed");
	ck_assert_int_ne(run("minisign -V -Q -p k.pub -m f >out 2>&1"), 0);
}
END_TEST

START_TEST(we_verify_theirs)
{
	static const char *const options[] = { "", "-l" };
	struct minisign_pub p;
	struct minisign_sec s;
	_cleanup_free_ char *pub_text = NULL;
	_cleanup_free_ char *sec_text = NULL;
	char comment[MINISIGN_COMMENT_MAX];

	write_text("f", data);
	ck_assert_int_eq(run("minisign -G -W -p k.pub -s k.key >out 2>&1"), 0);
	pub_text = read_text("k.pub");
	sec_text = read_text("k.key");
	ck_assert_int_eq(minisign_pub_decode("k.pub", pub_text, strlen(pub_text), &p, &e), 0);
	for (size_t i = 0; i < array_size(options); i++) {
		_cleanup_free_ char *sig = NULL;

		ck_assert_int_eq(
			run("minisign -S %s -s k.key -m f -t 'to us' >out 2>&1", options[i]), 0);
		sig = read_text("f.minisig");
		ck_assert_msg(minisign_verify("f.minisig", sig, strlen(sig), data, sizeof(data) - 1,
				      &p, 1, NULL, comment, &e) == 0,
			"%s", e.msg);
		ck_assert_str_eq(comment, "to us");
	}
	ck_assert_msg(
		minisign_sec_decode("k.key", sec_text, strlen(sec_text), NULL, &s, NULL, &e) == 0,
		"%s", e.msg);
	ck_assert_mem_eq(s.key + 32, p.key, 32);
}
END_TEST

START_TEST(they_sign_with_our_key)
{
	_cleanup_free_ char *sig = NULL;
	char *text = NULL;

	write_text("f", data);
	ck_assert_int_eq(minisign_sec_encode(&sec, NULL, &text, &e), 0);
	write_text("k.key", text);
	free(text);
	ck_assert_int_eq(run("minisign -S -s k.key -m f >out 2>&1"), 0);
	sig = read_text("f.minisig");
	ck_assert_msg(verify(sig, strlen(sig)) == 0, "%s", e.msg);
}
END_TEST

START_TEST(they_open_our_encrypted_key)
{
	_cleanup_free_ char *sig = NULL;
	char *text = NULL;

	write_text("f", data);
	ck_assert_int_eq(minisign_sec_encode(&sec, "correct horse", &text, &e), 0);
	write_text("k.key", text);
	free(text);
	ck_assert_int_eq(run("echo 'correct horse' | minisign -S -s k.key -m f >out 2>&1"), 0);
	sig = read_text("f.minisig");
	ck_assert_msg(verify(sig, strlen(sig)) == 0, "%s", e.msg);
}
END_TEST

START_TEST(we_open_their_encrypted_key)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ char *pub_text = NULL;
	struct minisign_sec s;
	struct minisign_pub p;

	ck_assert_int_eq(
		run("printf 'pw one\\npw one\\n' | minisign -G -p k.pub -s k.key >out 2>&1"), 0);
	text = read_text("k.key");
	pub_text = read_text("k.pub");
	ck_assert_msg(minisign_sec_decode("k", text, strlen(text), "pw one", &s, NULL, &e) == 0,
		"%s", e.msg);
	ck_assert_int_eq(minisign_pub_decode("p", pub_text, strlen(pub_text), &p, &e), 0);
	ck_assert_mem_eq(s.key + 32, p.key, 32);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("minisign");
	TCase *t = tcase_create("minisign");
	TCase *program;
	SRunner *r;
	int failed;

	tcase_add_unchecked_fixture(t, setup, NULL);
	tcase_set_timeout(t, 90); /* scrypt as minisign wants it takes seconds */
	tcase_add_test(t, round_trip);
	tcase_add_test(t, empty_data);
	tcase_add_test(t, made_by_minisign);
	tcase_add_test(t, one_bit_of_the_signature);
	tcase_add_test(t, one_bit_of_the_data);
	tcase_add_test(t, truncated_signature);
	tcase_add_test(t, refused_signatures);
	tcase_add_test(t, trusted_comment_bounds);
	tcase_add_test(t, public_key_files);
	tcase_add_test(t, clear_secret_key_files);
	tcase_add_test(t, encrypted_secret_key_files);
	tcase_add_test(t, hostile_costs);
	suite_add_tcase(s, t);
	if (run("command -v minisign >/dev/null 2>&1") == 0) {
		program = tcase_create("program");
		tcase_add_checked_fixture(program, enter_dir, leave_dir);
		tcase_set_timeout(program, 90);
		tcase_add_test(program, they_verify_ours);
		tcase_add_test(program, we_verify_theirs);
		tcase_add_test(program, they_sign_with_our_key);
		tcase_add_test(program, they_open_our_encrypted_key);
		tcase_add_test(program, we_open_their_encrypted_key);
		suite_add_tcase(s, program);
	} else {
		(void)puts("skip: minisign_program: the program minisign is not installed");
	}
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
