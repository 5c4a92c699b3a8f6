#include <images/store.h>

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>

#define READ_CHUNK (1u << 20)

int image_digest_fd(int fd, struct digest *ret, uint64_t *ret_size, struct kerr *e)
{
	_cleanup_free_ uint8_t *buf = NULL;
	crypto_generichash_state state;
	uint64_t offset = 0;

	_Static_assert(DIGEST_LEN == crypto_generichash_BYTES, "BLAKE2b-256");
	/* Chooses the processor's implementation; a second call does nothing. */
	if (sodium_init() < 0)
		return kerr_set(e, EIO, "libsodium does not start");
	buf = malloc(READ_CHUNK);
	if (!buf)
		return kerr_errno(e, ENOMEM, "image");
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	(void)crypto_generichash_init(&state, NULL, 0, DIGEST_LEN);
	for (;;) {
		ssize_t n = pread(fd, buf, READ_CHUNK, (off_t)offset);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return kerr_errno(
				e, errno, "image: read at byte %llu", (unsigned long long)offset);
		}
		if (n == 0)
			break;
		(void)crypto_generichash_update(&state, buf, (unsigned long long)n);
		offset += (uint64_t)n;
	}
	(void)crypto_generichash_final(&state, ret->bytes, DIGEST_LEN);
	if (ret_size)
		*ret_size = offset;
	return 0;
}
