#include <check.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <images/import.h>

#include "image_samples.h"
#include "modinfo.h"
#include "modules.h"

static char store_path[64];
static char tree_path[64];
static struct import_ctx ctx;
static struct kerr e;
static int tree = -1;

static void setup(void)
{
	memset(&e, 0, sizeof(e));
	memset(&ctx, 0, sizeof(ctx));
	ctx.store_dirfd = sample_dir(store_path);
	tree = sample_dir(tree_path);
}

static void teardown(void)
{
	sample_dir_done(ctx.store_dirfd, store_path);
	sample_dir_done(tree, tree_path);
}

static void text(const char *name, const char *content)
{
	sample_write(tree, name, content, strlen(content));
}

/* A kernel that has all but virtio_rng as modules, one of them packed. */
static const struct {
	const char *name;
	const char *depends;
} sample_modules[] = {
	{ "virtio_ring", "" },
	{ "virtio", "virtio_ring" },
	{ "virtio_mmio", "virtio,virtio_ring" },
	{ "virtio_blk", "virtio,virtio_ring" },
	{ "vsock", "" },
	{ "vmw_vsock_virtio_transport_common", "vsock" },
	{ "vmw_vsock_virtio_transport", "virtio,vsock,vmw_vsock_virtio_transport_common" },
	{ "libcrc32c", "" },
	{ "erofs", "libcrc32c" },
	{ "virtio-rng", "virtio" },
	{ "unrelated", "" },
};

static void make_tree(void)
{
	FILE *order =
		fdopen(openat(tree, "modules.order", O_WRONLY | O_CREAT | O_CLOEXEC, 0644), "w");

	ck_assert_ptr_nonnull(order);
	for (size_t i = 0; i < array_size(sample_modules); i++) {
		_cleanup_free_ uint8_t *m = NULL;
		char name[128];
		size_t len;

		m = sample_module(sample_modules[i].depends, &len);
		(void)snprintf(name, sizeof(name), "%s.ko", sample_modules[i].name);
		(void)fprintf(order, "%s\n", name);
		if (strcmp(sample_modules[i].name, "erofs") == 0) {
			uint8_t *packed = sample_packed(SAMPLE_XZ, m, len, &len);

			free(m);
			m = packed;
			strcat(name, ".xz");
		}
		sample_write(tree, name, m, len);
	}
	(void)fclose(order);
	text("modules.builtin", "kernel/fs/overlayfs/overlay.ko\nkernel/x/virtio_balloon.ko\n");
}

static int import_with(const char *label, struct digest *ret)
{
	_cleanup_free_ uint8_t *init = sample_elf(ET_EXEC, 5001);
	_cleanup_close_ int fd = sample_fd(init, 5001);

	return import_initramfs(&ctx, fd, tree, label, ret, &e);
}

static unsigned hex8(const char *p)
{
	char s[9] = { 0 };

	memcpy(s, p, 8);
	return (unsigned)strtoul(s, NULL, 16);
}

/* One entry of a newc archive at p; returns the next. */
static const char *entry(const char *p, const char **name, const char **data, unsigned *len,
	unsigned *mode, const char **head)
{
	unsigned name_len = hex8(p + 94);

	ck_assert_int_eq(strncmp(p, "070701", 6), 0);
	*head = p;
	*mode = hex8(p + 14);
	*len = hex8(p + 54);
	*name = p + 110;
	ck_assert_uint_eq(strlen(*name) + 1, name_len);
	*data = p + ((110 + name_len + 3) & ~3u);
	return *data + ((*len + 3) & ~3u);
}

