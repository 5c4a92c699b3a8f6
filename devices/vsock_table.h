#pragma once

#include "vsock_conn.h"

/*
 * The streams of one device: by key, by id, in turn, by deadline.
 * Bounded in number and, by the credit it hands out, in bytes held for
 * the host. Loop thread only.
 */
#define VSOCK_BUCKETS 256u

/* Smallest window a stream gets when the pool of credit has run low. */
#define VSOCK_GRANT_MIN 8192u

enum vsock_notice {
	VSOCK_NOTICE_NONE = 0,
	VSOCK_NOTICE_ASK,  /* guest_connect is to be called */
	VSOCK_NOTICE_DONE, /* connect_done is to be called with c->result */
};

/* Everything of one kind waits equally long, so each list is sorted by itself. */
enum vsock_wait { VSOCK_WAIT_CONNECT, VSOCK_WAIT_CLOSE, VSOCK_WAIT_COUNT };

TAILQ_HEAD(vsock_list, vsock_conn);

struct vsock_table {
	struct vsock_conn *buckets[VSOCK_BUCKETS];
	struct vsock_list all;
	struct vsock_list ready;   /* something to send to the guest, served in turn */
	struct vsock_list notices; /* something to tell the owner */
	struct vsock_list timed[VSOCK_WAIT_COUNT];
	unsigned count;
	unsigned max;
	uint32_t buf_alloc;
	uint64_t pool; /* credit left to hand out beyond the minimum of each stream */
	uint32_t next_port;
	bool close_held; /* the guest cannot answer: VSOCK_WAIT_CLOSE does not run */
};

void vsock_table_init(struct vsock_table *t, unsigned max, uint32_t buf_alloc, uint64_t pool);

struct vsock_conn *vsock_table_find(const struct vsock_table *t, const struct vsock_key *key);
/* A stream that waits for the owner's answer. */
struct vsock_conn *vsock_table_find_asked(const struct vsock_table *t, uint64_t id);

/* A new stream with its share of credit, or NULL when the table or memory is full. */
struct vsock_conn *vsock_table_add(
	struct vsock_table *t, const struct vsock_key *key, enum vsock_state state);

/* The key is free again from now on; the stream lives on for what the host still gets. */
void vsock_table_unhash(struct vsock_table *t, struct vsock_conn *c);

/* Takes it out of every list and frees it; its host socket is closed already. */
void vsock_table_free(struct vsock_table *t, struct vsock_conn *c);

/* A local port that no stream from cid to guest_port uses. */
uint32_t vsock_table_port(struct vsock_table *t, uint64_t cid, uint32_t guest_port);

/* To the end of the line, if it wants something and is not in it. */
void vsock_table_ready(struct vsock_table *t, struct vsock_conn *c);
void vsock_table_unready(struct vsock_table *t, struct vsock_conn *c);

void vsock_table_notice(struct vsock_table *t, struct vsock_conn *c, enum vsock_notice n);
void vsock_table_unnotice(struct vsock_table *t, struct vsock_conn *c);

void vsock_table_time(
	struct vsock_table *t, struct vsock_conn *c, enum vsock_wait w, uint64_t deadline_ns);
void vsock_table_untime(struct vsock_table *t, struct vsock_conn *c);
/* Stops the clock of VSOCK_WAIT_CLOSE; lets it go on, ns later. */
void vsock_table_hold(struct vsock_table *t);
void vsock_table_release(struct vsock_table *t, uint64_t ns);
/* Earliest deadline, 0 when there is none; the stream that has passed it, or NULL. */
uint64_t vsock_table_deadline(const struct vsock_table *t);
struct vsock_conn *vsock_table_expired(const struct vsock_table *t, uint64_t now_ns);
