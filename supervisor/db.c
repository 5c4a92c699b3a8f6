/* The database as a file: opening, transactions, and room on a full disk. */
#include "db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "db_private.h"

/* Some sixty moves. */
#define DB_RESERVE (1024 * 1024)

int db_fail(struct db *db, const char *what, struct kerr *e)
{
	int code = sqlite3_errcode(db->sql) & 0xff;
	int err = code == SQLITE_FULL       ? ENOSPC
		: code == SQLITE_CONSTRAINT ? EEXIST
		: code == SQLITE_READONLY   ? EROFS
		: code == SQLITE_NOTADB     ? EPROTO
					    : EIO;

	return kerr_set(e, err, "database: %s: %s", what, sqlite3_errmsg(db->sql));
}

int db_exec(struct db *db, const char *sql, const char *what, struct kerr *e)
{
	if (sqlite3_exec(db->sql, sql, NULL, NULL, NULL) != SQLITE_OK)
		return db_fail(db, what, e);
	return 0;
}

int db_prepare(struct db *db, const char *sql, sqlite3_stmt **ret, struct kerr *e)
{
	if (sqlite3_prepare_v2(db->sql, sql, -1, ret, NULL) != SQLITE_OK)
		return db_fail(db, "prepare", e);
	return 0;
}

int db_run(struct db *db, sqlite3_stmt *s, const char *what, struct kerr *e)
{
	if (sqlite3_step(s) != SQLITE_DONE)
		return db_fail(db, what, e);
	return 0;
}

int db_number(struct db *db, const char *sql, int64_t *ret, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = db_prepare(db, sql, &s, e);

	if (r < 0)
		return r;
	if (sqlite3_step(s) != SQLITE_ROW)
		return db_fail(db, "query", e);
	*ret = sqlite3_column_int64(s, 0);
	return 0;
}

int db_begin(struct db *db, struct kerr *e)
{
	return db_exec(db, "BEGIN IMMEDIATE", "begin", e);
}

int db_end(struct db *db, int r, struct kerr *e)
{
	if (r == 0)
		r = db_exec(db, "COMMIT", "commit", e);
	if (r < 0)
		(void)db_exec(db, "ROLLBACK", "roll back", NULL);
	return r;
}

void db_bind_text(sqlite3_stmt *s, int i, const char *text)
{
	(void)sqlite3_bind_text(s, i, text ? text : "", -1, SQLITE_STATIC);
}

const char *db_column_text(sqlite3_stmt *s, int i)
{
	const unsigned char *text = sqlite3_column_text(s, i);

	return text ? (const char *)text : "";
}

/*
 * Whoever filled the disk must be stoppable and removable: what ends
 * something may use the room of the reserve, and it is kept again when there
 * is room. Failing to keep it is no error: the disk may be that small.
 */
void db_reserve_keep(struct db *db)
{
	if (!db->reserve_taken)
		return;
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
	db_reserve_keep(db);
}

bool db_reserve_give(struct db *db)
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
		r = db_fail(db, path, e);
		goto out;
	}
	(void)sqlite3_busy_timeout(db->sql, 5000);
	/* Before anything is written to it. */
	r = db_number(db, "PRAGMA user_version", &version, e);
	if (r == 0 && (version < 0 || version > DB_SCHEMA_VERSION))
		r = kerr_set(e, EPROTO,
			"%s: schema version %lld, this kosvmd knows %d: it was written by a newer "
			"one, start that",
			path, (long long)version, DB_SCHEMA_VERSION);
	else if (r == 0)
		r = db_exec(db,
			"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
			"PRAGMA foreign_keys = ON;",
			path, e);
	else
		(void)kerr_wrap(e, "%s", path);
	if (r == 0 && version < DB_SCHEMA_VERSION)
		r = db_migrate(db, version, e);
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
