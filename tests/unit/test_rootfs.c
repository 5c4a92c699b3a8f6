#include <check.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>
#include <images/import.h>

#include "child.h"
#include "erofs.h"
#include "image_samples.h"
#include "store_private.h"

static char store_path[64];
static char src_path[64];
static struct import_ctx ctx;
static struct kerr e;
static int src = -1;

static void setup(void)
{
	memset(&e, 0, sizeof(e));
	memset(&ctx, 0, sizeof(ctx));
	ctx.store_dirfd = sample_dir(store_path);
	src = sample_dir(src_path);
}

static void teardown(void)
{
	sample_dir_done(ctx.store_dirfd, store_path);
	sample_dir_done(src, src_path);
}

static bool skip_without(const char *program, const char *package)
{
	char path[64];

	for (size_t i = 0; i < 2; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", i ? "/usr/sbin" : "/usr/bin", program);
		if (access(path, X_OK) == 0)
			return false;
	}
	fprintf(stderr, "skipped: no %s here (apt-get install %s)\n", program, package);
	return true;
}

static void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	ck_assert_msg(system(cmd) == 0, "%s", cmd);
}

static void make_tree(const char *at)
{
	shell("set -e; cd %s; mkdir -p bin etc var home/a/b; echo one >bin/one; chmod 4755 bin/one; "
	      "for i in z y x a b c 1 2 3; do echo $i >etc/$i; done; ln etc/a home/a/hard; "
	      "ln -s ../bin/one home/a/soft; mkfifo home/fifo; head -c 200000 /dev/zero >home/zeros; "
	      "seq 1 30000 >home/numbers",
		at);
}

