#pragma once

#include <stdbool.h>

#include <sqlite3.h>

#include <base/cleanup.h>

#include "db.h"

/* Between db*.c. */
struct db {
	sqlite3 *sql;
	int reserve_fd;     /* a file that keeps room for ends and removals on a full disk */
	bool reserve_taken; /* its room was given to the database */
	uint64_t last_move_ns;
};

/* -errno and the text of SQLite's last error. */
int db_fail(struct db *db, const char *what, struct kerr *e);
int db_exec(struct db *db, const char *sql, const char *what, struct kerr *e);
int db_prepare(struct db *db, const char *sql, sqlite3_stmt **ret, struct kerr *e);
/* Steps a statement that gives no rows. */
int db_run(struct db *db, sqlite3_stmt *s, const char *what, struct kerr *e);
int db_number(struct db *db, const char *sql, int64_t *ret, struct kerr *e);
/* r < 0 rolls back; returns r or the error of the commit. */
int db_begin(struct db *db, struct kerr *e);
int db_end(struct db *db, int r, struct kerr *e);

/* Brings the schema from `version` to DB_SCHEMA_VERSION, in one transaction. */
int db_migrate(struct db *db, int64_t version, struct kerr *e);

/* Room for what must be recorded on a full disk; false: there is none to give. */
bool db_reserve_give(struct db *db);
void db_reserve_keep(struct db *db);

/* A bound text may be NULL. */
void db_bind_text(sqlite3_stmt *s, int i, const char *text);
/* Never NULL. */
const char *db_column_text(sqlite3_stmt *s, int i);

static inline void db_finalizep(sqlite3_stmt **s)
{
	(void)sqlite3_finalize(*s);
}
#define _cleanup_stmt_ _cleanup_(db_finalizep)
