/* What was: moves, boots; and the panics that stand. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "db_private.h"

#define MOVE_COLUMNS                                                                               \
	"t.seq, t.agent, a.uid, a.name, t.time_ns, t.from_state, t.event, t.to_state, t.reason, "  \
	"t.generation "
#define NEWEST_MOVES                                                                               \
	"SELECT * FROM (SELECT " MOVE_COLUMNS "FROM transitions t JOIN agents a ON a.id = t.agent "
#define OLDEST_FIRST " ORDER BY t.seq DESC LIMIT ?3) ORDER BY 1"

static int each_transition(
	struct db *db, sqlite3_stmt *s, db_transition_fn fn, void *user, struct kerr *e)
{
	int r = 0;

	while (r == 0) {
		struct db_transition t;
		int step = sqlite3_step(s);

		if (step == SQLITE_DONE)
			break;
		if (step != SQLITE_ROW)
			return db_fail(db, "read transitions", e);
		t = (struct db_transition){
			.seq = sqlite3_column_int64(s, 0),
			.agent = sqlite3_column_int64(s, 1),
			.uid = db_column_text(s, 2),
			.name = db_column_text(s, 3),
			.time_ns = (uint64_t)sqlite3_column_int64(s, 4),
			.from = db_column_text(s, 5),
			.event = db_column_text(s, 6),
			.to = db_column_text(s, 7),
			.reason = db_column_text(s, 8),
			.generation = (uint32_t)sqlite3_column_int64(s, 9),
		};
		r = fn(user, &t, e);
	}
	return r;
}

int db_transitions_each(struct db *db, int64_t agent, uint64_t since_ns, unsigned last,
	db_transition_fn fn, void *user, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	/* Two statements, so that each has its index. */
	int r = db_prepare(db,
		agent ? NEWEST_MOVES "WHERE t.agent = ?1 AND t.time_ns > ?2" OLDEST_FIRST
		      : NEWEST_MOVES "WHERE ?1 = 0 AND t.time_ns > ?2" OLDEST_FIRST,
		&s, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(s, 1, agent);
	(void)sqlite3_bind_int64(s, 2, since_ns > INT64_MAX ? INT64_MAX : (int64_t)since_ns);
	(void)sqlite3_bind_int64(s, 3, last ? (int64_t)last : -1);
	return each_transition(db, s, fn, user, e);
}

