#include <wire/board.h>

#include <errno.h>
#include <string.h>

#include <libfdt.h>

#include "board_names.h"

/*
 * The reader. Each node has a table of the properties it may have; an
 * unknown one, a missing one, one of another length or a value out of
 * range ends it. The tree's structure was checked by fdt_check_full, so the
 * walk itself cannot leave the buffer.
 */
enum prop_type { PROP_U32, PROP_U64, PROP_STRING, PROP_FLAG, PROP_REG };

struct prop {
	const char *name;
	enum prop_type type;
	bool optional;
	void *value;  /* uint32_t, uint64_t, char[cap], bool, uint64_t[2] */
	size_t cap;   /* PROP_STRING: bytes with the NUL */
	uint64_t min; /* PROP_U32, PROP_U64 */
	uint64_t max;
	bool seen;
};

struct reader {
	const void *fdt;
	unsigned nfds;
	uint64_t fds_used; /* bit per index: two owners of one descriptor are a mistake */
	struct kerr *e;
};

static const char *node_name(const struct reader *r, int node)
{
	const char *name = fdt_get_name(r->fdt, node, NULL);

	return name && *name ? name : "/";
}

static int bad(const struct reader *r, int node, const char *prop, const char *what)
{
	return kerr_set(
		r->e, EINVAL, "board: node %s: property %s: %s", node_name(r, node), prop, what);
}

static int check_range(const struct reader *r, int node, const struct prop *p, uint64_t v)
{
	if (v >= p->min && v <= p->max)
		return 0;
	return kerr_set(r->e, EINVAL, "board: node %s: property %s = %llu: expected %llu to %llu",
		node_name(r, node), p->name, (unsigned long long)v, (unsigned long long)p->min,
		(unsigned long long)p->max);
}

static int read_string(
	const struct reader *r, int node, const struct prop *p, const char *data, size_t len)
{
	if (len == 0 || strnlen(data, len) != len - 1)
		return bad(r, node, p->name, "expected one NUL-terminated string");
	if (len > p->cap)
		return bad(r, node, p->name, "the string is too long");
	memcpy(p->value, data, len);
	return 0;
}

static int read_value(
	const struct reader *r, int node, const struct prop *p, const void *data, size_t len)
{
	static const size_t sizes[] = {
		[PROP_U32] = 4, [PROP_U64] = 8, [PROP_FLAG] = 0, [PROP_REG] = 16
	};
	uint64_t *reg = p->value;
	uint64_t v;

	if (p->type == PROP_STRING)
		return read_string(r, node, p, data, len);
	if (len != sizes[p->type])
		return bad(r, node, p->name, "wrong length");
	switch (p->type) {
	case PROP_FLAG:
		*(bool *)p->value = true;
		return 0;
	case PROP_REG:
		reg[0] = fdt64_ld(data);
		reg[1] = fdt64_ld((const fdt64_t *)data + 1);
		return 0;
	case PROP_U32:
		v = fdt32_ld(data);
		*(uint32_t *)p->value = (uint32_t)v;
		return check_range(r, node, p, v);
	default:
		v = fdt64_ld(data);
		*reg = v;
		return check_range(r, node, p, v);
	}
}

/* All properties of one node against its table. */
static int read_props(const struct reader *r, int node, struct prop *props, size_t count)
{
	int offset;

	fdt_for_each_property_offset(offset, r->fdt, node)
	{
		const char *name;
		int len;
		const void *data = fdt_getprop_by_offset(r->fdt, offset, &name, &len);
		struct prop *p = NULL;
		int err;

		if (!data || len < 0)
			return kerr_set(r->e, EINVAL, "board: node %s: unreadable property",
				node_name(r, node));
		for (size_t i = 0; i < count && !p; i++) {
			if (strcmp(props[i].name, name) == 0)
				p = &props[i];
		}
		if (!p)
			return kerr_set(r->e, EINVAL, "board: node %s: unknown property %.40s",
				node_name(r, node), name);
		if (p->seen)
			return bad(r, node, p->name, "given twice");
		p->seen = true;
		err = read_value(r, node, p, data, (size_t)len);
		if (err < 0)
			return err;
	}
	for (size_t i = 0; i < count; i++) {
		if (!props[i].seen && !props[i].optional)
			return bad(r, node, props[i].name, "missing");
	}
	return 0;
}

static int no_children(const struct reader *r, int node)
{
	int child = fdt_first_subnode(r->fdt, node);

	if (child < 0)
		return 0;
	return kerr_set(r->e, EINVAL, "board: node %s: unknown node %.40s", node_name(r, node),
		node_name(r, child));
}

