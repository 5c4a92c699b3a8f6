#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * A token bucket, pure: the caller brings the clock (nanoseconds that never go
 * back; a moment before the last one counts as the last one).
 *
 * Who asks for tokens gets a ticket: a place in the sum of all that was ever
 * asked for. It is due when as much was granted. So whoever asked first goes
 * first, a request larger than the burst goes too, as late as its size is
 * worth, and at no time did more pass than burst + rate x time. Sums are exact:
 * they count billionths of a token.
 *
 * The burst is at least a hundredth of a second's worth, and 1: whoever waits
 * for tokens has no finer clock. No locks.
 */
__extension__ typedef unsigned __int128 bucket_sum;

struct bucket {
	uint64_t rate;  /* tokens a second; 0: no limit, everything is due at once */
	uint64_t burst; /* the most that is in hand after a rest */
	bucket_sum asked;
	bucket_sum granted; /* never more than asked + burst */
	uint64_t at_ns;     /* up to when granted counts */
};

/* Full. burst 0: one second's worth. */
void bucket_init(struct bucket *b, uint64_t rate, uint64_t burst, uint64_t now_ns);

/*
 * From now on so. Debt stays debt, to be paid at the new rate; what is in hand
 * stays, up to the new burst. One that had no limit begins full.
 */
void bucket_set(struct bucket *b, uint64_t rate, uint64_t burst, uint64_t now_ns);

/* Takes n tokens that may not be there yet. */
bucket_sum bucket_ask(struct bucket *b, uint64_t n, uint64_t now_ns);

/* 0: due; else how long it takes at this rate. */
uint64_t bucket_wait_ns(struct bucket *b, bucket_sum ticket, uint64_t now_ns);

/* n tokens that were asked for are not needed. */
void bucket_give_back(struct bucket *b, uint64_t n, uint64_t now_ns);

/* Tokens that nobody asked for yet; UINT64_MAX without a limit. */
uint64_t bucket_available(struct bucket *b, uint64_t now_ns);

/* How long until n of them are there, or the burst if that is less. */
uint64_t bucket_until_ns(struct bucket *b, uint64_t n, uint64_t now_ns);