START_TEST(archive_holds_what_it_should)
{
	static const char *const expected[] = { "dev", "dev/console", "init", "modules",
		"modules.list", "modules/erofs.ko", "modules/libcrc32c.ko", "modules/virtio-rng.ko",
		"modules/virtio.ko", "modules/virtio_blk.ko", "modules/virtio_mmio.ko",
		"modules/virtio_ring.ko", "modules/vmw_vsock_virtio_transport.ko",
		"modules/vmw_vsock_virtio_transport_common.ko", "modules/vsock.ko", "TRAILER!!!" };
	static const char list[] = "/modules/virtio_ring.ko\n/modules/virtio.ko\n"
				   "/modules/virtio_mmio.ko\n/modules/virtio_blk.ko\n"
				   "/modules/vsock.ko\n"
				   "/modules/vmw_vsock_virtio_transport_common.ko\n"
				   "/modules/vmw_vsock_virtio_transport.ko\n"
				   "/modules/libcrc32c.ko\n/modules/erofs.ko\n"
				   "/modules/virtio-rng.ko\n";
	_cleanup_free_ uint8_t *erofs = NULL;
	_cleanup_free_ char *cpio = NULL;
	_cleanup_close_ int fd = -1;
	struct digest d;
	const char *p;
	size_t len;
	size_t module_len;
	int r;

	make_tree();
	r = import_with("initramfs", &d);
	ck_assert_msg(r == 0, "%s", e.msg);
	ck_assert_int_eq(
		store_open_verified(ctx.store_dirfd, &d, IMAGE_INITRAMFS, &fd, NULL, &e), 0);
	ck_assert_int_eq(io_read_all(fd, 1 << 20, "cpio", &cpio, &len, &e), 0);
	ck_assert_uint_eq(len % 512, 0);
	erofs = sample_module("libcrc32c", &module_len);
	p = cpio;
	for (size_t i = 0; i < array_size(expected); i++) {
		const char *name;
		const char *data;
		const char *head;
		unsigned mode;
		unsigned n;

		p = entry(p, &name, &data, &n, &mode, &head);
		ck_assert(p <= cpio + len);
		ck_assert_str_eq(name, expected[i]);
		/* Owner 0:0, time 0, and the inode counts up. */
		ck_assert_uint_eq(hex8(head + 22) | hex8(head + 30) | hex8(head + 46), 0);
		if (i + 1 < array_size(expected))
			ck_assert_uint_eq(hex8(head + 6), i + 1);
		if (strcmp(name, "dev/console") == 0) {
			ck_assert_uint_eq(mode, S_IFCHR | 0600);
			ck_assert_uint_eq(hex8(head + 78), 5);
			ck_assert_uint_eq(hex8(head + 86), 1);
		} else if (strcmp(name, "init") == 0) {
			ck_assert_uint_eq(mode, S_IFREG | 0755);
			ck_assert_uint_eq(n, 5001);
		} else if (strcmp(name, "modules.list") == 0) {
			ck_assert_uint_eq(n, strlen(list));
			ck_assert_mem_eq(data, list, n);
		} else if (strcmp(name, "modules/erofs.ko") == 0) {
			ck_assert_uint_eq(n, module_len);
			ck_assert_mem_eq(data, erofs, n);
		}
	}
}
END_TEST

START_TEST(system_cpio_reads_it)
{
	char cmd[512];
	struct digest d;
	char hex[DIGEST_TEXT_LEN + 1];

	if (access("/usr/bin/cpio", X_OK) < 0 && access("/bin/cpio", X_OK) < 0) {
		fprintf(stderr, "skipped: no cpio program here (apt-get install cpio)\n");
		return;
	}
	make_tree();
	ck_assert_int_eq(import_with("i", &d), 0);
	digest_format(&d, hex);
	(void)snprintf(cmd, sizeof(cmd), "cpio -t --quiet <%s/%s | wc -l | grep -qx 15", store_path,
		strchr(hex, ':') + 1);
	ck_assert_int_eq(system(cmd), 0);
}
END_TEST

START_TEST(same_input_same_digest)
{
	struct digest one;
	struct digest two;

	make_tree();
	ck_assert_int_eq(import_with("a", &one), 0);
	(void)usleep(20000);
	ck_assert_int_eq(import_with("b", &two), 0);
	ck_assert_mem_eq(&one, &two, sizeof(one));
}
END_TEST

