#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libfdt.h>

#include <wire/board.h>

static _Alignas(8) uint8_t fdt[BOARD_FDT_MAX];
static struct board board;
static struct board out;
static struct kerr e;

/* A board with one of everything. */
static void setup(void)
{
	struct board_slot *s;

	board = (struct board){
		.memory = 128 << 20,
		.vcpus = 2,
		.cmdline = "console=ttyS0 pci=off",
		.kvm_fd = 0,
		.boot_id = { 0xb0, [15] = 0x0d },
		.listen_fd = 6,
		.end_fd = 7,
		.confine = BOARD_CONFINE_ALL,
		.kernel_fd = 1,
		.kernel_size = 12345678,
		.initrd_fd = 2,
		.initrd_size = 4321,
		.serial_fd = 3,
		.serial_limit = 1 << 20,
		.disk_rate = { .bytes = 20 << 20, .ops = 500, .burst = UINT64_MAX },
		.vsock_rate = { .bytes = 1, .burst = 7 },
	};
	s = board_add_slot(&board, BOARD_BLK);
	s->fd = 4;
	s->size = 1 << 30;
	s->read_only = true;
	(void)snprintf(s->serial, sizeof(s->serial), "%s", "01234567890123456789");
	s = board_add_slot(&board, BOARD_BLK);
	s->fd = 5;
	s->size = 512;
	s = board_add_slot(&board, BOARD_VSOCK);
	s->cid = 3;
	(void)board_add_slot(&board, BOARD_RNG);
	e = (struct kerr){ 0 };
}

static int encode(void)
{
	int len = board_encode(&board, fdt, sizeof(fdt), &e);

	ck_assert_msg(len > 0, "%s", e.msg);
	return len;
}

static void accept_board(unsigned nfds)
{
	int len = encode();

	memset(&out, 0xee, sizeof(out));
	ck_assert_msg(board_decode(fdt, (size_t)len, nfds, &out, &e) == 0, "%s", e.msg);
}

/* The board as it stands must be refused with these words, and nothing written. */
static void refuse(const char *words)
{
	int len = encode();

	memset(&out, 0xee, sizeof(out));
	ck_assert_int_eq(board_decode(fdt, (size_t)len, 8, &out, &e), -EINVAL);
	ck_assert_msg(strstr(e.msg, words) != NULL, "wanted \"%s\", got: %s", words, e.msg);
	for (size_t i = 0; i < sizeof(out); i++)
		ck_assert_uint_eq(((uint8_t *)&out)[i], 0xee);
	setup();
}

/* The tree as it was edited in place (after encode and fdt_open_into). */
static void refuse_tree(const char *words)
{
	ck_assert_int_eq(fdt_pack(fdt), 0);
	ck_assert_int_eq(board_decode(fdt, fdt_totalsize(fdt), 8, &out, &e), -EINVAL);
	ck_assert_msg(strstr(e.msg, words) != NULL, "wanted \"%s\", got: %s", words, e.msg);
}

static void open_tree(void)
{
	setup();
	(void)encode();
	ck_assert_int_eq(fdt_open_into(fdt, fdt, sizeof(fdt)), 0);
}

