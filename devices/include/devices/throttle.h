#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <devices/bucket.h>
#include <wire/limits.h>

/*
 * What the disks of one machine may move together: bytes and operations.
 * Shared by their threads and the one that changes the limit; each call is
 * short and may come from any of them. Outlives the devices that use it.
 */
struct throttle;

/* Without a limit at first. clock_ns NULL: CLOCK_MONOTONIC. NULL: no memory. */
struct throttle *throttle_new(uint64_t (*clock_ns)(void));
void throttle_free(struct throttle *t); /* NULL is fine */

/* From now on; those that wait have to be woken by the caller. */
void throttle_set(struct throttle *t, const struct rate_limit *limit);

/* One request's place among the others; zero: none. One thread's. */
struct throttle_turn {
	bool asked;
	bool due; /* it was its turn: what it asked for is spent */
	uint64_t bytes;
	bucket_sum bytes_ticket, ops_ticket;
};

/* A place for one operation of so many bytes, unless turn is one for as many. */
void throttle_ask(struct throttle *t, struct throttle_turn *turn, uint64_t bytes);
/* 0: go on; else look again after so long, or when the limit changed. */
uint64_t throttle_wait_ns(struct throttle *t, struct throttle_turn *turn);
/* It will not happen, or has happened. What was not due is given back. */
void throttle_drop(struct throttle *t, struct throttle_turn *turn);
/* Bytes that nobody foresaw: those that come next pay for them. */
void throttle_charge(struct throttle *t, uint64_t bytes);
