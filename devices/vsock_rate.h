#pragma once

#include <devices/bucket.h>
#include <wire/limits.h>

#include "vsock_table.h"

/*
 * How much payload may pass, both ways together. A stream that may not go on
 * stands in the line of its lane. From time to time there is a round: what has
 * come together is shared out evenly, and whoever stands in line may use its
 * share, then stands at the end again. A stream that is in no line takes what
 * is there. Loop thread only.
 */
enum vsock_lane_name { VSOCK_LANE_DATA, VSOCK_LANE_CONTROL, VSOCK_LANE_COUNT };

struct vsock_lane {
	struct bucket bucket;
	struct vsock_list line;
	unsigned waiting;
	uint64_t round;
	uint64_t share; /* of this round, each */
};

struct vsock_rate {
	struct vsock_lane lanes[VSOCK_LANE_COUNT];
	uint32_t control_port;
	uint64_t (*clock_ns)(void);
};

void vsock_rate_init(struct vsock_rate *r, const struct rate_limit *limit, uint32_t control_port,
	uint64_t (*clock_ns)(void));
void vsock_rate_set(struct vsock_rate *r, const struct rate_limit *limit);

/* A stream that the guest opens: its lane. The host's own are in VSOCK_LANE_DATA. */
void vsock_rate_choose(const struct vsock_rate *r, struct vsock_conn *c);

/* How many of `want` bytes of c may pass now. If not all, it stands in line from now on. */
uint32_t vsock_rate_room(struct vsock_rate *r, struct vsock_conn *c, uint32_t want);
/* So many did. */
void vsock_rate_spent(struct vsock_rate *r, struct vsock_conn *c, uint32_t n);
/* Out of the line; before c is freed. */
void vsock_rate_leave(struct vsock_rate *r, struct vsock_conn *c);

/* A round: how many stand in line and may be called by vsock_rate_next; 0: nothing is there. */
unsigned vsock_rate_round(struct vsock_rate *r, unsigned lane);
/* The first in line, out of it and with its share. NULL: nobody is left. */
struct vsock_conn *vsock_rate_next(struct vsock_rate *r, unsigned lane);

/* When a round is worth its while; 0: nobody waits. */
uint64_t vsock_rate_wait_ns(struct vsock_rate *r);