START_TEST(round_trip)
{
	accept_board(8);
	ck_assert_uint_eq(out.memory, board.memory);
	ck_assert_uint_eq(out.vcpus, 2);
	ck_assert_str_eq(out.cmdline, board.cmdline);
	ck_assert_int_eq(out.kvm_fd, 0);
	ck_assert_mem_eq(out.boot_id, board.boot_id, sizeof(out.boot_id));
	ck_assert_int_eq(out.listen_fd, 6);
	ck_assert_int_eq(out.end_fd, 7);
	ck_assert_uint_eq(out.confine, BOARD_CONFINE_ALL);
	ck_assert_int_eq(out.kernel_fd, 1);
	ck_assert_uint_eq(out.kernel_size, 12345678);
	ck_assert_int_eq(out.initrd_fd, 2);
	ck_assert_uint_eq(out.initrd_size, 4321);
	ck_assert_int_eq(out.serial_fd, 3);
	ck_assert_uint_eq(out.serial_limit, 1 << 20);
	ck_assert_mem_eq(&out.disk_rate, &board.disk_rate, sizeof(out.disk_rate));
	ck_assert_mem_eq(&out.vsock_rate, &board.vsock_rate, sizeof(out.vsock_rate));
	ck_assert_uint_eq(out.slot_count, 4);
	for (unsigned i = 0; i < 4; i++) {
		const struct board_slot *a = &board.slots[i];
		const struct board_slot *b = &out.slots[i];

		ck_assert_int_eq(a->device, b->device);
		ck_assert_uint_eq(a->mmio, b->mmio);
		ck_assert_uint_eq(a->gsi, b->gsi);
		ck_assert_int_eq(a->fd, b->fd);
		ck_assert_uint_eq(a->size, b->size);
		ck_assert_int_eq(a->read_only, b->read_only);
		ck_assert_str_eq(a->serial, b->serial);
		ck_assert_uint_eq(a->cid, b->cid);
	}
}
END_TEST

START_TEST(smallest_and_largest)
{
	board = (struct board){
		.memory = BOARD_MEMORY_MIN,
		.vcpus = 1,
		.kvm_fd = 1,
		.kernel_fd = 0,
		.kernel_size = 1,
		.initrd_fd = BOARD_NO_FD,
		.serial_fd = BOARD_NO_FD,
		.listen_fd = BOARD_NO_FD,
		.end_fd = BOARD_NO_FD,
	};
	accept_board(2);
	ck_assert(!board_has_boot_id(&out));
	ck_assert_int_eq(out.listen_fd, BOARD_NO_FD);
	ck_assert_int_eq(out.end_fd, BOARD_NO_FD);
	ck_assert_uint_eq(out.confine, 0);
	ck_assert_int_eq(out.initrd_fd, BOARD_NO_FD);
	ck_assert_int_eq(out.serial_fd, BOARD_NO_FD);
	ck_assert_uint_eq(out.slot_count, 0);
	ck_assert_str_eq(out.cmdline, "");
	board.memory = BOARD_MEMORY_MAX;
	board.vcpus = BOARD_MAX_VCPUS;
	memset(board.cmdline, 'x', sizeof(board.cmdline) - 1);
	for (unsigned i = 0; i < BOARD_MAX_SLOTS; i++) {
		struct board_slot *s = board_add_slot(&board, BOARD_BLK);

		s->fd = (int)i + 2;
		s->size = 1ULL << 40;
		memset(s->serial, 'y', 20);
	}
	ck_assert_ptr_null(board_add_slot(&board, BOARD_RNG));
	accept_board(18);
	ck_assert_uint_eq(out.slot_count, BOARD_MAX_SLOTS);
	ck_assert_uint_eq(out.slots[15].gsi, 20);
	ck_assert_uint_eq(out.slots[15].mmio, BOARD_MMIO_BASE + 0xf000);
	ck_assert_uint_eq(strlen(out.cmdline), BOARD_CMDLINE_MAX - 1);
}
END_TEST

