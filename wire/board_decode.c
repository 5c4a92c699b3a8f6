#include <wire/board.h>

#include <errno.h>
#include <string.h>

#include <libfdt.h>

#include "board_names.h"
#include "board_props.h"

static int read_chosen(struct board_reader *r, int node, struct board *b)
{
	uint32_t kernel_fd = 0;
	uint32_t initrd_fd = 0;
	struct board_prop props[] = {
		{ .name = "bootargs",
			.type = PROP_STRING,
			.value = b->cmdline,
			.cap = sizeof(b->cmdline) },
		{ .name = "kosvm,kernel-fd",
			.type = PROP_U32,
			.value = &kernel_fd,
			.max = UINT32_MAX },
		{ .name = "kosvm,kernel-size",
			.type = PROP_U64,
			.value = &b->kernel_size,
			.min = 1,
			.max = BOARD_MEMORY_MAX },
		{ .name = "kosvm,initrd-fd",
			.type = PROP_U32,
			.value = &initrd_fd,
			.optional = true,
			.max = UINT32_MAX },
		{ .name = "kosvm,initrd-size",
			.type = PROP_U64,
			.value = &b->initrd_size,
			.optional = true,
			.min = 1,
			.max = BOARD_MEMORY_MAX },
	};
	int err = board_leaf_read(r, node, props, 5);

	if (err < 0)
		return err;
	if (props[3].seen != props[4].seen)
		return board_prop_bad(
			r, node, "kosvm,initrd-size", "expected beside kosvm,initrd-fd only");
	err = board_fd_read(r, node, &props[1], &b->kernel_fd);
	return err < 0 ? err : board_fd_read(r, node, &props[3], &b->initrd_fd);
}

static int read_kosvm(struct board_reader *r, int node, struct board *b)
{
	uint32_t kvm = 0;
	uint32_t listener = 0;
	uint32_t end = 0;
	struct board_prop props[] = {
		{ .name = "kosvm,kvm-fd", .type = PROP_U32, .value = &kvm, .max = UINT32_MAX },
		{ .name = "kosvm,boot-id",
			.type = PROP_BYTES,
			.value = b->boot_id,
			.cap = sizeof(b->boot_id),
			.optional = true },
		{ .name = "kosvm,listen-fd",
			.type = PROP_U32,
			.value = &listener,
			.optional = true,
			.max = UINT32_MAX },
		{ .name = "kosvm,end-fd",
			.type = PROP_U32,
			.value = &end,
			.optional = true,
			.max = UINT32_MAX },
		/* An unknown protection is one that would not be there. */
		{ .name = "kosvm,confine",
			.type = PROP_U32,
			.value = &b->confine,
			.optional = true,
			.max = BOARD_CONFINE_ALL },
	};
	int err = board_leaf_read(r, node, props, 5);

	if (err < 0)
		return err;
	if (props[1].seen && !board_has_boot_id(b))
		return board_prop_bad(r, node, "kosvm,boot-id", "all zero: not a random one");
	if (props[2].seen && !props[1].seen)
		return board_prop_bad(
			r, node, "kosvm,listen-fd", "expected beside kosvm,boot-id only");
	err = board_fd_read(r, node, &props[0], &b->kvm_fd);
	if (err == 0)
		err = board_fd_read(r, node, &props[2], &b->listen_fd);
	if (err == 0)
		err = board_fd_read(r, node, &props[3], &b->end_fd);
	return err;
}

static int read_memory(struct board_reader *r, int node, struct board *b)
{
	struct board_prop p = { .name = "reg",
		.type = PROP_U64,
		.value = &b->memory,
		.min = BOARD_MEMORY_MIN,
		.max = BOARD_MEMORY_MAX };
	int err = board_leaf_read(r, node, &p, 1);

	if (err < 0)
		return err;
	return b->memory % 4096 == 0 ? 0 : board_prop_bad(r, node, "reg", "not a multiple of 4096");
}

static int read_cpus(struct board_reader *r, int node, struct board *b)
{
	int child;
	int err = board_props_read(r, node, NULL, 0);

	if (err < 0)
		return err;
	fdt_for_each_subnode(child, r->fdt, node)
	{
		uint32_t reg = 0;
		struct board_prop p = { .name = "reg",
			.type = PROP_U32,
			.value = &reg,
			.min = b->vcpus,
			.max = b->vcpus };

		if (strncmp(board_node_name(r, child), "cpu@", 4) != 0)
			return kerr_set(r->e, EINVAL, "board: node cpus: unknown node %.40s",
				board_node_name(r, child));
		if (b->vcpus == BOARD_MAX_VCPUS)
			return kerr_set(r->e, EINVAL, "board: node cpus: more than %u vCPUs",
				BOARD_MAX_VCPUS);
		err = board_leaf_read(r, child, &p, 1);
		if (err < 0)
			return err;
		b->vcpus++;
	}
	if (b->vcpus == 0)
		return kerr_set(r->e, EINVAL, "board: node cpus: expected at least one cpu@0");
	return 0;
}

