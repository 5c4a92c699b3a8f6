#pragma once

#include <stdint.h>
#include <sys/types.h>

/* What a process has used so far, as proc(5) tells. */
struct proc_usage {
	uint64_t cpu_ns;       /* user, guest and system time of all its threads */
	uint64_t memory_bytes; /* resident */
	uint64_t start_time;   /* field 22: clock ticks after the boot of the machine */
};

/* -ESRCH when there is no such process. */
int proc_usage_read(pid_t pid, struct proc_usage *ret);

/* How long one with this start_time has been there. */
uint64_t proc_age_ns(uint64_t start_time);