/* What is not limited is not there; a burst of nothing is none. */
START_TEST(limits)
{
	static const struct rate_limit none;
	int at;

	board.disk_rate = (struct rate_limit){ .ops = 3, .burst = 5 };
	board.vsock_rate = (struct rate_limit){ .burst = 5 };
	accept_board(8);
	ck_assert_uint_eq(out.disk_rate.ops, 3);
	ck_assert_uint_eq(out.disk_rate.bytes, 0);
	ck_assert_uint_eq(out.disk_rate.burst, 0);
	ck_assert_mem_eq(&out.vsock_rate, &none, sizeof(none));
	board.disk_rate = none;
	accept_board(8);
	ck_assert_mem_eq(&out.disk_rate, &none, sizeof(none));
	ck_assert_int_lt(fdt_path_offset(fdt, "/limits"), 0);

	open_tree();
	at = fdt_path_offset(fdt, "/limits");
	ck_assert_int_eq(fdt_setprop_u64(fdt, at, "kosvm,disk-ops", 0), 0);
	refuse_tree("kosvm,disk-ops = 0: expected 1");
	open_tree();
	at = fdt_path_offset(fdt, "/limits");
	ck_assert_int_eq(fdt_setprop_u32(fdt, at, "kosvm,vsock-bytes", 9), 0);
	refuse_tree("kosvm,vsock-bytes: wrong length");
	open_tree();
	at = fdt_path_offset(fdt, "/limits");
	ck_assert_int_eq(fdt_setprop_u64(fdt, at, "kosvm,vsock-ops", 9), 0);
	refuse_tree("unknown property kosvm,vsock-ops");
	open_tree();
	at = fdt_path_offset(fdt, "/limits");
	ck_assert_int_eq(fdt_delprop(fdt, at, "kosvm,disk-bytes"), 0);
	refuse_tree("kosvm,disk-burst: expected beside kosvm,disk-bytes only");
	open_tree();
	at = fdt_path_offset(fdt, "/limits");
	ck_assert_int_eq(fdt_delprop(fdt, at, "kosvm,vsock-bytes"), 0);
	refuse_tree("kosvm,vsock-burst: expected beside");
	open_tree();
	ck_assert_int_ge(fdt_add_subnode(fdt, fdt_path_offset(fdt, "/limits"), "more"), 0);
	refuse_tree("limits: unknown node more");
	setup();
}
END_TEST

START_TEST(values_out_of_range)
{
	board.memory = 4096;
	refuse("memory: property reg");
	board.memory = BOARD_MEMORY_MAX + 4096;
	refuse("memory: property reg");
	board.memory += 512;
	refuse("multiple of 4096");
	board.memory = UINT64_MAX;
	refuse("memory: property reg");
	board.vcpus = 0;
	refuse("at least one");
	board.vcpus = BOARD_MAX_VCPUS + 1;
	refuse("more than 32 vCPUs");
	board.kernel_size = 0;
	refuse("kosvm,kernel-size");
	board.initrd_size = 0;
	refuse("kosvm,initrd-size");
	board.slots[0].size = 0;
	refuse("kosvm,size");
	board.slots[0].size = 513;
	refuse("multiple of 512");
	board.slots[0].size = 1ULL << 63;
	refuse("kosvm,size");
	board.slots[0].serial[3] = '\n';
	refuse("printable");
	for (uint64_t cid = 0; cid < 3; cid++) {
		board.slots[2].cid = cid;
		refuse("kosvm,cid");
	}
	board.slots[2].cid = UINT32_MAX;
	refuse("kosvm,cid");
	board.slots[2].cid = 1ULL << 32 | 3;
	refuse("kosvm,cid");
}
END_TEST

START_TEST(descriptors)
{
	board.kernel_fd = 8;
	refuse("only 8 descriptors");
	board.slots[1].fd = -2;
	refuse("only 8 descriptors");
	board.slots[1].fd = 4;
	refuse("has an owner already");
	board.initrd_fd = board.kvm_fd;
	refuse("has an owner already");
	board.slots[0].fd = BOARD_NO_FD;
	refuse("kosvm,fd: missing");
	board.kvm_fd = BOARD_NO_FD;
	refuse("kosvm,kvm-fd: missing");
	board.kernel_fd = BOARD_NO_FD;
	refuse("kosvm,kernel-fd: missing");
}
END_TEST

START_TEST(unknown_protection)
{
	board.confine = BOARD_CONFINE_ALL + 1;
	refuse("kosvm,confine = 8");
}
END_TEST

