#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/loop.h>

/*
 * What an agent wrote, on disk in the CRI log format, one record a line:
 *   2026-01-02T03:04:05.000000006Z stdout F text
 * with P instead of F for a part of a line that goes on in the next record.
 * Two files, agent.log and agent.log.1, together never more than the
 * bound; the older half is dropped when it is reached. The text is the
 * guest's word.
 */
#define AGENT_LOG_LINE_MAX 8192u /* less in a log that is very small */
#define AGENT_LOG_NAME     "agent.log"
#define AGENT_LOG_NAME_OLD "agent.log.1"
#define AGENT_LOG_MIN      4096u

enum agent_log_stream { AGENT_LOG_STDOUT, AGENT_LOG_STDERR };

struct agent_log;
struct log_reader_list;

/* dirfd is borrowed for the log's lifetime. max_bytes: AGENT_LOG_MIN or more. */
int agent_log_open(struct agent_log **ret, int dirfd, uint64_t max_bytes, struct kerr *e);

/* Writes out what is held back of unfinished lines; followers see the end. */
void agent_log_close(struct agent_log *l);

/* Bytes as they came. A full disk drops records and says so once in the log of kosvmd. */
void agent_log_append(struct agent_log *l, enum agent_log_stream s, const void *data, size_t len);

/* Text of an unfinished line is held back, only in memory. */
bool agent_log_unsettled(const struct agent_log *l);

/* Writes it out as records that go on (P), so that nothing is in memory only. */
void agent_log_settle(struct agent_log *l);

/*
 * Streams the records to a socket (taken over): what is there, and with
 * `live` non-NULL what comes until the log is closed. Owned by itself: ends
 * when the reader leaves or all is sent. dirfd: as for agent_log_open.
 */
int agent_log_stream(
	struct loop *loop, int dirfd, struct agent_log *live, int sock, struct kerr *e);

/* Those who follow it, for log_reader.c. */
struct log_reader_list *agent_log_readers(struct agent_log *l);
