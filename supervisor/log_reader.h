#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include <base/kerr.h>

/*
 * Reads what an agent wrote, oldest first, and with a live log what comes
 * until that is closed. Both files of the log are opened at the beginning,
 * and each new one when the log rotates, so that no record is missed
 * however the names move meanwhile. Never waits. Loop thread only.
 */
struct log_reader;
struct agent_log;

struct log_filter {
	uint64_t since_ns; /* CLOCK_REALTIME; 0: from the beginning */
	uint64_t until_ns; /* 0: to the end */
	int64_t tail;      /* the last so many of what is there; -1: all */
	bool out;          /* standard output */
	bool err;
};

/* dirfd: the agent's directory, used here only. live may be NULL. wake(user): there is more to
 * read. */
int log_reader_new(struct log_reader **ret, int dirfd, struct agent_log *live,
	const struct log_filter *f, void (*wake)(void *user), void *user, struct kerr *e);
void log_reader_free(struct log_reader *r);

/*
 * Bytes put into buf; 0: not yet, call again soon; -EAGAIN: wake follows;
 * -ENODATA: the end; -EPIPE: fell so far behind that records would be missed.
 */
ssize_t log_reader_read(struct log_reader *r, char *buf, size_t max);

/* ---- for agent_log.c ---- */

LIST_HEAD(log_reader_list, log_reader);
/* The log writes to a new file from now on. */
void log_readers_rotated(struct log_reader_list *list, int fd);
void log_readers_wake(struct log_reader_list *list);
/* Nothing comes any more: they end when they have read what is there. */
void log_readers_end(struct log_reader_list *list);
