#include <wire/board.h>

#include "board_props.h"

static struct board_prop rate(const char *name, uint64_t *value)
{
	return (struct board_prop){ .name = name,
		.type = PROP_U64,
		.value = value,
		.optional = true,
		.min = 1,
		.max = UINT64_MAX };
}

int board_limits_read(struct board_reader *r, int node, struct board *b)
{
	struct board_prop props[] = {
		rate("kosvm,disk-bytes", &b->disk_rate.bytes),
		rate("kosvm,disk-ops", &b->disk_rate.ops),
		rate("kosvm,disk-burst", &b->disk_rate.burst),
		rate("kosvm,vsock-bytes", &b->vsock_rate.bytes),
		rate("kosvm,vsock-burst", &b->vsock_rate.burst),
	};
	int err = board_leaf_read(r, node, props, 5);

	if (err < 0)
		return err;
	if (props[2].seen && !props[0].seen)
		return board_prop_bad(
			r, node, props[2].name, "expected beside kosvm,disk-bytes only");
	if (props[4].seen && !props[3].seen)
		return board_prop_bad(
			r, node, props[4].name, "expected beside kosvm,vsock-bytes only");
	return 0;
}
