#pragma once

#include <stdint.h>

/*
 * A moment as docker takes it: a duration before now ("10m", "1h30m"),
 * seconds since 1970 ("1700000000", "1700000000.5"), or a date of RFC 3339
 * with less and less of it ("2026-01-02T03:04:05.5Z", "…+02:00",
 * "2026-01-02T03:04", "2026-01-02"); without a zone it is local time.
 * Nanoseconds since 1970; 0 or -EINVAL.
 */
int when_parse(const char *text, uint64_t now_ns, uint64_t *ret_ns);
