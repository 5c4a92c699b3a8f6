#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>

/*
 * Properties of a board's tree, read against a table: each node says which
 * ones it may have; an unknown one, a missing one, one of another length
 * or a value out of range is an error that names node and property. The
 * tree was checked as a whole (fdt_check_full) before, so that no walk
 * leaves its buffer.
 */
enum board_prop_type { PROP_U32, PROP_U64, PROP_STRING, PROP_FLAG, PROP_REG, PROP_BYTES };

struct board_prop {
	const char *name;
	enum board_prop_type type;
	bool optional;
	void *value;  /* uint32_t, uint64_t, char[cap], bool, uint64_t[2], uint8_t[cap] */
	size_t cap;   /* PROP_STRING: bytes with the NUL, at most; PROP_BYTES: exactly */
	uint64_t min; /* PROP_U32, PROP_U64 */
	uint64_t max;
	bool seen;
};

struct board_reader {
	const void *fdt;
	unsigned nfds;
	uint64_t fds_used; /* bit per index: two owners of one descriptor are a mistake */
	struct kerr *e;
};

const char *board_node_name(const struct board_reader *r, int node);

/* All properties of a node; every failure below is -EINVAL. */
int board_props_read(
	const struct board_reader *r, int node, struct board_prop *props, size_t count);

/* As above, of a node without nodes in it. */
int board_leaf_read(const struct board_reader *r, int node, struct board_prop *props, size_t count);

/* The descriptor whose index p read (BOARD_NO_FD when it was not there). */
int board_fd_read(struct board_reader *r, int node, const struct board_prop *p, int *ret);

struct board;
/* board_limits.c: /limits */
int board_limits_read(struct board_reader *r, int node, struct board *b);

/* "board: node N: property P: what" */
int board_prop_bad(const struct board_reader *r, int node, const char *prop, const char *what);
