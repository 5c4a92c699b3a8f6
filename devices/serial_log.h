#pragma once

#include <stddef.h>
#include <stdint.h>

#include <devices/serial.h>

/*
 * Where the console's characters go: a tail in memory and a bounded log on
 * a file descriptor, written line by line, never waiting for a reader.
 * The caller locks.
 */
#define SERIAL_LINE 256

struct serial_log {
	int fd; /* -1: the tail only */
	uint64_t max_bytes;
	uint64_t taken; /* bytes that went towards max_bytes */
	uint64_t lost;  /* not yet reported: the reader was too slow, or the disk full */
	uint32_t line_len;
	uint32_t tail_at;  /* where the next byte goes */
	uint32_t tail_len; /* valid bytes */
	char line[SERIAL_LINE];
	char tail[SERIAL_TAIL];
};

/* fd becomes the log's and is made non-blocking. 0 or -errno (then fd stays the caller's). */
int serial_log_init(struct serial_log *l, int fd, uint64_t max_bytes);
void serial_log_done(struct serial_log *l); /* flushes */
void serial_log_put(struct serial_log *l, char c);
size_t serial_log_tail(const struct serial_log *l, char *buf, size_t len);