/* What makes a VMM outlive its kosvmd. */
START_TEST(detachable)
{
	static const uint8_t zero[BOARD_BOOT_ID_LEN];
	int node;

	board.listen_fd = 8;
	refuse("kosvm,listen-fd = 8");
	board.end_fd = board.listen_fd;
	refuse("has an owner already");
	memset(board.boot_id, 0, sizeof(board.boot_id));
	refuse("beside kosvm,boot-id only");
	memset(board.boot_id, 0, sizeof(board.boot_id));
	board.listen_fd = BOARD_NO_FD;
	accept_board(8); /* the last word may go to a file all the same */
	open_tree();
	node = fdt_path_offset(fdt, "/kosvm");
	ck_assert_int_eq(fdt_setprop(fdt, node, "kosvm,boot-id", zero, sizeof(zero)), 0);
	refuse_tree("all zero");
	open_tree();
	ck_assert_int_eq(fdt_setprop(fdt, node, "kosvm,boot-id", "x", 1), 0);
	refuse_tree("wrong length");
}
END_TEST

START_TEST(slots)
{
	board.slots[1].mmio = board.slots[0].mmio;
	refuse("address is taken");
	board.slots[1].gsi = board.slots[0].gsi;
	refuse("GSI is taken");
	board.slots[1].gsi = 4;
	refuse("interrupts");
	board.slots[1].gsi = 21;
	refuse("interrupts");
	board.slots[1].mmio = BOARD_MMIO_BASE - BOARD_MMIO_SLOT_SIZE;
	refuse("not the address of a slot");
	board.slots[1].mmio = BOARD_MMIO_BASE + BOARD_MAX_SLOTS * BOARD_MMIO_SLOT_SIZE;
	refuse("not the address of a slot");
	board.slots[1].mmio += 4;
	refuse("not the address of a slot");
	board.slots[1].mmio = UINT64_MAX;
	refuse("not the address of a slot");
	board.slots[3].device = BOARD_VSOCK;
	board.slots[3].cid = 9;
	refuse("one vsock");
}
END_TEST

START_TEST(unknown_and_missing)
{
	int node;

	open_tree();
	ck_assert_int_ge(fdt_add_subnode(fdt, 0, "pci"), 0);
	refuse_tree("unknown node pci");
	open_tree();
	node = fdt_path_offset(fdt, "/memory");
	ck_assert_int_eq(fdt_setprop_u32(fdt, node, "numa", 1), 0);
	refuse_tree("memory: unknown property numa");
	open_tree();
	node = fdt_path_offset(fdt, "/cpus/cpu@1");
	ck_assert_int_ge(fdt_add_subnode(fdt, node, "cache"), 0);
	refuse_tree("unknown node cache");
	open_tree();
	ck_assert_int_eq(fdt_del_node(fdt, fdt_path_offset(fdt, "/serial")), 0);
	refuse_tree("node serial: missing");
	open_tree();
	ck_assert_int_eq(fdt_setprop_string(fdt, 0, "compatible", "kosvm,board-2"), 0);
	refuse_tree("kosvm,board-2");
	open_tree();
	ck_assert_int_eq(fdt_delprop(fdt, 0, "compatible"), 0);
	refuse_tree("compatible: missing");
}
END_TEST

