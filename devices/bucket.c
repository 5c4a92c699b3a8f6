#include <devices/bucket.h>

#define SCALE UINT64_C(1000000000)

/* The shortest that a burst may last, as a part of a second. */
#define BURST_PARTS 100u

static uint64_t burst_of(uint64_t rate, uint64_t burst)
{
	uint64_t least = rate / BURST_PARTS ? rate / BURST_PARTS : 1;

	if (burst == 0)
		burst = rate;
	return burst > least ? burst : least;
}

static bucket_sum most(const struct bucket *b)
{
	return b->asked + (bucket_sum)b->burst * SCALE;
}

static void grant(struct bucket *b, bucket_sum more)
{
	bucket_sum room = most(b) - b->granted;

	b->granted += more < room ? more : room;
}

static void settle(struct bucket *b, uint64_t now_ns)
{
	if (now_ns <= b->at_ns)
		return;
	/* 64 by 64 bits: the product fits, whatever the clock did. */
	grant(b, (bucket_sum)(now_ns - b->at_ns) * b->rate);
	b->at_ns = now_ns;
}

void bucket_init(struct bucket *b, uint64_t rate, uint64_t burst, uint64_t now_ns)
{
	*b = (struct bucket){ .at_ns = now_ns };
	bucket_set(b, rate, burst, now_ns);
}

void bucket_set(struct bucket *b, uint64_t rate, uint64_t burst, uint64_t now_ns)
{
	bool fresh = b->rate == 0;

	settle(b, now_ns);
	b->rate = rate;
	b->burst = burst_of(rate, burst);
	if (fresh || b->granted > most(b))
		b->granted = most(b);
}

bucket_sum bucket_ask(struct bucket *b, uint64_t n, uint64_t now_ns)
{
	settle(b, now_ns);
	if (b->rate)
		b->asked += (bucket_sum)n * SCALE;
	return b->asked;
}

uint64_t bucket_wait_ns(struct bucket *b, bucket_sum ticket, uint64_t now_ns)
{
	bucket_sum ns;

	settle(b, now_ns);
	if (b->rate == 0 || ticket <= b->granted)
		return 0;
	ns = (ticket - b->granted + b->rate - 1) / b->rate;
	return ns < UINT64_MAX ? (uint64_t)ns : UINT64_MAX;
}

void bucket_give_back(struct bucket *b, uint64_t n, uint64_t now_ns)
{
	settle(b, now_ns);
	if (b->rate)
		grant(b, (bucket_sum)n * SCALE);
}

uint64_t bucket_available(struct bucket *b, uint64_t now_ns)
{
	settle(b, now_ns);
	if (b->rate == 0)
		return UINT64_MAX;
	return b->granted > b->asked ? (uint64_t)((b->granted - b->asked) / SCALE) : 0;
}

uint64_t bucket_until_ns(struct bucket *b, uint64_t n, uint64_t now_ns)
{
	if (n > b->burst)
		n = b->burst;
	return bucket_wait_ns(b, b->asked + (bucket_sum)n * SCALE, now_ns);
}
