#include "vsock_rate.h"

#include <base/clock.h>
#include <devices/virtio_vsock.h>

/* What a round shares out is worth so much of a second, and it is never earlier. */
#define ROUNDS_PER_S 64u
#define ROUND_MIN_NS CLOCK_NS_PER_MS

#define HOST_CID 2u /* virtio 1.2, 5.10.4 */

/* No limit for the others: none for these. */
static const struct rate_limit control_limit = {
	.bytes = VSOCK_CONTROL_RATE,
	.burst = VSOCK_CONTROL_BURST,
};

void vsock_rate_init(struct vsock_rate *r, const struct rate_limit *limit, uint32_t control_port,
	uint64_t (*clock_ns)(void))
{
	*r = (struct vsock_rate){
		.control_port = control_port,
		.clock_ns = clock_ns ? clock_ns : clock_mono_ns,
	};
	for (unsigned i = 0; i < VSOCK_LANE_COUNT; i++) {
		TAILQ_INIT(&r->lanes[i].line);
		r->lanes[i].round = 1; /* none that a fresh stream took part in */
		bucket_init(&r->lanes[i].bucket, 0, 0, r->clock_ns());
	}
	vsock_rate_set(r, limit);
}

void vsock_rate_set(struct vsock_rate *r, const struct rate_limit *limit)
{
	const struct rate_limit *control = limit->bytes ? &control_limit : limit;
	uint64_t now = r->clock_ns();

	bucket_set(&r->lanes[VSOCK_LANE_DATA].bucket, limit->bytes, limit->burst, now);
	bucket_set(&r->lanes[VSOCK_LANE_CONTROL].bucket, control->bytes, control->burst, now);
}

void vsock_rate_choose(const struct vsock_rate *r, struct vsock_conn *c)
{
	if (r->control_port && c->key.local_cid == HOST_CID && c->key.local_port == r->control_port)
		c->place.lane = VSOCK_LANE_CONTROL;
}

uint32_t vsock_rate_room(struct vsock_rate *r, struct vsock_conn *c, uint32_t want)
{
	struct vsock_lane *lane = &r->lanes[c->place.lane];
	uint64_t room;

	if (c->place.waits)
		return 0;
	room = bucket_available(&lane->bucket, r->clock_ns());
	if (c->place.round == lane->round && room > c->place.share)
		room = c->place.share;
	if (room >= want)
		return want;
	TAILQ_INSERT_TAIL(&lane->line, c, rate_link);
	c->place.waits = true;
	lane->waiting++;
	return (uint32_t)room;
}

void vsock_rate_spent(struct vsock_rate *r, struct vsock_conn *c, uint32_t n)
{
	struct vsock_lane *lane = &r->lanes[c->place.lane];

	(void)bucket_ask(&lane->bucket, n, r->clock_ns());
	if (c->place.round == lane->round)
		c->place.share -= n < c->place.share ? n : c->place.share;
}

void vsock_rate_leave(struct vsock_rate *r, struct vsock_conn *c)
{
	struct vsock_lane *lane = &r->lanes[c->place.lane];

	if (!c->place.waits)
		return;
	TAILQ_REMOVE(&lane->line, c, rate_link);
	c->place.waits = false;
	lane->waiting--;
}

unsigned vsock_rate_round(struct vsock_rate *r, unsigned lane)
{
	struct vsock_lane *l = &r->lanes[lane];
	uint64_t room;

	if (l->waiting == 0)
		return 0;
	room = bucket_available(&l->bucket, r->clock_ns());
	if (room == 0)
		return 0;
	l->round++;
	l->share = room / l->waiting ? room / l->waiting : 1;
	return l->waiting;
}

struct vsock_conn *vsock_rate_next(struct vsock_rate *r, unsigned lane)
{
	struct vsock_lane *l = &r->lanes[lane];
	struct vsock_conn *c = TAILQ_FIRST(&l->line);

	if (!c)
		return NULL;
	vsock_rate_leave(r, c);
	c->place.round = l->round;
	c->place.share = l->share < UINT32_MAX ? (uint32_t)l->share : UINT32_MAX;
	return c;
}

uint64_t vsock_rate_wait_ns(struct vsock_rate *r)
{
	uint64_t now = r->clock_ns();
	uint64_t first = 0;

	for (unsigned i = 0; i < VSOCK_LANE_COUNT; i++) {
		struct vsock_lane *l = &r->lanes[i];
		uint64_t enough = l->bucket.rate / ROUNDS_PER_S;
		uint64_t wait;

		if (l->waiting == 0)
			continue;
		wait = bucket_until_ns(&l->bucket, enough ? enough : 1, now);
		if (wait < ROUND_MIN_NS)
			wait = ROUND_MIN_NS;
		if (first == 0 || wait < first)
			first = wait;
	}
	return first;
}
