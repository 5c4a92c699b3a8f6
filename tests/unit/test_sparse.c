#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "sparse.h"

#define CHUNK ((size_t)64 << 10)
#define SIZE  (40 * CHUNK + 100)

/* Data in some chunks, explicit zeroes in the others. */
static uint8_t *sample(void)
{
	uint8_t *data = calloc(1, SIZE);

	ck_assert_ptr_nonnull(data);
	data[0] = 1;
	data[3 * CHUNK - 1] = 2; /* the last byte of chunk 2 */
	data[3 * CHUNK + 0] = 3; /* the first byte of chunk 3 */
	memset(data + 15 * CHUNK, 0xee, 2 * CHUNK);
	return data;
}

static int file_of(const uint8_t *data)
{
	int fd = memfd_create("sparse", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(io_write_full(fd, data, SIZE), 0);
	return fd;
}

START_TEST(contents_stay_and_room_is_given_back)
{
	_cleanup_free_ uint8_t *data = sample(), *back = malloc(SIZE);
	_cleanup_close_ int fd = file_of(data);
	struct stat before, after;
	uint64_t dug = 0;

	ck_assert_int_eq(fstat(fd, &before), 0);
	ck_assert_int_eq(sparse_dig(fd, SIZE, &dug, NULL), 0);
	ck_assert_int_eq(fstat(fd, &after), 0);
	/* Chunks 0, 2, 3, 15 and 16 hold something; the 100 bytes at the end are no chunk. */
	ck_assert_uint_eq(dug, 35 * CHUNK);
	ck_assert_int_eq(after.st_size, before.st_size);
	ck_assert_int_eq((before.st_blocks - after.st_blocks) * 512, 35 * CHUNK);
	ck_assert_int_eq(io_pread_full(fd, back, SIZE, 0), 0);
	ck_assert_mem_eq(back, data, SIZE);
	/* The first hole is chunk 1. */
	ck_assert_int_eq(lseek(fd, 0, SEEK_HOLE), CHUNK);
	ck_assert_int_eq(lseek(fd, CHUNK, SEEK_DATA), 2 * CHUNK);
}
END_TEST

START_TEST(small_files_are_left_alone)
{
	_cleanup_free_ uint8_t *data = sample();
	_cleanup_close_ int fd = file_of(data);
	uint64_t dug = 7;

	ck_assert_int_eq(sparse_dig(fd, 0, &dug, NULL), 0);
	ck_assert_uint_eq(dug, 0);
	ck_assert_int_eq(ftruncate(fd, 100), 0);
	ck_assert_int_eq(sparse_dig(fd, 100, &dug, NULL), 0);
	ck_assert_uint_eq(dug, 0);
}
END_TEST

START_TEST(file_shorter_than_said)
{
	_cleanup_free_ uint8_t *data = sample();
	_cleanup_close_ int fd = file_of(data);
	struct kerr e = { 0 };
	uint64_t dug;

	ck_assert_int_eq(sparse_dig(fd, SIZE + 1, &dug, &e), -ENODATA);
	ck_assert_str_ne(e.msg, "");
}
END_TEST

START_TEST(file_that_cannot_be_written)
{
	_cleanup_free_ uint8_t *data = sample();
	_cleanup_close_ int fd = file_of(data);
	uint64_t dug;

	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	ck_assert_int_eq(sparse_dig(fd, SIZE, &dug, NULL), -EPERM);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sparse");
	TCase *t = tcase_create("sparse");
	SRunner *sr;
	int failed;

	tcase_add_test(t, contents_stay_and_room_is_given_back);
	tcase_add_test(t, small_files_are_left_alone);
	tcase_add_test(t, file_shorter_than_said);
	tcase_add_test(t, file_that_cannot_be_written);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
