#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Values with units, as people write them. The whole string must match;
 * each returns 0, -EINVAL (not of that form) or -ERANGE (too large).
 *
 * size:     digits and an optional K, M, G or T (powers of 1024); bytes.
 * duration: digits and ms, s, m, h or d; nanoseconds. "0" is allowed bare.
 * share:    of processors, "50%" or "1.5", at most three digits behind the point;
 *           thousandths of one processor, which is as fine as they go.
 * unsigned: decimal digits, at most max.
 */
int units_parse_size(const char *s, uint64_t *ret_bytes);
int units_parse_duration(const char *s, uint64_t *ret_ns);
int units_parse_share(const char *s, uint64_t *ret_permille);
int units_parse_u64(const char *s, uint64_t max, uint64_t *ret);

/* "128M", "1.5G"; "12.3s", "5m"; "150%": for tables. Always NUL-terminated. */
void units_format_size(uint64_t bytes, char *buf, size_t len);
void units_format_duration(uint64_t ns, char *buf, size_t len);
void units_format_share(uint64_t permille, char *buf, size_t len);
