#include "db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include <base/cleanup.h>
#include <base/clock.h>

#define DB_SCHEMA_VERSION 1
/* Some sixty moves. */
#define DB_RESERVE (1024 * 1024)

struct db {
	sqlite3 *sql;
	int reserve_fd;     /* a file that keeps room for ends and removals on a full disk */
	bool reserve_taken; /* its room was given to the database */
};

static const char schema[] = "CREATE TABLE agents ("
			     "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
			     "  name TEXT NOT NULL UNIQUE,"
			     "  state TEXT NOT NULL,"
			     "  reason TEXT NOT NULL DEFAULT '',"
			     "  cid INTEGER NOT NULL UNIQUE,"
			     "  exit_code INTEGER NOT NULL DEFAULT -1,"
			     "  exit_signal INTEGER NOT NULL DEFAULT 0,"
			     "  created_ns INTEGER NOT NULL,"
			     "  started_ns INTEGER NOT NULL DEFAULT 0,"
			     "  ended_ns INTEGER NOT NULL DEFAULT 0,"
			     "  signer TEXT NOT NULL,"
			     "  manifest BLOB NOT NULL,"
			     "  signature BLOB NOT NULL);"
			     "CREATE TABLE transitions ("
			     "  seq INTEGER PRIMARY KEY AUTOINCREMENT,"
			     "  agent INTEGER NOT NULL REFERENCES agents(id) ON DELETE CASCADE,"
			     "  time_ns INTEGER NOT NULL,"
			     "  from_state TEXT NOT NULL,"
			     "  event TEXT NOT NULL,"
			     "  to_state TEXT NOT NULL,"
			     "  reason TEXT NOT NULL);"
			     "CREATE INDEX transitions_agent ON transitions(agent);"
			     "PRAGMA user_version = 1;";

static int fail(struct db *db, const char *what, struct kerr *e)
{
	int code = sqlite3_errcode(db->sql) & 0xff;
	int err = code == SQLITE_FULL ? ENOSPC : code == SQLITE_CONSTRAINT ? EEXIST : EIO;

	return kerr_set(e, err, "database: %s: %s", what, sqlite3_errmsg(db->sql));
}

static int exec(struct db *db, const char *sql, const char *what, struct kerr *e)
{
	if (sqlite3_exec(db->sql, sql, NULL, NULL, NULL) != SQLITE_OK)
		return fail(db, what, e);
	return 0;
}

static void finalizep(sqlite3_stmt **s)
{
	(void)sqlite3_finalize(*s);
}
#define _cleanup_stmt_ _cleanup_(finalizep)

static int prepare(struct db *db, const char *sql, sqlite3_stmt **ret, struct kerr *e)
{
	if (sqlite3_prepare_v2(db->sql, sql, -1, ret, NULL) != SQLITE_OK)
		return fail(db, "prepare", e);
	return 0;
}

static int run(struct db *db, sqlite3_stmt *s, const char *what, struct kerr *e)
{
	if (sqlite3_step(s) != SQLITE_DONE)
		return fail(db, what, e);
	return 0;
}

static int one_number(struct db *db, const char *sql, int64_t *ret, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = prepare(db, sql, &s, e);

	if (r < 0)
		return r;
	if (sqlite3_step(s) != SQLITE_ROW)
		return fail(db, "query", e);
	*ret = sqlite3_column_int64(s, 0);
	return 0;
}

/*
 * Whoever filled the disk must be stoppable and removable: what ends
 * something may use the room of the reserve, and it is kept again when there
 * is room. Failing to keep it is no error: the disk may be that small.
 */
static void reserve_keep(struct db *db)
{
	if (db->reserve_fd >= 0 && posix_fallocate(db->reserve_fd, 0, DB_RESERVE) == 0)
		db->reserve_taken = false;
	else if (db->reserve_fd >= 0)
		(void)!ftruncate(db->reserve_fd, 0);
}

static void reserve_open(struct db *db, const char *path)
{
	char name[320];

	(void)snprintf(name, sizeof(name), "%s-reserve", path);
	db->reserve_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	db->reserve_taken = true;
	reserve_keep(db);
}