START_TEST(wrong_shapes)
{
	int node;

	open_tree();
	node = fdt_path_offset(fdt, "/memory");
	ck_assert_int_eq(fdt_setprop_u32(fdt, node, "reg", 1), 0);
	refuse_tree("memory: property reg: wrong length");
	open_tree();
	node = fdt_path_offset(fdt, "/chosen");
	ck_assert_int_eq(fdt_setprop(fdt, node, "bootargs", "no end", 6), 0);
	refuse_tree("NUL-terminated");
	open_tree();
	node = fdt_path_offset(fdt, "/chosen");
	ck_assert_int_eq(fdt_setprop(fdt, node, "bootargs", "two\0ends", 9), 0);
	refuse_tree("NUL-terminated");
	open_tree();
	node = fdt_path_offset(fdt, "/chosen");
	ck_assert_int_eq(fdt_setprop(fdt, node, "bootargs", "", 0), 0);
	refuse_tree("NUL-terminated");
	open_tree();
	node = fdt_path_offset(fdt, "/virtio@d0000000");
	ck_assert_int_eq(fdt_setprop_string(fdt, node, "kosvm,device", "net"), 0);
	refuse_tree("expected blk, vsock or rng");
	open_tree();
	node = fdt_path_offset(fdt, "/virtio@d0000000");
	ck_assert_int_eq(fdt_setprop(fdt, node, "kosvm,device", "blk", 3), 0);
	refuse_tree("expected blk, vsock or rng");
	open_tree();
	node = fdt_path_offset(fdt, "/virtio@d0000000");
	ck_assert_int_eq(
		fdt_setprop_string(fdt, node, "kosvm,serial", "more than twenty characters"), 0);
	refuse_tree("too long");
	open_tree();
	node = fdt_path_offset(fdt, "/cpus/cpu@1");
	ck_assert_int_eq(fdt_setprop_u32(fdt, node, "reg", 0), 0);
	refuse_tree("property reg");
}
END_TEST

START_TEST(cut_and_flipped)
{
	int len = encode();
	_Alignas(8) uint8_t copy[8192];
	uint8_t *exact;

	ck_assert_int_lt(len, (int)sizeof(copy));
	ck_assert_int_eq(board_decode(fdt, 0, 8, &out, &e), -EINVAL);
	ck_assert_int_eq(board_decode(fdt + 4, 64, 8, &out, &e), -EINVAL);
	ck_assert_int_eq(board_decode(fdt, BOARD_FDT_MAX + 1, 8, &out, &e), -EINVAL);
	/* On the heap and of exactly that size, so that the sanitizer sees a byte too far. */
	for (int cut = 1; cut < len; cut++) {
		exact = malloc((size_t)cut);
		ck_assert_ptr_nonnull(exact);
		memcpy(exact, fdt, (size_t)cut);
		ck_assert_int_eq(board_decode(exact, (size_t)cut, 8, &out, &e), -EINVAL);
		free(exact);
	}
	for (int at = 0; at < len; at++) {
		for (int bit = 0; bit < 8; bit++) {
			memcpy(copy, fdt, (size_t)len);
			copy[at] ^= (uint8_t)(1 << bit);
			(void)board_decode(copy, (size_t)len, 8, &out, &e);
		}
	}
}
END_TEST

/* libfdt crashes on a root without a name in a tree of an old version. */
START_TEST(old_version)
{
	int len = encode();

	fdt_set_version(fdt, 15);
	fdt_set_last_comp_version(fdt, 15);
	ck_assert_int_eq(board_decode(fdt, (size_t)len, 8, &out, &e), -EINVAL);
	(void)encode();
	fdt_set_version(fdt, 18);
	ck_assert_int_eq(board_decode(fdt, (size_t)len, 8, &out, &e), -EINVAL);
}
END_TEST

START_TEST(no_room_to_write)
{
	ck_assert_int_eq(board_encode(&board, fdt, 64, &e), -ENOSPC);
	ck_assert_int_eq(board_encode(&board, fdt, 300, &e), -ENOSPC);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("board");
	TCase *tc = tcase_create("board");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, round_trip);
	tcase_add_test(tc, smallest_and_largest);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, values_out_of_range);
	tcase_add_test(tc, descriptors);
	tcase_add_test(tc, unknown_protection);
	tcase_add_test(tc, detachable);
	tcase_add_test(tc, slots);
	tcase_add_test(tc, unknown_and_missing);
	tcase_add_test(tc, wrong_shapes);
	tcase_add_test(tc, cut_and_flipped);
	tcase_add_test(tc, old_version);
	tcase_add_test(tc, no_room_to_write);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