/* modules.dep, when it is there, says the same as the modules. */
START_TEST(modules_dep_gives_the_same_archive)
{
	struct digest one;
	struct digest two;

	make_tree();
	ck_assert_int_eq(import_with("a", &one), 0);
	text("modules.dep",
		"erofs.ko.xz: libcrc32c.ko\nlibcrc32c.ko:\nunrelated.ko:\nvirtio-rng.ko: virtio.ko "
		"virtio_ring.ko\nvirtio.ko: virtio_ring.ko\nvirtio_ring.ko:\nvsock.ko:\n"
		"virtio_mmio.ko: virtio.ko virtio_ring.ko\nvirtio_blk.ko: virtio.ko virtio_ring.ko\n"
		"vmw_vsock_virtio_transport_common.ko: vsock.ko\n"
		"vmw_vsock_virtio_transport.ko: vmw_vsock_virtio_transport_common.ko vsock.ko\n");
	ck_assert_int_eq(unlinkat(tree, "modules.order", 0), 0);
	ck_assert_int_eq(import_with("a", &two), 0);
	ck_assert_mem_eq(&one, &two, sizeof(one));
}
END_TEST

START_TEST(missing_essential_module_is_named)
{
	struct digest d;

	make_tree();
	text("modules.order", "virtio.ko\nvirtio_ring.ko\n");
	ck_assert_int_eq(import_with("i", &d), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.msg, "no virtio_mmio"));
	ck_assert_uint_eq(sample_count(ctx.store_dirfd), 0);
	ck_assert_int_eq(unlinkat(tree, "modules.order", 0), 0);
	ck_assert_int_eq(import_with("i", &d), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.msg, "lib/modules/VERSION"));
}
END_TEST

START_TEST(kernel_with_everything_built_in)
{
	struct digest d;

	text("modules.order", "");
	text("modules.builtin",
		"a/virtio.ko\na/virtio_ring.ko\na/virtio_mmio.ko\na/virtio_blk.ko\na/vsock.ko\n"
		"a/vmw_vsock_virtio_transport_common.ko\na/vmw_vsock_virtio_transport.ko\na/erofs.ko\n");
	ck_assert_msg(import_with("i", &d) == 0, "%s", e.msg);
}
END_TEST

START_TEST(hostile_lists_are_refused)
{
	static const struct {
		const char *dep;
		int code;
		const char *words;
	} cases[] = {
		{ "virtio.ko\n", EINVAL, "modules.dep:1" },
		{ "a.ko:\n: b.ko\n", EINVAL, "modules.dep:2" },
		{ "a\x01.ko:\n", EINVAL, "modules.dep:1" },
		{ "dir/:\n", EINVAL, "modules.dep:1" },
		{ "a.ko:\nb/a.ko:\n", EINVAL, "listed twice" },
		{ "a-b.ko:\na_b.ko:\n", EINVAL, "listed twice" },
		{ "virtio_ring.ko: virtio.ko\nvirtio.ko: virtio_ring.ko\n", ELOOP, "circle" },
		{ "virtio_ring.ko: virtio_ring.ko\n", ELOOP, "circle" },
		{ "virtio_ring.ko: nowhere.ko\n", ENOENT, "nowhere.ko, which is missing" },
	};
	struct digest d;

	for (size_t i = 0; i < array_size(cases); i++) {
		int r;

		text("modules.dep", cases[i].dep);
		r = import_with("i", &d);
		ck_assert_msg(r == -cases[i].code, "case %zu: %d: %s", i, r, e.msg);
		ck_assert_msg(strstr(e.msg, cases[i].words) != NULL, "case %zu: %s", i, e.msg);
		ck_assert_uint_eq(sample_count(ctx.store_dirfd), 0);
	}
	sample_write(tree, "modules.dep", "a.ko:\n\0b.ko:\n", 13);
	ck_assert_int_eq(import_with("i", &d), -EINVAL);
}
END_TEST

START_TEST(long_chain_is_refused_not_followed)
{
	FILE *f = fdopen(openat(tree, "modules.dep", O_WRONLY | O_CREAT | O_CLOEXEC, 0644), "w");
	struct digest d;

	ck_assert_ptr_nonnull(f);
	(void)fprintf(f, "virtio_ring.ko: m0.ko\n");
	for (int i = 0; i < 60000; i++)
		(void)fprintf(f, "m%d.ko: m%d.ko\n", i, i + 1);
	(void)fprintf(f, "m60000.ko:\n");
	(void)fclose(f);
	ck_assert_int_eq(import_with("i", &d), -ELOOP);
	ck_assert_ptr_nonnull(strstr(e.msg, "levels"));
}
END_TEST

