#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <base/kerr.h>

/*
 * What kosvmd must not forget, in SQLite (WAL, synchronous = FULL): when a
 * call returns 0, its change is on the disk. Loop thread only.
 */
struct db;

#define DB_SCHEMA_VERSION 3
#define DB_UID_LEN        32u /* hexadecimal digits */

/* A person asked for it: due whatever the clock says, and not counted. */
#define DB_RESTART_AT_ONCE 1u

/* One agent's row. Strings are the row's own. */
struct db_agent {
	int64_t id; /* never used twice; names its directory */
	char uid[DB_UID_LEN + 1];
	char *name;
	char *state; /* a name of enum agent_state */
	char *reason;
	uint32_t cid;
	int exit_code; /* -1: none yet */
	int exit_signal;
	uint64_t created_ns;
	uint64_t started_ns;
	uint64_t ended_ns; /* 0 while it runs */
	char *signer;
	char *manifest; /* the signed bytes */
	size_t manifest_len;
	char *signature;
	size_t signature_len;
	char *launch;           /* a JSON object: what was chosen beside the manifest */
	uint32_t generation;    /* starts so far */
	uint32_t restarts;      /* by its policy, in a row */
	uint64_t restart_at_ns; /* CLOCK_REALTIME; 0: none is due; or DB_RESTART_AT_ONCE */
	char paused[8];         /* "", "idle" or "panic" */
	bool provisional;       /* goes when its first start leads to no VM */
	uint32_t host_uid;      /* and gid that its VMM runs as; 0: none of its own */
	char *overrides;   /* a JSON object: limits changed after it was made; NULL: as they are */
	uint64_t moved_ns; /* of the last move; not read back */
};

/*
 * Makes or brings up to date. -EPROTO: not a database of ours, or of a newer
 * kosvmd; it is not touched then.
 */
int db_open(struct db **ret, const char *path, struct kerr *e);
void db_close(struct db *db);

/*
 * Inserts with state "created"; fills in id, uid and a free cid (>= 3).
 * launch and overrides may be NULL. -EEXIST: the name, or the host_uid, is taken.
 */
int db_agent_add(struct db *db, struct db_agent *a, struct kerr *e);
/* The lowest of first..last that is no agent's host_uid. -EUSERS: all are taken. */
int db_host_uid_free(struct db *db, uint32_t first, uint32_t last, uint32_t *ret, struct kerr *e);
int db_agent_remove(struct db *db, int64_t id, struct kerr *e);
/* The highest id that was ever given, 0 for none. */
int db_agent_last_id(struct db *db, int64_t *ret, struct kerr *e);

/*
 * Records a move with everything that changes along with it, and the end of
 * its boot when ended_ns is set. Fills in moved_ns. On a full disk a "start"
 * or "restart" is -ENOSPC at once; every other move, and a removal, only
 * when the room that the database keeps for them is used up too.
 */
int db_agent_move(
	struct db *db, struct db_agent *a, const char *from, const char *event, struct kerr *e);
/*
 * The same without a move, for limits that a person changed: recorded among the
 * moves as event "update" from the state to itself; reason: what. Refused on a full disk.
 */
int db_agent_update(struct db *db, struct db_agent *a, const char *what, struct kerr *e);
/* The same without a move: what else changed. */
int db_agent_note(struct db *db, const struct db_agent *a, struct kerr *e);

/*
 * Calls fn for each agent; the row's strings become fn's to keep (or
 * db_agent_done). fn may not write to the database.
 */
typedef int (*db_agent_fn)(void *user, struct db_agent *a, struct kerr *e);
int db_agents_each(struct db *db, db_agent_fn fn, void *user, struct kerr *e);
void db_agent_done(struct db_agent *a);

/* ---- moves that were made ---- */

#define DB_TRANSITIONS_KEPT 1000u /* an agent; older ones go when it boots */

struct db_transition {
	int64_t seq; /* rises with each move of any agent */
	int64_t agent;
	const char *uid;
	const char *name;
	uint64_t time_ns;
	const char *from, *event, *to, *reason;
	uint32_t generation;
};
typedef int (*db_transition_fn)(void *user, const struct db_transition *t, struct kerr *e);

/* Oldest first. agent 0: of all. Those after since_ns; last > 0: the newest `last` of them. */
int db_transitions_each(struct db *db, int64_t agent, uint64_t since_ns, unsigned last,
	db_transition_fn fn, void *user, struct kerr *e);

/* Oldest first: the next `most` behind the last one seen, a page at a time. */
struct db_page {
	int64_t agent;     /* 0: of all */
	uint64_t since_ns; /* only what happened after that */
	int64_t after_seq;
	unsigned most;
};
int db_transitions_after(
	struct db *db, const struct db_page *page, db_transition_fn fn, void *user, struct kerr *e);

/* ---- boots: the VMs that were made ---- */

#define DB_BOOT_ID_LEN 16u
#define DB_BOOTS_KEPT  100u /* an agent */

struct db_boot {
	int64_t agent;
	uint32_t generation;
	pid_t pid;
	uint64_t pid_start; /* field 22 of /proc/PID/stat */
	uint8_t boot_id[DB_BOOT_ID_LEN];
	char host_boot_id[40]; /* /proc/sys/kernel/random/boot_id */
	uint64_t started_ns;
	uint64_t ended_ns; /* 0: it was not seen to end */
	int exit_code;
	int exit_signal;
	char reason[256];
};

/* Also ends the agent's being provisional. */
int db_boot_add(struct db *db, const struct db_boot *b, struct kerr *e);
/* Those of one agent, oldest first; agent 0: of all that were not seen to end. */
typedef int (*db_boot_fn)(void *user, const struct db_boot *b, struct kerr *e);
int db_boots_each(struct db *db, int64_t agent, db_boot_fn fn, void *user, struct kerr *e);
/* That of this generation. -ENOENT: it never got as far as a VM. */
int db_boot_get(
	struct db *db, int64_t agent, uint32_t generation, struct db_boot *ret, struct kerr *e);

/* ---- panics that stand ---- */

struct db_panic {
	const char *scope; /* canonical JSON of the labels; "{}": all */
	const char *action;
	const char *reason;
	uint64_t since_ns;
};
typedef int (*db_panic_fn)(void *user, const struct db_panic *p, struct kerr *e);

int db_panic_set(struct db *db, const struct db_panic *p, struct kerr *e);
int db_panic_clear(struct db *db, struct kerr *e);
int db_panics_each(struct db *db, db_panic_fn fn, void *user, struct kerr *e);