/* False when there is nothing to give. */
static bool reserve_give(struct db *db)
{
	if (db->reserve_taken || ftruncate(db->reserve_fd, 0) < 0)
		return false;
	db->reserve_taken = true;
	return true;
}

int db_open(struct db **ret, const char *path, struct kerr *e)
{
	struct db *db = calloc(1, sizeof(*db));
	int64_t version = 0;
	int r;

	if (!db)
		return kerr_errno(e, ENOMEM, "database");
	db->reserve_fd = -1;
	if (sqlite3_open_v2(path, &db->sql,
		    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
		    NULL) != SQLITE_OK) {
		r = fail(db, path, e);
		goto out;
	}
	(void)sqlite3_busy_timeout(db->sql, 5000);
	r = exec(db,
		"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
		path, e);
	if (r == 0)
		r = one_number(db, "PRAGMA user_version", &version, e);
	if (r == 0 && version == 0) {
		r = exec(db, "BEGIN IMMEDIATE", "begin", e);
		if (r == 0)
			r = exec(db, schema, "schema", e);
		if (r == 0)
			r = exec(db, "COMMIT", "commit", e);
	} else if (r == 0 && version != DB_SCHEMA_VERSION) {
		r = kerr_set(e, EPROTO,
			"%s: schema version %lld, this kosvmd knows %d: start a newer kosvmd", path,
			(long long)version, DB_SCHEMA_VERSION);
	}
out:
	if (r < 0) {
		db_close(db);
		return r;
	}
	reserve_open(db, path);
	*ret = db;
	return 0;
}

void db_close(struct db *db)
{
	if (!db)
		return;
	(void)sqlite3_close(db->sql);
	close_fd(&db->reserve_fd);
	free(db);
}

int db_agent_add(struct db *db, struct db_agent *a, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int64_t cid = 0;
	int r;

	/* The lowest CID from 3 on that no agent has. */
	r = one_number(db,
		"SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM agents WHERE cid = 3) THEN 3 ELSE "
		"(SELECT MIN(a.cid) + 1 FROM agents a WHERE NOT EXISTS "
		"(SELECT 1 FROM agents b WHERE b.cid = a.cid + 1)) END",
		&cid, e);
	if (r < 0)
		return r;
	r = prepare(db,
		"INSERT INTO agents (name, state, cid, created_ns, signer, manifest, signature) "
		"VALUES (?, 'created', ?, ?, ?, ?, ?)",
		&s, e);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(s, 1, a->name, -1, SQLITE_STATIC);
	(void)sqlite3_bind_int64(s, 2, cid);
	(void)sqlite3_bind_int64(s, 3, (int64_t)a->created_ns);
	(void)sqlite3_bind_text(s, 4, a->signer, -1, SQLITE_STATIC);
	(void)sqlite3_bind_blob64(s, 5, a->manifest, a->manifest_len, SQLITE_STATIC);
	(void)sqlite3_bind_blob64(s, 6, a->signature, a->signature_len, SQLITE_STATIC);
	r = run(db, s, "add agent", e);
	if (r < 0)
		return r;
	a->id = sqlite3_last_insert_rowid(db->sql);
	a->cid = (uint32_t)cid;
	return 0;
}

