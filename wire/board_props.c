#include "board_props.h"

#include <errno.h>
#include <string.h>

#include <libfdt.h>

#include <wire/board.h>

const char *board_node_name(const struct board_reader *r, int node)
{
	const char *name = fdt_get_name(r->fdt, node, NULL);

	return name && *name ? name : "/";
}

int board_prop_bad(const struct board_reader *r, int node, const char *prop, const char *what)
{
	return kerr_set(r->e, EINVAL, "board: node %s: property %s: %s", board_node_name(r, node),
		prop, what);
}

static int check_range(
	const struct board_reader *r, int node, const struct board_prop *p, uint64_t v)
{
	if (v >= p->min && v <= p->max)
		return 0;
	return kerr_set(r->e, EINVAL, "board: node %s: property %s = %llu: expected %llu to %llu",
		board_node_name(r, node), p->name, (unsigned long long)v,
		(unsigned long long)p->min, (unsigned long long)p->max);
}

static int read_string(const struct board_reader *r, int node, const struct board_prop *p,
	const char *data, size_t len)
{
	if (len == 0 || strnlen(data, len) != len - 1)
		return board_prop_bad(r, node, p->name, "expected one NUL-terminated string");
	if (len > p->cap)
		return board_prop_bad(r, node, p->name, "the string is too long");
	memcpy(p->value, data, len);
	return 0;
}

static int read_value(const struct board_reader *r, int node, const struct board_prop *p,
	const void *data, size_t len)
{
	static const size_t sizes[] = {
		[PROP_U32] = 4, [PROP_U64] = 8, [PROP_FLAG] = 0, [PROP_REG] = 16
	};
	uint64_t *reg = p->value;
	uint64_t v;

	if (p->type == PROP_STRING)
		return read_string(r, node, p, data, len);
	if (len != (p->type == PROP_BYTES ? p->cap : sizes[p->type]))
		return board_prop_bad(r, node, p->name, "wrong length");
	switch (p->type) {
	case PROP_BYTES:
		memcpy(p->value, data, len);
		return 0;
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
int board_props_read(const struct board_reader *r, int node, struct board_prop *props, size_t count)
{
	int offset;

	fdt_for_each_property_offset(offset, r->fdt, node)
	{
		const char *name;
		int len;
		const void *data = fdt_getprop_by_offset(r->fdt, offset, &name, &len);
		struct board_prop *p = NULL;
		int err;

		if (!data || len < 0)
			return kerr_set(r->e, EINVAL, "board: node %s: unreadable property",
				board_node_name(r, node));
		for (size_t i = 0; i < count && !p; i++) {
			if (strcmp(props[i].name, name) == 0)
				p = &props[i];
		}
		if (!p)
			return kerr_set(r->e, EINVAL, "board: node %s: unknown property %.40s",
				board_node_name(r, node), name);
		if (p->seen)
			return board_prop_bad(r, node, p->name, "given twice");
		p->seen = true;
		err = read_value(r, node, p, data, (size_t)len);
		if (err < 0)
			return err;
	}
	for (size_t i = 0; i < count; i++) {
		if (!props[i].seen && !props[i].optional)
			return board_prop_bad(r, node, props[i].name, "missing");
	}
	return 0;
}

static int no_children(const struct board_reader *r, int node)
{
	int child = fdt_first_subnode(r->fdt, node);

	if (child < 0)
		return 0;
	return kerr_set(r->e, EINVAL, "board: node %s: unknown node %.40s",
		board_node_name(r, node), board_node_name(r, child));
}

int board_leaf_read(const struct board_reader *r, int node, struct board_prop *props, size_t count)
{
	int err = board_props_read(r, node, props, count);

	return err < 0 ? err : no_children(r, node);
}

/* Turns an index that was read (or was not there) into the board's form. */
int board_fd_read(struct board_reader *r, int node, const struct board_prop *p, int *ret)
{
	uint32_t index = *(const uint32_t *)p->value;

	if (!p->seen) {
		*ret = BOARD_NO_FD;
		return 0;
	}
	if (index >= r->nfds)
		return kerr_set(r->e, EINVAL,
			"board: node %s: property %s = %u: only %u descriptors came along",
			board_node_name(r, node), p->name, index, r->nfds);
	if (r->fds_used & (1ULL << index))
		return board_prop_bad(r, node, p->name, "this descriptor has an owner already");
	r->fds_used |= 1ULL << index;
	*ret = (int)index;
	return 0;
}
