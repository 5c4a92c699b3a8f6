#pragma once

#include <stdint.h>

/*
 * How much of something may pass: bytes a second, operations a second, and bytes at
 * once. 0: not limited; burst 0: one second's worth.
 */
struct rate_limit {
	uint64_t bytes, ops, burst;
};
