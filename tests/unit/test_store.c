#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <images/store.h>

#include "image_samples.h"
#include "store_private.h"

static char path[64];
static int store = -1;
static struct kerr e;

static void setup(void)
{
	memset(&e, 0, sizeof(e));
	store = sample_dir(path);
}

static void teardown(void)
{
	sample_dir_done(store, path);
}

static struct digest add(const char *text, enum image_kind kind, const char *label)
{
	_cleanup_close_ int fd = -1;
	struct digest d = { { 0 } };
	char tmp[64];
	int r;

	ck_assert_int_eq(store_tmp(store, tmp, &fd, &e), 0);
	ck_assert_int_eq(io_write_full(fd, text, strlen(text)), 0);
	r = store_commit(store, tmp, fd, kind, label, &d, &e);
	ck_assert_msg(r == 0, "%s", e.msg);
	return d;
}

START_TEST(digest_is_blake2b_256)
{
	/* printf abc | b2sum -l 256 */
	_cleanup_close_ int fd = sample_fd("abc", 3);
	char text[DIGEST_TEXT_LEN + 1];
	struct digest d;
	uint64_t size;

	ck_assert_int_eq(lseek(fd, 2, SEEK_SET), 2);
	ck_assert_int_eq(image_digest_fd(fd, &d, &size, &e), 0);
	digest_format(&d, text);
	ck_assert_str_eq(
		text, "blake2b:bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
	ck_assert_uint_eq(size, 3);
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 2);
}
END_TEST

START_TEST(added_image_is_found_and_verified)
{
	struct digest d = add("hello", IMAGE_ROOTFS, "/a/dir/debian 12.img");
	_cleanup_free_ struct store_entry *list = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;
	uint64_t size;
	size_t count;
	char buf[5];

	ck_assert_int_eq(store_open_verified(store, &d, IMAGE_ROOTFS, &fd, &size, &e), 0);
	ck_assert_uint_eq(size, 5);
	ck_assert_int_eq(io_pread_full(fd, buf, 5, 0), 0);
	ck_assert_mem_eq(buf, "hello", 5);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0444);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	ck_assert_int_eq(store_list(store, &list, &count, &e), 0);
	ck_assert_uint_eq(count, 1);
	ck_assert_str_eq(list[0].label, "debian_12.img");
	ck_assert_int_eq((int)list[0].kind, IMAGE_ROOTFS);
	ck_assert_uint_eq(list[0].size, 5);
	ck_assert_mem_eq(&list[0].digest, &d, sizeof(d));
}
END_TEST