static int import_path(const char *name, struct digest *ret)
{
	_cleanup_close_ int fd = openat(src, name, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	memset(&e, 0, sizeof(e));
	return import_rootfs(&ctx, fd, name, ret, &e);
}

static void refused(const char *name, int code, const char *words)
{
	struct digest d;
	int r = import_path(name, &d);

	ck_assert_msg(r == -code, "%s: expected %d, got %d: %s", name, -code, r, e.msg);
	ck_assert_msg(strstr(e.msg, words) != NULL, "\"%s\" is not in: %s", words, e.msg);
	ck_assert_uint_eq(sample_count(ctx.store_dirfd), 0);
}

static struct digest imported(const char *name)
{
	struct digest d;
	int r = import_path(name, &d);

	ck_assert_msg(r == 0, "%s: %s", name, e.msg);
	return d;
}

/* Another file system, other times, another order of creation; and as a tar file, plain and packed.
 */
START_TEST(same_tree_same_digest)
{
	struct digest one;
	struct digest two;
	char shm[] = "/dev/shm/kosvm-test-XXXXXX";
	_cleanup_close_ int fd = -1;

	if (skip_without("mkfs.erofs", "erofs-utils"))
		return;
	shell("mkdir %s/tree", src_path);
	shell("cd %s/tree && chmod 0755 .", src_path);
	{
		char at[128];

		(void)snprintf(at, sizeof(at), "%s/tree", src_path);
		make_tree(at);
	}
	one = imported("tree");
	/* The user's tree is as it was. */
	shell("cd %s/tree && test ! -e proc && test ! -e state && test ! -e var/tmp", src_path);

	if (access("/dev/shm", W_OK) == 0 && mkdtemp(shm)) {
		shell("cd %s/tree && find . | sort -r | cpio -pdm --quiet %s 2>/dev/null; "
		      "rm -rf %s; mkdir -m 700 %s; cp -a . %s; "
		      "find %s -exec touch -h -d 2001-02-03 {} +",
			src_path, shm, shm, shm, shm, shm);
		fd = open(shm, O_PATH | O_DIRECTORY | O_CLOEXEC);
		ck_assert_msg(import_rootfs(&ctx, fd, "copy", &two, &e) == 0, "%s", e.msg);
		shell("rm -rf %s", shm);
		ck_assert_mem_eq(&one, &two, sizeof(one));
	}
	shell("cd %s && tar -cf tree.tar -C tree . && gzip -k tree.tar && xz -k tree.tar",
		src_path);
	two = imported("tree.tar");
	ck_assert_mem_eq(&one, &two, sizeof(one));
	two = imported("tree.tar.gz");
	ck_assert_mem_eq(&one, &two, sizeof(one));
	two = imported("tree.tar.xz");
	ck_assert_mem_eq(&one, &two, sizeof(one));
	/* And what was made imports as it is. */
	{
		char hex[DIGEST_TEXT_LEN + 1];

		digest_format(&one, hex);
		shell("cp %s/%s %s/made.erofs", store_path, hex + 8, src_path);
	}
	two = imported("made.erofs");
	ck_assert_mem_eq(&one, &two, sizeof(one));
	ck_assert_uint_eq(sample_count(ctx.store_dirfd), 2);
}
END_TEST

START_TEST(different_tree_different_digest)
{
	struct digest one;
	struct digest two;

	if (skip_without("mkfs.erofs", "erofs-utils"))
		return;
	shell("mkdir %s/tree && echo a >%s/tree/file", src_path, src_path);
	one = imported("tree");
	shell("echo b >%s/tree/file", src_path);
	two = imported("tree");
	ck_assert_mem_ne(&one, &two, sizeof(one));
}
END_TEST

/* What the guest mounts things on, with fsck.erofs as the witness. */
START_TEST(standard_directories_are_there)
{
	static const char *const dirs[] = { "dev", "proc", "run", "state", "sys", "tmp",
		"var/tmp" };
	struct digest d;
	char hex[DIGEST_TEXT_LEN + 1];

	if (skip_without("mkfs.erofs", "erofs-utils") || skip_without("fsck.erofs", "erofs-utils"))
		return;
	shell("mkdir -p %s/tree/tmp && chmod 700 %s/tree/tmp && echo x >%s/tree/run", src_path,
		src_path, src_path);
	d = imported("tree");
	digest_format(&d, hex);
	shell("fsck.erofs --preserve-perms --extract=%s/out %s/%s >/dev/null", src_path, store_path,
		hex + 8);
	for (size_t i = 0; i < array_size(dirs); i++) {
		if (strcmp(dirs[i], "run") == 0)
			shell("test -f %s/out/run", src_path); /* what is there stays */
		else
			shell("test -d %s/out/%s", src_path, dirs[i]);
	}
	shell("test $(stat -c %%a %s/out/tmp) = 700 && test $(stat -c %%a %s/out/var/tmp) = 1777",
		src_path, src_path);
}
END_TEST

START_TEST(links_in_the_tree_are_not_followed)
{
	struct digest d;

	if (skip_without("mkfs.erofs", "erofs-utils"))
		return;
	shell("cd %s && mkdir tree outside && ln -s %s/outside tree/var && ln -s %s/outside tree/tmp "
	      "&& tar -cf tree.tar -C tree .",
		src_path, src_path, src_path);
	d = imported("tree");
	d = imported("tree.tar");
	(void)d;
	shell("test -z \"$(ls -A %s/outside)\"", src_path);
}
END_TEST

START_TEST(what_is_no_root_filesystem_is_refused)
{
	char zeros[4096] = { 0 };

	shell("cd %s && echo hello there >text && : >empty", src_path);
	sample_write(src, "zeros", zeros, sizeof(zeros));
	refused("text", ENOEXEC, "68 65 6c 6c");
	refused("empty", ENOEXEC, "empty");
	refused("zeros", ENOEXEC, "not a root filesystem");
}
END_TEST

START_TEST(bad_tars_are_refused)
{
	if (skip_without("mkfs.erofs", "erofs-utils"))
		return;
	shell("cd %s && mkdir t && seq 1 100000 >t/numbers && tar -cf good.tar t && "
	      "gzip -k good.tar && head -c 20000 good.tar >cut.tar && "
	      "head -c $((1024 + ($(stat -c %%s t/numbers) + 511) / 512 * 512)) good.tar >ends.tar && "
	      "head -c 20000 good.tar.gz >cut.tar.gz && "
	      "echo evil >evil && cd t && tar -P -cf ../dots.tar ../evil",
		src_path);
	refused("cut.tar", EBADMSG, "cut.tar: a tar file that is cut short");
	/* Behind a whole member: for tar itself that is an archive. */
	refused("ends.tar", EBADMSG, "ends.tar: a tar file that is cut short");
	refused("cut.tar.gz", EIO, "cut.tar.gz: unpacking: tar");
	refused("dots.tar", EIO, "'..'");
	/* xz's magic number and nothing of sense behind it. */
	sample_write(src, "bad.tar.xz",
		"\xfd"
		"7zXZ\0not really",
		16);
	refused("bad.tar.xz", EIO, "bad.tar.xz: unpacking: tar");
}
END_TEST

/* A link that leads out, then a file through it; a deep nest; a tree without permissions. */
START_TEST(hostile_tars_stay_inside_and_go_away)
{
	int r;
	struct digest d;

	if (skip_without("mkfs.erofs", "erofs-utils"))
		return;
	shell("cd %s && mkdir out a b && ln -s %s/out a/dir && mkdir b/dir && echo x >b/dir/file && "
	      "tar -cf through.tar -C a dir && tar -rf through.tar -C b dir/file",
		src_path, src_path);
	r = import_path("through.tar", &d);
	shell("test ! -e %s/out/file", src_path);
	if (r == 0)
		ck_assert_int_eq(store_remove(ctx.store_dirfd, &d, &e), 0);
	ck_assert_uint_eq(sample_count(ctx.store_dirfd), 0);

	shell("cd %s && mkdir c && cd c && for i in $(seq 1 1200); do mkdir -m 700 d && cd d; done; "
	      "cd %s && tar -cf deep.tar -C c .",
		src_path, src_path);
	r = import_path("deep.tar", &d);
	if (r == 0)
		ck_assert_int_eq(store_remove(ctx.store_dirfd, &d, &e), 0);
	ck_assert_uint_eq(sample_count(ctx.store_dirfd), 0);
}
END_TEST

START_TEST(erofs_superblocks_are_checked)
{
	char hex[DIGEST_TEXT_LEN + 1];
	_cleanup_free_ char *image = NULL;
	struct digest d;
	size_t len;
	int fd;

	if (skip_without("mkfs.erofs", "erofs-utils"))
		return;
	shell("mkdir %s/tree && seq 1 30000 >%s/tree/numbers", src_path, src_path);
	d = imported("tree");
	digest_format(&d, hex);
	fd = openat(ctx.store_dirfd, hex + 8, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(io_read_all(fd, 1 << 24, "image", &image, &len, &e), 0);
	(void)close(fd);
	ck_assert_int_eq(store_remove(ctx.store_dirfd, &d, &e), 0);

	sample_write(src, "cut", image, len - 4096);
	refused("cut", EBADMSG, "cut short");
	sample_write(src, "cut", image, 1030);
	refused("cut", ENOEXEC, "no EROFS image");
	sample_write(src, "odd", image, len);
	ck_assert_int_eq(
		truncate(strcat(strcpy((char[128]){ 0 }, src_path), "/odd"), (off_t)len + 7), 0);
	refused("odd", EBADMSG, "multiple of 512");
	/* Each byte of the superblock that is not the magic number: the checksum sees it. */
	for (size_t at = 4; at < 128; at += 3) {
		_cleanup_close_ int bad = -1;

		image[1024 + at] ^= 0x55;
		bad = sample_fd(image, len);
		ck_assert_int_lt(erofs_check(bad, len, &e), 0);
		image[1024 + at] ^= 0x55;
	}
	{
		/* Without a checksum: what counts is looked at itself. */
		_cleanup_close_ int bad = -1;

		image[1024 + 8] &= (char)~1;
		image[1024 + 14] = (char)0xff;
		image[1024 + 15] = (char)0xff;
		image[1024 + 41] = 0x7f;
		bad = sample_fd(image, len);
		ck_assert_int_eq(erofs_check(bad, len, &e), -EBADMSG);
		ck_assert_ptr_nonnull(strstr(e.msg, "root directory"));
	}
}
END_TEST

START_TEST(state_disk_is_whole_sparse_and_owned)
{
	struct stat st;

	if (skip_without("mkfs.ext4", "e2fsprogs"))
		return;
	for (uint64_t size = 8 << 20; size <= 4ULL << 30; size *= 8) {
		int r = state_disk_make(src, "disk", size, 1000, 1001, &e);

		ck_assert_msg(r == 0, "%s", e.msg);
		ck_assert_int_eq(fstatat(src, "disk", &st, 0), 0);
		ck_assert_uint_eq((uint64_t)st.st_size, size);
		ck_assert_int_lt(st.st_blocks * 512, 4 << 20);
		ck_assert_int_eq(st.st_mode & 07777, 0600);
		shell("PATH=$PATH:/usr/sbin:/sbin; e2fsck -fn %s/disk >/dev/null 2>&1", src_path);
		shell("PATH=$PATH:/usr/sbin:/sbin; debugfs -R 'stat <2>' %s/disk 2>/dev/null | "
		      "grep -q 'User:  1000   Group:  1001'",
			src_path);
		shell("PATH=$PATH:/usr/sbin:/sbin; dumpe2fs -h %s/disk 2>/dev/null | "
		      "grep -q 'features:.*has_journal'",
			src_path);
		ck_assert_int_eq(state_disk_make(src, "disk", size, 1, 1, &e), -EEXIST);
		ck_assert_int_eq(unlinkat(src, "disk", 0), 0);
		ck_assert_uint_eq(sample_count(src), 0);
	}
	ck_assert_int_eq(state_disk_make(src, "disk", 4096, 1, 1, &e), -EINVAL);
	ck_assert_int_eq(state_disk_make(src, "disk", (8 << 20) + 1, 1, 1, &e), -EINVAL);
	ck_assert_int_eq(state_disk_make(src, "disk", 1ULL << 60, 1, 1, &e), -EINVAL);
	ck_assert_uint_eq(sample_count(src), 0);
}
END_TEST

static void write_map(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(io_write_full(fd, text, strlen(text)), 0);
	(void)close(fd);
}

/* A mount namespace of our own; for an ordinary user, as root of a user namespace. 0 or -errno. */
static int own_mounts(void)
{
	uid_t uid = geteuid();
	char map[32];

	if (unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return -errno;
	if (uid != 0) {
		(void)snprintf(map, sizeof(map), "0 %u 1", uid);
		write_map("/proc/self/setgroups", "deny");
		write_map("/proc/self/uid_map", map);
		(void)snprintf(map, sizeof(map), "0 %u 1", getegid());
		write_map("/proc/self/gid_map", map);
	}
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? -errno : 0;
}

/* The store on a file system of `size`; false where that cannot be had. */
static bool tiny_store(const char *size)
{
	int r = own_mounts();
	char opts[64];

	if (r < 0) {
		fprintf(stderr, "skipped: no mount namespace here: %s\n", strerror(-r));
		return false;
	}
	(void)snprintf(opts, sizeof(opts), "size=%s", size);
	if (mount("tmpfs", store_path, "tmpfs", 0, opts) < 0) {
		fprintf(stderr, "skipped: no tmpfs here: %s\n", strerror(errno));
		return false;
	}
	/* Both again: an overlay takes no directory of another mount namespace. */
	(void)close(ctx.store_dirfd);
	(void)close(src);
	ctx.store_dirfd = open(store_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	src = open(src_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return true;
}

START_TEST(full_disk_is_one_error_and_leaves_nothing)
{
	_cleanup_free_ uint8_t *elf = sample_elf(ET_EXEC, 2000000);
	_cleanup_close_ int fd = sample_fd(elf, 2000000);
	struct digest d;

	shell("mkdir %s/tree && seq 1 300000 >%s/tree/numbers && tar -cf %s/tree.tar -C %s/tree .",
		src_path, src_path, src_path, src_path);
	if (!tiny_store("256k"))
		return;
	ck_assert_int_eq(import_kernel(&ctx, fd, "k", &d, &e), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(e.msg, "No space left"));
	ck_assert_uint_eq(sample_count(ctx.store_dirfd), 0);
	if (!skip_without("mkfs.erofs", "erofs-utils")) {
		refused("tree.tar", ENOSPC, "No space left");
		refused("tree", ENOSPC, "No space left");
	}
	if (!skip_without("mkfs.ext4", "e2fsprogs")) {
		int r = state_disk_make(ctx.store_dirfd, "disk", 4ULL << 30, 1, 1, &e);

		ck_assert_msg(r == -ENOSPC, "%d: %s", r, e.msg);
		ck_assert_uint_eq(sample_count(ctx.store_dirfd), 0);
	}
	(void)umount2(store_path, MNT_DETACH);
}
END_TEST

START_TEST(child_reports_what_happened)
{
	const char *fail[] = { "sh", "-c", "echo the first words >&2; echo more; exit 3", NULL };
	const char *hang[] = { "sh", "-c", "sleep 60 & sleep 60", NULL };
	const char *noisy[] = { "sh", "-c", "head -c 3000000 /dev/zero; exit 1", NULL };
	const char *killed[] = { "sh", "-c", "kill -9 $$", NULL };
	const char *env[] = { "sh", "-c", "test -z \"$SECRET\" && test ! -e /proc/self/fd/9",
		NULL };
	const char *none[] = { "no-such-program", NULL };
	struct child_spec s = {
		.package = "some-package", .cwd_fd = -1, .timeout_ns = 20 * CLOCK_NS_PER_S
	};
	uint64_t start;

	s.argv = fail;
	ck_assert_int_eq(child_run(&s, &e), -EIO);
	ck_assert_ptr_nonnull(strstr(e.msg, "sh failed with code 3: the first words"));
	s.argv = noisy;
	ck_assert_int_eq(child_run(&s, &e), -EIO);
	s.argv = killed;
	ck_assert_int_eq(child_run(&s, &e), -EIO);
	ck_assert_ptr_nonnull(strstr(e.msg, "signal 9"));
	s.argv = none;
	ck_assert_int_eq(child_run(&s, &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.msg, "apt-get install some-package"));
	ck_assert_int_eq(setenv("SECRET", "x", 1), 0);
	ck_assert_int_eq(dup2(src, 9), 9); /* not close-on-exec, and still not passed on */
	s.argv = env;
	ck_assert_msg(child_run(&s, &e) == 0, "%s", e.msg);
	s.argv = hang;
	s.timeout_ns = 200 * CLOCK_NS_PER_MS;
	start = clock_mono_ns();
	ck_assert_int_eq(child_run(&s, &e), -ETIMEDOUT);
	ck_assert_uint_lt(clock_mono_ns() - start, 10 * CLOCK_NS_PER_S);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rootfs");
	TCase *t = tcase_create("rootfs");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 100);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, same_tree_same_digest);
	tcase_add_test(t, different_tree_different_digest);
	tcase_add_test(t, standard_directories_are_there);
	tcase_add_test(t, links_in_the_tree_are_not_followed);
	tcase_add_test(t, what_is_no_root_filesystem_is_refused);
	tcase_add_test(t, bad_tars_are_refused);
	tcase_add_test(t, hostile_tars_stay_inside_and_go_away);
	tcase_add_test(t, erofs_superblocks_are_checked);
	tcase_add_test(t, state_disk_is_whole_sparse_and_owned);
	tcase_add_test(t, full_disk_is_one_error_and_leaves_nothing);
	tcase_add_test(t, child_reports_what_happened);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