int db_transitions_after(
	struct db *db, const struct db_page *page, db_transition_fn fn, void *user, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = db_prepare(db,
		"SELECT " MOVE_COLUMNS "FROM transitions t JOIN agents a ON a.id = t.agent "
		"WHERE t.seq > ?1 AND t.time_ns > ?2 AND (?3 = 0 OR t.agent = ?3) "
		"ORDER BY t.seq LIMIT ?4",
		&s, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(s, 1, page->after_seq);
	(void)sqlite3_bind_int64(
		s, 2, page->since_ns > INT64_MAX ? INT64_MAX : (int64_t)page->since_ns);
	(void)sqlite3_bind_int64(s, 3, page->agent);
	(void)sqlite3_bind_int64(s, 4, page->most);
	return each_transition(db, s, fn, user, e);
}

/* ---- boots ---- */

static int insert_boot(struct db *db, const struct db_boot *b, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = db_prepare(db,
		"INSERT INTO boots (agent, generation, pid, pid_start, boot_id, host_boot_id, "
		"started_ns) VALUES (?, ?, ?, ?, ?, ?, ?)",
		&s, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(s, 1, b->agent);
	(void)sqlite3_bind_int64(s, 2, b->generation);
	(void)sqlite3_bind_int64(s, 3, b->pid);
	(void)sqlite3_bind_int64(s, 4, (int64_t)b->pid_start);
	(void)sqlite3_bind_blob(s, 5, b->boot_id, sizeof(b->boot_id), SQLITE_STATIC);
	db_bind_text(s, 6, b->host_boot_id);
	(void)sqlite3_bind_int64(s, 7, (int64_t)b->started_ns);
	return db_run(db, s, "record boot", e);
}

/* sql: with the agent as ?1. */
static int run_for(struct db *db, const char *sql, int64_t agent, int64_t arg, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = db_prepare(db, sql, &s, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(s, 1, agent);
	(void)sqlite3_bind_int64(s, 2, arg);
	return db_run(db, s, "history", e);
}

int db_boot_add(struct db *db, const struct db_boot *b, struct kerr *e)
{
	int r = db_begin(db, e);

	if (r < 0)
		return r;
	r = insert_boot(db, b, e);
	if (r == 0)
		r = run_for(db, "UPDATE agents SET provisional = 0 WHERE id = ?1 AND ?2 = 0",
			b->agent, 0, e);
	/* A crash loop must not fill the disk. */
	if (r == 0 && b->generation > DB_BOOTS_KEPT)
		r = run_for(db, "DELETE FROM boots WHERE agent = ?1 AND generation <= ?2", b->agent,
			(int64_t)b->generation - DB_BOOTS_KEPT, e);
	if (r == 0)
		r = run_for(db,
			"DELETE FROM transitions WHERE agent = ?1 AND seq <= (SELECT seq FROM "
			"transitions WHERE agent = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
			b->agent, DB_TRANSITIONS_KEPT, e);
	return db_end(db, r, e);
}

#define BOOT_COLUMNS                                                                               \
	"SELECT agent, generation, pid, pid_start, boot_id, host_boot_id, started_ns, ended_ns, "  \
	"exit_code, exit_signal, reason FROM boots "

static void read_boot(sqlite3_stmt *s, struct db_boot *b)
{
	const void *boot_id = sqlite3_column_blob(s, 4);

	*b = (struct db_boot){
		.agent = sqlite3_column_int64(s, 0),
		.generation = (uint32_t)sqlite3_column_int64(s, 1),
		.pid = (pid_t)sqlite3_column_int64(s, 2),
		.pid_start = (uint64_t)sqlite3_column_int64(s, 3),
		.started_ns = (uint64_t)sqlite3_column_int64(s, 6),
		.ended_ns = (uint64_t)sqlite3_column_int64(s, 7),
		.exit_code = sqlite3_column_int(s, 8),
		.exit_signal = sqlite3_column_int(s, 9),
	};
	if (boot_id && sqlite3_column_bytes(s, 4) == sizeof(b->boot_id))
		memcpy(b->boot_id, boot_id, sizeof(b->boot_id));
	(void)snprintf(b->host_boot_id, sizeof(b->host_boot_id), "%s", db_column_text(s, 5));
	(void)snprintf(b->reason, sizeof(b->reason), "%s", db_column_text(s, 10));
}

int db_boots_each(struct db *db, int64_t agent, db_boot_fn fn, void *user, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = db_prepare(db,
		agent ? BOOT_COLUMNS "WHERE agent = ?1 ORDER BY generation"
		      : BOOT_COLUMNS "WHERE ?1 = 0 AND ended_ns = 0 ORDER BY agent, generation",
		&s, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(s, 1, agent);
	while (r == 0) {
		struct db_boot b;
		int step = sqlite3_step(s);

		if (step == SQLITE_DONE)
			break;
		if (step != SQLITE_ROW)
			return db_fail(db, "read boots", e);
		read_boot(s, &b);
		r = fn(user, &b, e);
	}
	return r;
}

int db_boot_get(
	struct db *db, int64_t agent, uint32_t generation, struct db_boot *ret, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = db_prepare(db, BOOT_COLUMNS "WHERE agent = ? AND generation = ?", &s, e);
	int step;

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(s, 1, agent);
	(void)sqlite3_bind_int64(s, 2, generation);
	step = sqlite3_step(s);
	if (step == SQLITE_DONE)
		return kerr_set(e, ENOENT, "database: no such boot");
	if (step != SQLITE_ROW)
		return db_fail(db, "read boot", e);
	read_boot(s, ret);
	return 0;
}

/* ---- panics ---- */

static int insert_panic(struct db *db, const struct db_panic *p, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = db_prepare(db,
		"INSERT OR REPLACE INTO panic (scope, action, reason, since_ns) VALUES (?, ?, ?, ?)",
		&s, e);

	if (r < 0)
		return r;
	db_bind_text(s, 1, p->scope);
	db_bind_text(s, 2, p->action);
	db_bind_text(s, 3, p->reason);
	(void)sqlite3_bind_int64(s, 4, (int64_t)p->since_ns);
	return db_run(db, s, "record panic", e);
}

int db_panic_set(struct db *db, const struct db_panic *p, struct kerr *e)
{
	int r = insert_panic(db, p, e);

	if (r == -ENOSPC && db_reserve_give(db))
		r = insert_panic(db, p, e);
	db_reserve_keep(db);
	return r;
}

int db_panic_clear(struct db *db, struct kerr *e)
{
	return db_exec(db, "DELETE FROM panic", "clear panic", e);
}

int db_panics_each(struct db *db, db_panic_fn fn, void *user, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = db_prepare(
		db, "SELECT scope, action, reason, since_ns FROM panic ORDER BY since_ns", &s, e);

	while (r == 0) {
		struct db_panic p;
		int step = sqlite3_step(s);

		if (step == SQLITE_DONE)
			break;
		if (step != SQLITE_ROW)
			return db_fail(db, "read panics", e);
		p = (struct db_panic){
			.scope = db_column_text(s, 0),
			.action = db_column_text(s, 1),
			.reason = db_column_text(s, 2),
			.since_ns = (uint64_t)sqlite3_column_int64(s, 3),
		};
		r = fn(user, &p, e);
	}
	return r;
}
