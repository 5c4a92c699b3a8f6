/*
 * A board as kosvmd's channel might deliver it: byte 0 is the number of
 * descriptors. Random bytes hardly ever make a device tree, so the mutator
 * starts from a board that is sound and changes it as a tree or as bytes.
 */
#include <stdlib.h>
#include <string.h>

#include <libfdt.h>

#include <wire/board.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static _Alignas(8) uint8_t tree[BOARD_FDT_MAX];

/* What was accepted must be within the limits, and survive being written and read again. */
static void check_accepted(const struct board *b, unsigned nfds)
{
	struct board again;
	struct kerr e;
	int len = board_encode(b, tree, sizeof(tree), &e);

	if (len < 0 || board_decode(tree, (size_t)len, nfds, &again, &e) < 0)
		abort();
	if (memcmp(again.boot_id, b->boot_id, sizeof(b->boot_id)) != 0 ||
		again.listen_fd != b->listen_fd || again.end_fd != b->end_fd ||
		again.confine != b->confine ||
		memcmp(&again.disk_rate, &b->disk_rate, sizeof(b->disk_rate)) != 0 ||
		memcmp(&again.vsock_rate, &b->vsock_rate, sizeof(b->vsock_rate)) != 0 ||
		(b->listen_fd != BOARD_NO_FD && !board_has_boot_id(b)))
		abort();
	if (again.memory != b->memory || again.vcpus != b->vcpus ||
		again.slot_count != b->slot_count || strcmp(again.cmdline, b->cmdline) != 0)
		abort();
	if (b->vcpus < 1 || b->vcpus > BOARD_MAX_VCPUS || b->slot_count > BOARD_MAX_SLOTS ||
		b->kernel_fd < 0 || b->kernel_fd >= (int)nfds || b->kvm_fd >= (int)nfds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct board b;
	struct kerr e;
	unsigned nfds;
	void *fdt;

	if (size < 1)
		return 0;
	nfds = data[0] % 17;
	fdt = malloc(size - 1 ? size - 1 : 1);
	if (!fdt)
		return 0;
	memcpy(fdt, data + 1, size - 1);
	if (board_decode(fdt, size - 1, nfds, &b, &e) == 0)
		check_accepted(&b, nfds);
	free(fdt);
	return 0;
}

static size_t write_sample(uint8_t *data, size_t max_size, unsigned seed)
{
	struct board b = {
		.memory = 128 << 20,
		.vcpus = 1 + seed % 3,
		.cmdline = "console=ttyS0",
		.kernel_fd = 1,
		.kernel_size = 1000,
		.initrd_fd = seed & 4 ? 2 : BOARD_NO_FD,
		.initrd_size = 1000,
		.serial_fd = seed & 8 ? 3 : BOARD_NO_FD,
		.boot_id = { seed & 16 },
		.listen_fd = seed & 16 ? 14 : BOARD_NO_FD,
		.end_fd = seed & 32 ? 15 : BOARD_NO_FD,
		.confine = seed & BOARD_CONFINE_ALL,
		.disk_rate = { .bytes = seed & 64 ? seed : 0,
			.ops = seed & 128,
			.burst = seed & 15 },
		.vsock_rate = { .bytes = seed & 256, .burst = seed & 7 },
	};
	int len;

	for (int i = 0; i < (int)(seed >> 4) % 5; i++) {
		struct board_slot *s = board_add_slot(&b,
			i == 0           ? BOARD_VSOCK
				: i == 1 ? BOARD_RNG
					 : BOARD_BLK);

		s->cid = 3;
		s->size = 4096;
		s->fd = 4 + i;
	}
	len = board_encode(&b, tree, sizeof(tree), NULL);
	if (len < 0 || (size_t)len + 1 > max_size)
		return 0;
	data[0] = 16;
	memcpy(data + 1, tree, (size_t)len);
	return (size_t)len + 1;
}

/* The seed's node, counted in the tree's order. */
static int choose_node(unsigned seed)
{
	int node = 0;

	for (unsigned i = seed % 12; i > 0; i--) {
		int next = fdt_next_node(tree, node, NULL);

		if (next < 0)
			break;
		node = next;
	}
	return node;
}

static int choose_property(int node, unsigned seed)
{
	int at = fdt_first_property_offset(tree, node);

	for (unsigned i = seed % 6; at >= 0 && i > 0; i--) {
		int next = fdt_next_property_offset(tree, at);

		if (next < 0)
			break;
		at = next;
	}
	return at;
}

/* Another value for a property; its length may change, too. */
static void change_value(int node, int at)
{
	uint8_t value[2200];
	const char *name;
	int len;
	const void *old = fdt_getprop_by_offset(tree, at, &name, &len);
	char copy[32];
	size_t n;

	if (!old || len < 0 || (size_t)len > sizeof(value) || strlen(name) >= sizeof(copy))
		return;
	memcpy(value, old, (size_t)len);
	memcpy(copy, name, strlen(name) + 1);
	n = LLVMFuzzerMutate(value, (size_t)len, sizeof(value));
	(void)fdt_setprop(tree, node, copy, value, (int)n);
}

static void change_tree(unsigned seed)
{
	static const char *const names[] = { "virtio@d0000000", "cpu@1", "serial", "x" };
	int node = choose_node(seed >> 3);
	int at = choose_property(node, seed >> 7);

	switch (seed % 8) {
	case 0:
		(void)fdt_del_node(tree, node);
		break;
	case 1:
		(void)fdt_add_subnode(tree, node, names[(seed >> 10) % 4]);
		break;
	case 2:
		(void)fdt_setprop_u32(tree, node, names[(seed >> 10) % 4], seed);
		break;
	default:
		if (at >= 0)
			change_value(node, at);
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	if (size < 64 || seed % 64 == 0)
		return write_sample(data, max_size, seed >> 6);
	if (seed % 4 == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	memcpy(tree, data + 1, size - 1 < sizeof(tree) ? size - 1 : sizeof(tree));
	if (size - 1 > sizeof(tree) || fdt_version(tree) != FDT_LAST_SUPPORTED_VERSION ||
		fdt_check_full(tree, size - 1) != 0 || fdt_open_into(tree, tree, sizeof(tree)) != 0)
		return LLVMFuzzerMutate(data, size, max_size);
	change_tree(seed >> 2);
	if (fdt_pack(tree) != 0 || fdt_totalsize(tree) + 1 > max_size)
		return size;
	memcpy(data + 1, tree, fdt_totalsize(tree));
	return fdt_totalsize(tree) + 1;
}