START_TEST(changed_byte_is_refused_with_both_digests)
{
	struct digest d = add("hello", IMAGE_KERNEL, "k");
	char name[STORE_NAME_LEN];
	char text[DIGEST_TEXT_LEN + 1];
	struct digest other;
	int fd = -1;

	store_name(&d, name);
	ck_assert_int_eq(fchmodat(store, name, 0600, 0), 0);
	sample_write(store, name, "hellO", 5);
	ck_assert_int_eq(store_open_verified(store, &d, IMAGE_KERNEL, &fd, NULL, &e), -EBADMSG);
	ck_assert_int_eq(fd, -1);
	fd = openat(store, name, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(image_digest_fd(fd, &other, NULL, &e), 0);
	(void)close(fd);
	digest_format(&other, text);
	ck_assert_int_eq(store_open_verified(store, &d, IMAGE_KERNEL, &fd, NULL, &e), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(e.msg, text));
	/* Importing it again mends it. */
	d = add("hello", IMAGE_KERNEL, "k");
	ck_assert_int_eq(store_open_verified(store, &d, IMAGE_KERNEL, &fd, NULL, &e), 0);
	(void)close(fd);
}
END_TEST

START_TEST(absent_and_wrong_kind)
{
	struct digest d = add("hello", IMAGE_INITRAMFS, "i");
	_cleanup_close_ int tmp_fd = -1;
	struct digest none = { { 1 } };
	char tmp[64];
	int fd = -1;

	ck_assert_int_eq(store_open_verified(store, &none, IMAGE_KERNEL, &fd, NULL, &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.msg, "blake2b:0100"));
	ck_assert_int_eq(store_open_verified(store, &d, IMAGE_KERNEL, &fd, NULL, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "initramfs"));
	ck_assert_int_eq(store_tmp(store, tmp, &tmp_fd, &e), 0);
	ck_assert_int_eq(io_write_full(tmp_fd, "hello", 5), 0);
	ck_assert_int_eq(store_commit(store, tmp, tmp_fd, IMAGE_KERNEL, "x", &none, &e), -EEXIST);
	store_abort(store, tmp);
	ck_assert_uint_eq(sample_count(store), 2);
}
END_TEST

START_TEST(link_instead_of_an_image_is_refused)
{
	struct digest d = add("hello", IMAGE_KERNEL, "k");
	char name[STORE_NAME_LEN];
	int fd = -1;

	store_name(&d, name);
	ck_assert_int_eq(renameat(store, name, store, "elsewhere"), 0);
	ck_assert_int_eq(symlinkat("elsewhere", store, name), 0);
	ck_assert_int_lt(store_open_verified(store, &d, IMAGE_KERNEL, &fd, NULL, &e), 0);
	ck_assert_int_eq(unlinkat(store, name, 0), 0);
	ck_assert_int_eq(mkfifoat(store, name, 0600), 0); /* must not wait for a writer */
	ck_assert_int_eq(store_open_verified(store, &d, IMAGE_KERNEL, &fd, NULL, &e), -EBADMSG);
}
END_TEST

START_TEST(damaged_sidecars_are_refused)
{
	static const char *const bad[] = { "", "\n", "kernel", "kernel\n", "kernel \n", "kernel k",
		"kernel k\nmore\n", "vmlinux k\n", "kernel a b\n", "kernel ../k\n",
		"kernel \x1b[31m\n" };
	struct digest d = add("hello", IMAGE_KERNEL, "k");
	_cleanup_free_ struct store_entry *list = NULL;
	char name[STORE_SIDECAR_LEN];
	char big[1000];
	size_t count;
	int fd = -1;

	store_sidecar_name(&d, name);
	for (size_t i = 0; i < array_size(bad); i++) {
		sample_write(store, name, bad[i], strlen(bad[i]));
		ck_assert_msg(
			store_open_verified(store, &d, IMAGE_KERNEL, &fd, NULL, &e) == -EBADMSG,
			"sidecar %zu: %s", i, e.msg);
	}
	memset(big, 'x', sizeof(big));
	sample_write(store, name, big, sizeof(big));
	ck_assert_int_lt(store_open_verified(store, &d, IMAGE_KERNEL, &fd, NULL, &e), 0);
	ck_assert_int_eq(store_list(store, &list, &count, &e), 0);
	ck_assert_uint_eq(count, 0);
	ck_assert_int_eq(unlinkat(store, name, 0), 0);
	ck_assert_int_eq(store_open_verified(store, &d, IMAGE_KERNEL, &fd, NULL, &e), -EBADMSG);
}
END_TEST

START_TEST(list_is_sorted_and_remove_removes)
{
	struct digest b = add("1", IMAGE_ROOTFS, "b");
	struct digest z = add("2", IMAGE_KERNEL, "z");
	struct digest a = add("3", IMAGE_ROOTFS, "a");
	struct store_entry *list = NULL;
	size_t count;

	ck_assert_int_eq(store_list(store, &list, &count, &e), 0);
	ck_assert_uint_eq(count, 3);
	ck_assert_mem_eq(&list[0].digest, &z, sizeof(z));
	ck_assert_mem_eq(&list[1].digest, &a, sizeof(a));
	ck_assert_mem_eq(&list[2].digest, &b, sizeof(b));
	free(list);
	ck_assert_int_eq(store_remove(store, &a, &e), 0);
	ck_assert_int_eq(store_remove(store, &a, &e), -ENOENT);
	ck_assert_uint_eq(sample_count(store), 4);
}
END_TEST

START_TEST(same_bytes_twice_are_one_image)
{
	struct digest d = add("same", IMAGE_ROOTFS, "one");
	struct store_entry *list = NULL;
	struct stat before;
	struct stat after;
	char name[STORE_NAME_LEN];
	size_t count;

	store_name(&d, name);
	ck_assert_int_eq(fstatat(store, name, &before, 0), 0);
	(void)add("same", IMAGE_ROOTFS, "two");
	ck_assert_int_eq(fstatat(store, name, &after, 0), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_int_eq(store_list(store, &list, &count, &e), 0);
	ck_assert_uint_eq(count, 1);
	ck_assert_str_eq(list[0].label, "two");
	free(list);
}
END_TEST

START_TEST(clean_takes_leftovers_and_nothing_else)
{
	struct digest d = add("hello", IMAGE_KERNEL, "k");
	struct digest gone = add("gone", IMAGE_KERNEL, "g");
	_cleanup_close_ int used = -1;
	_cleanup_close_ int used_dir = -1;
	char name[STORE_NAME_LEN];
	char dir_name[64];
	char tmp[64];
	int fd = -1;

	ck_assert_int_eq(store_tmp(store, tmp, &used, &e), 0);
	ck_assert_int_eq(store_tmp_dir(store, dir_name, &used_dir, &e), 0);
	sample_write(store, ".tmp-0123", "x", 1);
	ck_assert_int_eq(mkdirat(store, ".tmp-dir", 0700), 0);
	ck_assert_int_eq(mkdirat(store, ".tmp-dir/sub", 0700), 0);
	sample_write(store, ".tmp-dir/sub/file", "x", 1);
	ck_assert_int_eq(symlinkat("/etc/passwd", store, ".tmp-link"), 0);
	sample_write(store, "unrelated", "x", 1);
	store_name(&gone, name);
	ck_assert_int_eq(unlinkat(store, name, 0), 0);

	ck_assert_msg(store_clean(store, &e) == 1, "%s", e.msg); /* two are held */
	/* Image and sidecar, the two in use, the file that is not ours. */
	ck_assert_uint_eq(sample_count(store), 5);
	ck_assert_int_eq(faccessat(store, tmp, F_OK, 0), 0);
	ck_assert_int_eq(faccessat(store, dir_name, F_OK, 0), 0);
	ck_assert_int_eq(store_open_verified(store, &d, IMAGE_KERNEL, &fd, NULL, &e), 0);
	(void)close(fd);
	close_fd(&used);
	close_fd(&used_dir);
	ck_assert_int_eq(store_clean(store, &e), 0);
	ck_assert_uint_eq(sample_count(store), 3);
}
END_TEST

/* Without a descriptor to look with, nothing is known: what is in use must stay. */
START_TEST(clean_without_descriptors_takes_nothing_in_use)
{
	_cleanup_close_ int used = -1;
	struct rlimit old, few;
	char tmp[64];
	int next;

	ck_assert_int_eq(store_tmp(store, tmp, &used, &e), 0);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	next = dup(used);
	ck_assert_int_ge(next, 0);
	(void)close(next);
	/* Room for the lock and the directory alone. */
	few = (struct rlimit){ .rlim_cur = (rlim_t)next + 2, .rlim_max = old.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	(void)store_clean(store, &e);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	ck_assert_int_eq(faccessat(store, tmp, F_OK, 0), 0);
}
END_TEST

/* Killed at a random moment while it adds images: each is whole, or it is not there. */
START_TEST(killed_writer_leaves_whole_images_only)
{
	struct store_entry *list = NULL;
	size_t count;

	for (int round = 0; round < 20; round++) {
		pid_t pid = fork();

		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			for (int i = 0;; i++) {
				char text[64];

				(void)snprintf(text, sizeof(text), "image %d %d", round, i);
				(void)add(text, IMAGE_ROOTFS, "r");
			}
		}
		(void)usleep((useconds_t)(1000 + round * 1700));
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		ck_assert_int_eq(store_clean(store, &e), 0);
	}
	ck_assert_int_eq(store_list(store, &list, &count, &e), 0);
	ck_assert_uint_gt(count, 0);
	ck_assert_uint_eq(sample_count(store), 2 * count);
	for (size_t i = 0; i < count; i++) {
		_cleanup_close_ int fd = -1;

		ck_assert_int_eq(
			store_open_verified(store, &list[i].digest, IMAGE_ROOTFS, &fd, NULL, &e),
			0);
	}
	free(list);
}
END_TEST

START_TEST(labels_are_made_harmless)
{
	char out[128];
	char big[300];

	label_sanitise("/boot/vmlinuz-6.1\x1b[31m\n", out);
	ck_assert_str_eq(out, "vmlinuz-6.1_[31m_");
	label_sanitise("a b/", out);
	ck_assert_str_eq(out, "a_b");
	label_sanitise("///", out);
	ck_assert_str_eq(out, "unnamed");
	label_sanitise("", out);
	ck_assert_str_eq(out, "unnamed");
	label_sanitise(NULL, out);
	ck_assert_str_eq(out, "unnamed");
	memset(big, 'y', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	label_sanitise(big, out);
	ck_assert_uint_eq(strlen(out), 127);
}
END_TEST

START_TEST(kinds_have_names)
{
	enum image_kind kind;

	for (int i = IMAGE_KERNEL; i <= IMAGE_ROOTFS; i++) {
		ck_assert_int_eq(image_kind_parse(image_kind_name((enum image_kind)i), &kind), 0);
		ck_assert_int_eq((int)kind, i);
	}
	ck_assert_int_eq(image_kind_parse("disk", &kind), -EINVAL);
	ck_assert_str_eq(image_kind_name((enum image_kind)99), "unknown");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store");
	TCase *t = tcase_create("store");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, digest_is_blake2b_256);
	tcase_add_test(t, added_image_is_found_and_verified);
	tcase_add_test(t, changed_byte_is_refused_with_both_digests);
	tcase_add_test(t, absent_and_wrong_kind);
	tcase_add_test(t, link_instead_of_an_image_is_refused);
	tcase_add_test(t, damaged_sidecars_are_refused);
	tcase_add_test(t, list_is_sorted_and_remove_removes);
	tcase_add_test(t, same_bytes_twice_are_one_image);
	tcase_add_test(t, clean_takes_leftovers_and_nothing_else);
	tcase_add_test(t, clean_without_descriptors_takes_nothing_in_use);
	tcase_add_test(t, killed_writer_leaves_whole_images_only);
	tcase_add_test(t, labels_are_made_harmless);
	tcase_add_test(t, kinds_have_names);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