static int read_leaf(const struct reader *r, int node, struct prop *props, size_t count)
{
	int err = read_props(r, node, props, count);

	return err < 0 ? err : no_children(r, node);
}

/* Turns an index that was read (or was not there) into the board's form. */
static int take_fd(struct reader *r, int node, const struct prop *p, int *ret)
{
	uint32_t index = *(const uint32_t *)p->value;

	if (!p->seen) {
		*ret = BOARD_NO_FD;
		return 0;
	}
	if (index >= r->nfds)
		return kerr_set(r->e, EINVAL,
			"board: node %s: property %s = %u: only %u descriptors came along",
			node_name(r, node), p->name, index, r->nfds);
	if (r->fds_used & (1ULL << index))
		return bad(r, node, p->name, "this descriptor has an owner already");
	r->fds_used |= 1ULL << index;
	*ret = (int)index;
	return 0;
}

static int read_chosen(struct reader *r, int node, struct board *b)
{
	uint32_t kernel_fd = 0;
	uint32_t initrd_fd = 0;
	struct prop props[] = {
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
	int err = read_leaf(r, node, props, 5);

	if (err < 0)
		return err;
	if (props[3].seen != props[4].seen)
		return bad(r, node, "kosvm,initrd-size", "expected beside kosvm,initrd-fd only");
	err = take_fd(r, node, &props[1], &b->kernel_fd);
	return err < 0 ? err : take_fd(r, node, &props[3], &b->initrd_fd);
}

static int read_kosvm(struct reader *r, int node, struct board *b)
{
	uint32_t fd = 0;
	struct prop p = {
		.name = "kosvm,kvm-fd", .type = PROP_U32, .value = &fd, .max = UINT32_MAX
	};
	int err = read_leaf(r, node, &p, 1);

	return err < 0 ? err : take_fd(r, node, &p, &b->kvm_fd);
}

static int read_memory(struct reader *r, int node, struct board *b)
{
	struct prop p = { .name = "reg",
		.type = PROP_U64,
		.value = &b->memory,
		.min = BOARD_MEMORY_MIN,
		.max = BOARD_MEMORY_MAX };
	int err = read_leaf(r, node, &p, 1);

	if (err < 0)
		return err;
	return b->memory % 4096 == 0 ? 0 : bad(r, node, "reg", "not a multiple of 4096");
}

static int read_cpus(struct reader *r, int node, struct board *b)
{
	int child;
	int err = read_props(r, node, NULL, 0);

	if (err < 0)
		return err;
	fdt_for_each_subnode(child, r->fdt, node)
	{
		uint32_t reg = 0;
		struct prop p = { .name = "reg",
			.type = PROP_U32,
			.value = &reg,
			.min = b->vcpus,
			.max = b->vcpus };

		if (strncmp(node_name(r, child), "cpu@", 4) != 0)
			return kerr_set(r->e, EINVAL, "board: node cpus: unknown node %.40s",
				node_name(r, child));
		if (b->vcpus == BOARD_MAX_VCPUS)
			return kerr_set(r->e, EINVAL, "board: node cpus: more than %u vCPUs",
				BOARD_MAX_VCPUS);
		err = read_leaf(r, child, &p, 1);
		if (err < 0)
			return err;
		b->vcpus++;
	}
	if (b->vcpus == 0)
		return kerr_set(r->e, EINVAL, "board: node cpus: expected at least one cpu@0");
	return 0;
}

static int read_serial(struct reader *r, int node, struct board *b)
{
	uint32_t fd = 0;
	struct prop props[] = {
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
	int err = read_leaf(r, node, props, 2);

	return err < 0 ? err : take_fd(r, node, &props[0], &b->serial_fd);
}

/* What only a slot as a whole, and beside the others, can tell. */
static int check_slot(
	const struct reader *r, int node, const struct board *b, const struct board_slot *s)
{
	if (s->mmio < BOARD_MMIO_BASE ||
		s->mmio > BOARD_MMIO_BASE + (BOARD_MAX_SLOTS - 1) * BOARD_MMIO_SLOT_SIZE ||
		s->mmio % BOARD_MMIO_SLOT_SIZE != 0)
		return bad(r, node, "reg", "not the address of a slot");
	for (unsigned i = 0; i < b->slot_count; i++) {
		const struct board_slot *other = &b->slots[i];

		if (other->mmio == s->mmio)
			return bad(r, node, "reg", "this address is taken");
		if (other->gsi == s->gsi)
			return bad(r, node, "interrupts", "this GSI is taken");
		if (other->device == BOARD_VSOCK && s->device == BOARD_VSOCK)
			return bad(r, node, "kosvm,device", "a board has one vsock at most");
	}
	if (s->device == BOARD_BLK && s->size % 512 != 0)
		return bad(r, node, "kosvm,size", "not a multiple of 512");
	for (const char *c = s->serial; *c; c++) {
		if (*c <= ' ' || *c > '~')
			return bad(r, node, "kosvm,serial", "expected printable characters");
	}
	return 0;
}

enum { SLOT_COMMON = 4 };

/* The properties behind the common ones depend on the device. */
static int read_slot_props(struct reader *r, int node, const char *device, struct board_slot *s,
	struct prop *props, size_t common)
{
	uint32_t fd = 0;
	size_t n = common;
	int err;

	if (strcmp(device, board_device_names[BOARD_BLK]) == 0) {
		s->device = BOARD_BLK;
		props[n++] = (struct prop){
			.name = "kosvm,fd", .type = PROP_U32, .value = &fd, .max = UINT32_MAX
		};
		props[n++] = (struct prop){ .name = "kosvm,size",
			.type = PROP_U64,
			.value = &s->size,
			.min = 512,
			.max = INT64_MAX };
		props[n++] = (struct prop){ .name = "kosvm,serial",
			.type = PROP_STRING,
			.value = s->serial,
			.cap = sizeof(s->serial) };
		props[n++] = (struct prop){ .name = "read-only",
			.type = PROP_FLAG,
			.value = &s->read_only,
			.optional = true };
	} else if (strcmp(device, board_device_names[BOARD_VSOCK]) == 0) {
		s->device = BOARD_VSOCK;
		/* CIDs 0 to 2 and the last one have meanings of their own (virtio 1.2, 5.10.4). */
		props[n++] = (struct prop){ .name = "kosvm,cid",
			.type = PROP_U64,
			.value = &s->cid,
			.min = 3,
			.max = UINT32_MAX - 1 };
	} else if (strcmp(device, board_device_names[BOARD_RNG]) == 0) {
		s->device = BOARD_RNG;
	} else {
		return bad(r, node, "kosvm,device", "expected blk, vsock or rng");
	}
	err = read_leaf(r, node, props, n);
	if (err < 0 || s->device != BOARD_BLK)
		return err;
	return take_fd(r, node, &props[common], &s->fd);
}

static int read_slot(struct reader *r, int node, struct board *b)
{
	struct board_slot s = { .fd = BOARD_NO_FD };
	uint64_t reg[2] = { 0 };
	char compatible[16];
	char device[8] = "";
	struct prop props[SLOT_COMMON + 4] = {
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
		return bad(r, node, "kosvm,device", "expected blk, vsock or rng");
	if (b->slot_count == BOARD_MAX_SLOTS)
		return kerr_set(r->e, EINVAL, "board: more than %u virtio slots", BOARD_MAX_SLOTS);
	err = read_slot_props(r, node, name, &s, props, SLOT_COMMON);
	if (err < 0)
		return err;
	if (strcmp(compatible, BOARD_COMPATIBLE_VIRTIO) != 0)
		return bad(r, node, "compatible", "expected " BOARD_COMPATIBLE_VIRTIO);
	if (reg[1] != BOARD_MMIO_SLOT_SIZE)
		return bad(r, node, "reg", "wrong size of the slot");
	s.mmio = reg[0];
	err = check_slot(r, node, b, &s);
	if (err < 0)
		return err;
	b->slots[b->slot_count++] = s;
	return 0;
}

struct node_kind {
	const char *name;
	int (*read)(struct reader *r, int node, struct board *b);
};

static const struct node_kind once[] = {
	{ .name = "chosen", .read = read_chosen },
	{ .name = "kosvm", .read = read_kosvm },
	{ .name = "memory", .read = read_memory },
	{ .name = "cpus", .read = read_cpus },
	{ .name = "serial", .read = read_serial },
};

#define ONCE_COUNT (sizeof(once) / sizeof(once[0]))

static int read_node(struct reader *r, int node, struct board *b, unsigned *seen)
{
	const char *name = node_name(r, node);

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

static int read_tree(struct reader *r, struct board *b)
{
	char compatible[16];
	struct prop p = { .name = "compatible",
		.type = PROP_STRING,
		.value = compatible,
		.cap = sizeof(compatible) };
	unsigned seen = 0;
	int node;
	int err = read_props(r, 0, &p, 1);

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
		if (!(seen & (1u << i)))
			return kerr_set(r->e, EINVAL, "board: node %s: missing", once[i].name);
	}
	return 0;
}

int board_decode(const void *fdt, size_t len, unsigned nfds, struct board *ret, struct kerr *e)
{
	struct reader r = { .fdt = fdt, .nfds = nfds > 64 ? 64 : nfds, .e = e };
	struct board b = { .kvm_fd = BOARD_NO_FD,
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