static int read_serial(struct board_reader *r, int node, struct board *b)
{
	uint32_t fd = 0;
	struct board_prop props[] = {
		{ .name = "kosvm,fd",
			.type = PROP_U32,
			.value = &fd,
			.optional = true,
			.max = UINT32_MAX },
		{ .name = "kosvm,limit",
			.type = PROP_U64,
			.value = &b->serial_limit,
			.max = UINT64_MAX },
	};
	int err = board_leaf_read(r, node, props, 2);

	return err < 0 ? err : board_fd_read(r, node, &props[0], &b->serial_fd);
}

/* What only a slot as a whole, and beside the others, can tell. */
static int check_slot(
	const struct board_reader *r, int node, const struct board *b, const struct board_slot *s)
{
	if (s->mmio < BOARD_MMIO_BASE ||
		s->mmio > BOARD_MMIO_BASE + (BOARD_MAX_SLOTS - 1) * BOARD_MMIO_SLOT_SIZE ||
		s->mmio % BOARD_MMIO_SLOT_SIZE != 0)
		return board_prop_bad(r, node, "reg", "not the address of a slot");
	for (unsigned i = 0; i < b->slot_count; i++) {
		const struct board_slot *other = &b->slots[i];

		if (other->mmio == s->mmio)
			return board_prop_bad(r, node, "reg", "this address is taken");
		if (other->gsi == s->gsi)
			return board_prop_bad(r, node, "interrupts", "this GSI is taken");
		if (other->device == BOARD_VSOCK && s->device == BOARD_VSOCK)
			return board_prop_bad(
				r, node, "kosvm,device", "a board has one vsock at most");
	}
	if (s->device == BOARD_BLK && s->size % 512 != 0)
		return board_prop_bad(r, node, "kosvm,size", "not a multiple of 512");
	for (const char *c = s->serial; *c; c++) {
		if (*c <= ' ' || *c > '~')
			return board_prop_bad(
				r, node, "kosvm,serial", "expected printable characters");
	}
	return 0;
}

enum { SLOT_COMMON = 4 };

/* The properties behind the common ones depend on the device. */
static int read_slot_props(struct board_reader *r, int node, const char *device,
	struct board_slot *s, struct board_prop *props, size_t common)
{
	uint32_t fd = 0;
	size_t n = common;
	int err;

	if (strcmp(device, board_device_names[BOARD_BLK]) == 0) {
		s->device = BOARD_BLK;
		props[n++] = (struct board_prop){
			.name = "kosvm,fd", .type = PROP_U32, .value = &fd, .max = UINT32_MAX
		};
		props[n++] = (struct board_prop){ .name = "kosvm,size",
			.type = PROP_U64,
			.value = &s->size,
			.min = 512,
			.max = INT64_MAX };
		props[n++] = (struct board_prop){ .name = "kosvm,serial",
			.type = PROP_STRING,
			.value = s->serial,
			.cap = sizeof(s->serial) };
		props[n++] = (struct board_prop){ .name = "read-only",
			.type = PROP_FLAG,
			.value = &s->read_only,
			.optional = true };
	} else if (strcmp(device, board_device_names[BOARD_VSOCK]) == 0) {
		s->device = BOARD_VSOCK;
		/* CIDs 0 to 2 and the last one have meanings of their own (virtio 1.2, 5.10.4). */
		props[n++] = (struct board_prop){ .name = "kosvm,cid",
			.type = PROP_U64,
			.value = &s->cid,
			.min = 3,
			.max = UINT32_MAX - 1 };
	} else if (strcmp(device, board_device_names[BOARD_RNG]) == 0) {
		s->device = BOARD_RNG;
	} else {
		return board_prop_bad(r, node, "kosvm,device", "expected blk, vsock or rng");
	}
	err = board_leaf_read(r, node, props, n);
	if (err < 0 || s->device != BOARD_BLK)
		return err;
	return board_fd_read(r, node, &props[common], &s->fd);
}