static int remove_row(struct db *db, int64_t id, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = prepare(db, "DELETE FROM agents WHERE id = ?", &s, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(s, 1, id);
	return run(db, s, "remove agent", e);
}

int db_agent_remove(struct db *db, int64_t id, struct kerr *e)
{
	int r = remove_row(db, id, e);

	if (r == -ENOSPC && reserve_give(db))
		r = remove_row(db, id, e);
	if (db->reserve_taken)
		reserve_keep(db);
	return r;
}

static int update_row(struct db *db, const struct db_agent *a, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = prepare(db,
		"UPDATE agents SET state = ?, reason = ?, exit_code = ?, exit_signal = ?, "
		"started_ns = ?, ended_ns = ? WHERE id = ?",
		&s, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_text(s, 1, a->state, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(s, 2, a->reason ? a->reason : "", -1, SQLITE_STATIC);
	(void)sqlite3_bind_int(s, 3, a->exit_code);
	(void)sqlite3_bind_int(s, 4, a->exit_signal);
	(void)sqlite3_bind_int64(s, 5, (int64_t)a->started_ns);
	(void)sqlite3_bind_int64(s, 6, (int64_t)a->ended_ns);
	(void)sqlite3_bind_int64(s, 7, a->id);
	return run(db, s, "update agent", e);
}

static int insert_transition(struct db *db, const struct db_agent *a, const char *from,
	const char *event, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = prepare(db,
		"INSERT INTO transitions (agent, time_ns, from_state, event, to_state, reason) "
		"VALUES (?, ?, ?, ?, ?, ?)",
		&s, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(s, 1, a->id);
	(void)sqlite3_bind_int64(s, 2, (int64_t)clock_real_ns());
	(void)sqlite3_bind_text(s, 3, from, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(s, 4, event, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(s, 5, a->state, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(s, 6, a->reason ? a->reason : "", -1, SQLITE_STATIC);
	return run(db, s, "record transition", e);
}

static int record_move(struct db *db, const struct db_agent *a, const char *from, const char *event,
	struct kerr *e)
{
	int r = exec(db, "BEGIN IMMEDIATE", "begin", e);

	if (r < 0)
		return r;
	r = update_row(db, a, e);
	if (r == 0)
		r = insert_transition(db, a, from, event, e);
	if (r == 0)
		r = exec(db, "COMMIT", "commit", e);
	if (r < 0)
		(void)exec(db, "ROLLBACK", "roll back", NULL);
	return r;
}

int db_agent_move(struct db *db, const struct db_agent *a, const char *from, const char *event,
	struct kerr *e)
{
	int r = record_move(db, a, from, event, e);

	if (r == -ENOSPC && strcmp(event, "start") != 0 && reserve_give(db))
		r = record_move(db, a, from, event, e);
	if (db->reserve_taken)
		reserve_keep(db);
	return r;
}

static char *column_copy(sqlite3_stmt *s, int i, size_t *ret_len)
{
	const void *p = sqlite3_column_blob(s, i);
	size_t n = (size_t)sqlite3_column_bytes(s, i);
	char *copy = malloc(n + 1);

	if (!copy)
		return NULL;
	if (n > 0)
		memcpy(copy, p, n);
	copy[n] = '\0';
	if (ret_len)
		*ret_len = n;
	return copy;
}

int db_agents_each(struct db *db, db_agent_fn fn, void *user, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = prepare(db,
		"SELECT id, name, state, reason, cid, exit_code, exit_signal, created_ns, started_ns, "
		"ended_ns, signer, manifest, signature FROM agents ORDER BY id",
		&s, e);

	if (r < 0)
		return r;
	for (;;) {
		struct db_agent a = { 0 };
		int step = sqlite3_step(s);

		if (step == SQLITE_DONE)
			return 0;
		if (step != SQLITE_ROW)
			return fail(db, "read agents", e);
		a.id = sqlite3_column_int64(s, 0);
		a.name = column_copy(s, 1, NULL);
		a.state = column_copy(s, 2, NULL);
		a.reason = column_copy(s, 3, NULL);
		a.cid = (uint32_t)sqlite3_column_int64(s, 4);
		a.exit_code = sqlite3_column_int(s, 5);
		a.exit_signal = sqlite3_column_int(s, 6);
		a.created_ns = (uint64_t)sqlite3_column_int64(s, 7);
		a.started_ns = (uint64_t)sqlite3_column_int64(s, 8);
		a.ended_ns = (uint64_t)sqlite3_column_int64(s, 9);
		a.signer = column_copy(s, 10, NULL);
		a.manifest = column_copy(s, 11, &a.manifest_len);
		a.signature = column_copy(s, 12, &a.signature_len);
		if (!a.name || !a.state || !a.reason || !a.signer || !a.manifest || !a.signature) {
			db_agent_done(&a);
			return kerr_errno(e, ENOMEM, "database");
		}
		r = fn(user, &a, e);
		if (r < 0)
			return r;
	}
}

void db_agent_done(struct db_agent *a)
{
	free(a->name);
	free(a->state);
	free(a->reason);
	free(a->signer);
	free(a->manifest);
	free(a->signature);
	*a = (struct db_agent){ 0 };
}