START_TEST(paths_cannot_lead_out)
{
	static const char *const outside[] = { "../virtio_ring.ko", "/etc/virtio_ring.ko",
		"link/virtio_ring.ko" };
	char target[128];
	struct digest d;

	make_tree();
	(void)snprintf(target, sizeof(target), "%s/..", tree_path);
	ck_assert_int_eq(symlinkat(target, tree, "link"), 0);
	for (size_t i = 0; i < array_size(outside); i++) {
		char order[256];

		(void)snprintf(order, sizeof(order), "%s\n", outside[i]);
		text("modules.order", order);
		ck_assert_int_eq(import_with("i", &d), -EXDEV);
	}
}
END_TEST

START_TEST(what_is_no_module_is_refused)
{
	struct digest d;

	make_tree();
	text("virtio_ring.ko", "hello");
	ck_assert_int_eq(import_with("i", &d), -ENOEXEC);
	ck_assert_ptr_nonnull(strstr(e.msg, "virtio_ring.ko: not a kernel module"));
	text("virtio_ring.ko", "\x28\xb5\x2f\xfd damaged");
	ck_assert_int_eq(import_with("i", &d), -EBADMSG);
	ck_assert_int_eq(unlinkat(tree, "virtio_ring.ko", 0), 0);
	ck_assert_int_eq(import_with("i", &d), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.msg, "virtio_ring.ko"));
	ck_assert_uint_eq(sample_count(ctx.store_dirfd), 0);
}
END_TEST

START_TEST(dynamic_init_is_refused)
{
	_cleanup_free_ uint8_t *init = sample_elf(ET_DYN, 4096);
	_cleanup_close_ int fd = -1;
	Elf64_Ehdr h;
	Elf64_Phdr interp = { .p_type = PT_INTERP };
	struct digest d;

	make_tree();
	memcpy(&h, init, sizeof(h));
	h.e_phnum = 2;
	memcpy(init, &h, sizeof(h));
	memcpy(init + sizeof(h) + sizeof(interp), &interp, sizeof(interp));
	fd = sample_fd(init, 4096);
	ck_assert_int_eq(import_initramfs(&ctx, fd, tree, "i", &d, &e), -ENOEXEC);
	ck_assert_ptr_nonnull(strstr(e.msg, "static"));
}
END_TEST

/* Every single byte of a module's tables turned over: never a read outside (the sanitizer tells).
 */
START_TEST(modinfo_survives_damage)
{
	size_t len;
	_cleanup_free_ uint8_t *m = sample_module("a,b", &len);
	_cleanup_free_ uint8_t *copy = malloc(len);

	ck_assert_str_eq(modinfo_find(m, len, "depends"), "a,b");
	ck_assert_str_eq(modinfo_find(m, len, "license"), "GPL");
	ck_assert_ptr_null(modinfo_find(m, len, "depend"));
	for (size_t i = 0; i < len; i++) {
		memcpy(copy, m, len);
		copy[i] ^= 0xff;
		(void)modinfo_find(copy, len, "depends");
	}
	for (size_t n = 0; n < len; n++) {
		uint8_t *cut = malloc(n ? n : 1);

		memcpy(cut, m, n);
		(void)modinfo_find(cut, n, "depends");
		free(cut);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("initramfs");
	TCase *t = tcase_create("initramfs");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, archive_holds_what_it_should);
	tcase_add_test(t, system_cpio_reads_it);
	tcase_add_test(t, same_input_same_digest);
	tcase_add_test(t, modules_dep_gives_the_same_archive);
	tcase_add_test(t, missing_essential_module_is_named);
	tcase_add_test(t, kernel_with_everything_built_in);
	tcase_add_test(t, hostile_lists_are_refused);
	tcase_add_test(t, long_chain_is_refused_not_followed);
	tcase_add_test(t, paths_cannot_lead_out);
	tcase_add_test(t, what_is_no_module_is_refused);
	tcase_add_test(t, dynamic_init_is_refused);
	tcase_add_test(t, modinfo_survives_damage);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
