#pragma once

#include <stdint.h>
#include <sys/types.h>

/* What a VMM process holds resident, from /proc/PID/smaps (proc(5)). */
struct memory_use {
	uint64_t guest_kib;        /* size of the guest's memory, 0: not read */
	uint64_t guest_rss_kib;    /* of that, resident */
	uint64_t rss_kib, pss_kib; /* every other mapping */
};

/*
 * Guest memory is the one mapping of exactly guest_bytes. -ESRCH when there
 * is none or more than one.
 */
int memory_use_read(pid_t pid, uint64_t guest_bytes, struct memory_use *ret);
