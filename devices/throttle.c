#include <devices/throttle.h>

#include <pthread.h>
#include <stdlib.h>

#include <base/clock.h>

struct throttle {
	pthread_mutex_t lock;
	uint64_t (*clock_ns)(void);
	struct bucket bytes, ops;
};

struct throttle *throttle_new(uint64_t (*clock_ns)(void))
{
	struct throttle *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	(void)pthread_mutex_init(&t->lock, NULL);
	t->clock_ns = clock_ns ? clock_ns : clock_mono_ns;
	bucket_init(&t->bytes, 0, 0, t->clock_ns());
	bucket_init(&t->ops, 0, 0, t->clock_ns());
	return t;
}

void throttle_free(struct throttle *t)
{
	if (!t)
		return;
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
}

/* Taken with the time, so that it never runs backwards between two threads. */
static uint64_t enter(struct throttle *t)
{
	(void)pthread_mutex_lock(&t->lock);
	return t->clock_ns();
}

static void leave(struct throttle *t)
{
	(void)pthread_mutex_unlock(&t->lock);
}

void throttle_set(struct throttle *t, const struct rate_limit *limit)
{
	uint64_t now = enter(t);

	bucket_set(&t->bytes, limit->bytes, limit->burst, now);
	bucket_set(&t->ops, limit->ops, 0, now);
	leave(t);
}

static void give_back(struct throttle *t, const struct throttle_turn *turn, uint64_t now)
{
	if (!turn->asked || turn->due)
		return;
	bucket_give_back(&t->bytes, turn->bytes, now);
	bucket_give_back(&t->ops, 1, now);
}

void throttle_ask(struct throttle *t, struct throttle_turn *turn, uint64_t bytes)
{
	uint64_t now;

	if (turn->asked && bytes <= turn->bytes)
		return;
	now = enter(t);
	give_back(t, turn, now);
	*turn = (struct throttle_turn){
		.asked = true,
		.bytes = bytes,
		.bytes_ticket = bucket_ask(&t->bytes, bytes, now),
		.ops_ticket = bucket_ask(&t->ops, 1, now),
	};
	leave(t);
}

uint64_t throttle_wait_ns(struct throttle *t, struct throttle_turn *turn)
{
	uint64_t bytes, ops, now;

	if (turn->due)
		return 0;
	now = enter(t);
	bytes = bucket_wait_ns(&t->bytes, turn->bytes_ticket, now);
	ops = bucket_wait_ns(&t->ops, turn->ops_ticket, now);
	leave(t);
	turn->due = bytes == 0 && ops == 0;
	return bytes > ops ? bytes : ops;
}

void throttle_drop(struct throttle *t, struct throttle_turn *turn)
{
	uint64_t now = enter(t);

	give_back(t, turn, now);
	leave(t);
	*turn = (struct throttle_turn){ 0 };
}

void throttle_charge(struct throttle *t, uint64_t bytes)
{
	(void)bucket_ask(&t->bytes, bytes, enter(t));
	leave(t);
}
