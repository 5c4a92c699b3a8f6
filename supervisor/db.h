#pragma once

#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>

/*
 * What kosvmd must not forget, in SQLite (WAL, synchronous = FULL): when a
 * call returns 0, its change is on the disk. Loop thread only.
 */
struct db;

/* One agent's row. Strings are the row's own. */
struct db_agent {
	int64_t id;
	char *name;
	char *state; /* a name of enum agent_state */
	char *reason;
	uint32_t cid;
	int exit_code; /* -1: none yet */
	int exit_signal;
	uint64_t created_ns;
	uint64_t started_ns;
	uint64_t ended_ns;
	char *signer;
	char *manifest; /* the signed bytes */
	size_t manifest_len;
	char *signature;
	size_t signature_len;
};

int db_open(struct db **ret, const char *path, struct kerr *e);
void db_close(struct db *db);

/* Inserts with state "created"; fills in id and a free cid (>= 3). -EEXIST: the name is taken. */
int db_agent_add(struct db *db, struct db_agent *a, struct kerr *e);
int db_agent_remove(struct db *db, int64_t id, struct kerr *e);

/*
 * Records a move with everything that changes along with it. On a full disk
 * a "start" is -ENOSPC at once; every other move, and a removal, only when
 * the room that the database keeps for them is used up too.
 */
int db_agent_move(struct db *db, const struct db_agent *a, const char *from, const char *event,
	struct kerr *e);

/* Calls fn for each agent; the row's strings become fn's to keep (or db_agent_done). */
typedef int (*db_agent_fn)(void *user, struct db_agent *a, struct kerr *e);
int db_agents_each(struct db *db, db_agent_fn fn, void *user, struct kerr *e);
void db_agent_done(struct db_agent *a);
