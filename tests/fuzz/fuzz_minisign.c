/*
 * The three files of minisign as anybody may have written them: signature,
 * public key, secret key (without password: what scrypt costs is bounded by
 * a test of its own). A signature that is taken must carry the bytes that
 * were signed; only the untrusted comment may differ.
 */
#include <stdlib.h>
#include <string.h>

#include <manifests/minisign.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

enum { SIGNATURE, PUBLIC, SECRET, KINDS };

static const char message[] = "what was signed";
static struct minisign_sec sec;
static struct minisign_pub pub;
static char *sound[KINDS];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct kerr e;

	(void)argc;
	(void)argv;
	if (minisign_init(&e) < 0 || minisign_keygen(&sec, &pub, &e) < 0 ||
		minisign_sign(&sec, message, sizeof(message), "trusted", &sound[SIGNATURE], &e) <
			0 ||
		minisign_pub_encode(&pub, &sound[PUBLIC], &e) < 0 ||
		minisign_sec_encode(&sec, NULL, &sound[SECRET], &e) < 0)
		abort();
	return 0;
}

/* From the end of the untrusted comment on, but for the last line's end. */
static void check_signature(const char *text, size_t size)
{
	const char *ours = strchr(sound[SIGNATURE], '\n');
	const char *its = memchr(text, '\n', size);
	size_t len = its ? size - (size_t)(its - text) : 0; /* its \n counts */

	if (!its)
		abort();
	if (its[len - 1] == '\n')
		len--;
	if (len != strlen(ours) - 1 || memcmp(its, ours, len) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct minisign_pub p;
	struct minisign_sec s;
	char comment[MINISIGN_COMMENT_MAX];
	struct kerr e = { 0 };

	if (minisign_verify(
		    "f", text, size, message, sizeof(message), &pub, 1, NULL, comment, &e) == 0) {
		check_signature(text, size);
		if (strcmp(comment, "trusted") != 0)
			abort();
	} else if (e.code <= 0 || strncmp(e.msg, "f:", 2) != 0) {
		abort();
	}
	(void)minisign_pub_decode("f", text, size, &p, &e);
	(void)minisign_sec_decode("f", text, size, NULL, &s, NULL, &e);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	const char *start = sound[seed / 8 % KINDS];

	if (seed % 8 == 0 && max_size >= strlen(start)) {
		size = strlen(start);
		memcpy(data, start, size);
	}
	return LLVMFuzzerMutate(data, size, max_size);
}
