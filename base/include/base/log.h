#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Log lines on stderr: "kosvmd[warn]: text". Library rooms log at
 * LOG_DEBUG only. Thread-safe: one write(2) per line. No allocation.
 */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* name: string with static lifetime. Call once, before other threads start. */
void log_init(const char *name, enum log_level max);

/* Reads KOSVM_LOG (error, warn, info, debug); anything else gives fallback. */
enum log_level log_level_from_env(enum log_level fallback);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * For messages that hostile input can provoke: true at most `burst` times
 * in each ten seconds. Zero-initialise with the burst set; not thread-safe,
 * one per thread or under the owner's lock.
 */
struct log_limit {
	unsigned burst;
	unsigned used;
	uint64_t window_start_ns;
};
bool log_limit_ok(struct log_limit *l);