static int read_slot(struct board_reader *r, int node, struct board *b)
{
	struct board_slot s = { .fd = BOARD_NO_FD };
	uint64_t reg[2] = { 0 };
	char compatible[16];
	char device[8] = "";
	struct board_prop props[SLOT_COMMON + 4] = {
		{ .name = "compatible",
			.type = PROP_STRING,
			.value = compatible,
			.cap = sizeof(compatible) },
		{ .name = "reg", .type = PROP_REG, .value = reg },
		{ .name = "interrupts",
			.type = PROP_U32,
			.value = &s.gsi,
			.min = BOARD_GSI_FIRST,
			.max = BOARD_GSI_FIRST + BOARD_MAX_SLOTS - 1 },
		{ .name = "kosvm,device",
			.type = PROP_STRING,
			.value = device,
			.cap = sizeof(device) },
	};
	int len;
	const char *name = fdt_getprop(r->fdt, node, "kosvm,device", &len);
	int err;

	if (!name || len <= 0 || strnlen(name, (size_t)len) != (size_t)len - 1)
		return board_prop_bad(r, node, "kosvm,device", "expected blk, vsock or rng");
	if (b->slot_count == BOARD_MAX_SLOTS)
		return kerr_set(r->e, EINVAL, "board: more than %u virtio slots", BOARD_MAX_SLOTS);
	err = read_slot_props(r, node, name, &s, props, SLOT_COMMON);
	if (err < 0)
		return err;
	if (strcmp(compatible, BOARD_COMPATIBLE_VIRTIO) != 0)
		return board_prop_bad(r, node, "compatible", "expected " BOARD_COMPATIBLE_VIRTIO);
	if (reg[1] != BOARD_MMIO_SLOT_SIZE)
		return board_prop_bad(r, node, "reg", "wrong size of the slot");
	s.mmio = reg[0];
	err = check_slot(r, node, b, &s);
	if (err < 0)
		return err;
	b->slots[b->slot_count++] = s;
	return 0;
}

struct node_kind {
	const char *name;
	bool optional;
	int (*read)(struct board_reader *r, int node, struct board *b);
};

static const struct node_kind once[] = {
	{ .name = "chosen", .read = read_chosen },
	{ .name = "kosvm", .read = read_kosvm },
	{ .name = "limits", .optional = true, .read = board_limits_read },
	{ .name = "memory", .read = read_memory },
	{ .name = "cpus", .read = read_cpus },
	{ .name = "serial", .read = read_serial },
};

#define ONCE_COUNT (sizeof(once) / sizeof(once[0]))

static int read_node(struct board_reader *r, int node, struct board *b, unsigned *seen)
{
	const char *name = board_node_name(r, node);

	if (strncmp(name, "virtio@", 7) == 0)
		return read_slot(r, node, b);
	for (size_t i = 0; i < ONCE_COUNT; i++) {
		if (strcmp(name, once[i].name) != 0)
			continue;
		if (*seen & (1u << i))
			return kerr_set(r->e, EINVAL, "board: node %s: given twice", name);
		*seen |= 1u << i;
		return once[i].read(r, node, b);
	}
	return kerr_set(r->e, EINVAL, "board: unknown node %.40s", name);
}

static int read_tree(struct board_reader *r, struct board *b)
{
	char compatible[16];
	struct board_prop p = { .name = "compatible",
		.type = PROP_STRING,
		.value = compatible,
		.cap = sizeof(compatible) };
	unsigned seen = 0;
	int node;
	int err = board_props_read(r, 0, &p, 1);

	if (err < 0)
		return err;
	if (strcmp(compatible, BOARD_COMPATIBLE) != 0)
		return kerr_set(r->e, EINVAL,
			"board: compatible = \"%s\": expected \"" BOARD_COMPATIBLE "\"",
			compatible);
	fdt_for_each_subnode(node, r->fdt, 0)
	{
		err = read_node(r, node, b, &seen);
		if (err < 0)
			return err;
	}
	for (size_t i = 0; i < ONCE_COUNT; i++) {
		if (!(seen & (1u << i)) && !once[i].optional)
			return kerr_set(r->e, EINVAL, "board: node %s: missing", once[i].name);
	}
	return 0;
}

int board_decode(const void *fdt, size_t len, unsigned nfds, struct board *ret, struct kerr *e)
{
	struct board_reader r = { .fdt = fdt, .nfds = nfds > 64 ? 64 : nfds, .e = e };
	struct board b = { .kvm_fd = BOARD_NO_FD,
		.listen_fd = BOARD_NO_FD,
		.end_fd = BOARD_NO_FD,
		.kernel_fd = BOARD_NO_FD,
		.initrd_fd = BOARD_NO_FD,
		.serial_fd = BOARD_NO_FD };
	int err;

	if (len > BOARD_FDT_MAX)
		return kerr_set(e, EINVAL, "board: %zu bytes are more than %u", len, BOARD_FDT_MAX);
	if ((uintptr_t)fdt % 8 != 0)
		return kerr_set(e, EINVAL, "board: the buffer is not aligned to 8 bytes");
	/*
	 * Version first: trees before version 16 name nodes by path, and
	 * fdt_check_full of libfdt 1.6 follows a null pointer on a malformed one.
	 */
	if (len < sizeof(struct fdt_header) || fdt_magic(fdt) != FDT_MAGIC ||
		fdt_version(fdt) != FDT_LAST_SUPPORTED_VERSION || fdt_check_full(fdt, len) != 0)
		return kerr_set(e, EINVAL, "board: not a flattened device tree of %zu bytes", len);
	err = read_tree(&r, &b);
	if (err < 0)
		return err;
	*ret = b;
	return 0;
}
