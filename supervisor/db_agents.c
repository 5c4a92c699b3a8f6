/* Agents and their moves. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <base/clock.h>
#include <base/hex.h>

#include "db_private.h"

static int make_uid(char out[static DB_UID_LEN + 1], struct kerr *e)
{
	uint8_t bytes[DB_UID_LEN / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return kerr_errno(e, errno, "random bytes");
	hex_encode(bytes, sizeof(bytes), out);
	return 0;
}

/* None is NULL: of those there may be many. */
static void bind_host_uid(sqlite3_stmt *s, int i, uint32_t host_uid)
{
	if (host_uid)
		(void)sqlite3_bind_int64(s, i, host_uid);
	else
		(void)sqlite3_bind_null(s, i);
}

int db_agent_add(struct db *db, struct db_agent *a, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	char uid[DB_UID_LEN + 1];
	int64_t cid = 0;
	int r;

	/* The lowest CID from 3 on that no agent has. */
	r = db_number(db,
		"SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM agents WHERE cid = 3) THEN 3 ELSE "
		"(SELECT MIN(a.cid) + 1 FROM agents a WHERE NOT EXISTS "
		"(SELECT 1 FROM agents b WHERE b.cid = a.cid + 1)) END",
		&cid, e);
	if (r == 0)
		r = make_uid(uid, e);
	if (r == 0)
		r = db_prepare(db,
			"INSERT INTO agents (name, state, cid, created_ns, signer, manifest, "
			"signature, uid, launch, provisional, host_uid, overrides) "
			"VALUES (?, 'created', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			&s, e);
	if (r < 0)
		return r;
	db_bind_text(s, 1, a->name);
	(void)sqlite3_bind_int64(s, 2, cid);
	(void)sqlite3_bind_int64(s, 3, (int64_t)a->created_ns);
	db_bind_text(s, 4, a->signer);
	(void)sqlite3_bind_blob64(s, 5, a->manifest, a->manifest_len, SQLITE_STATIC);
	(void)sqlite3_bind_blob64(s, 6, a->signature, a->signature_len, SQLITE_STATIC);
	db_bind_text(s, 7, uid);
	db_bind_text(s, 8, a->launch ? a->launch : "{}");
	(void)sqlite3_bind_int(s, 9, a->provisional);
	bind_host_uid(s, 10, a->host_uid);
	db_bind_text(s, 11, a->overrides ? a->overrides : "{}");
	r = db_run(db, s, "add agent", e);
	if (r < 0)
		return r;
	a->id = sqlite3_last_insert_rowid(db->sql);
	a->cid = (uint32_t)cid;
	memcpy(a->uid, uid, sizeof(uid));
	return 0;
}

int db_host_uid_free(struct db *db, uint32_t first, uint32_t last, uint32_t *ret, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int step;
	int r = db_prepare(db,
		"SELECT MIN(u) FROM (SELECT ?1 AS u UNION ALL "
		"SELECT host_uid + 1 FROM agents WHERE host_uid BETWEEN ?1 AND ?2 - 1) "
		"WHERE NOT EXISTS (SELECT 1 FROM agents WHERE host_uid = u)",
		&s, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(s, 1, first);
	(void)sqlite3_bind_int64(s, 2, last);
	step = sqlite3_step(s);
	if (step != SQLITE_ROW)
		return db_fail(db, "find a free uid", e);
	if (sqlite3_column_type(s, 0) == SQLITE_NULL)
		return kerr_set(e, EUSERS, "each uid of %u-%u is an agent's", first, last);
	*ret = (uint32_t)sqlite3_column_int64(s, 0);
	return 0;
}

int db_agent_last_id(struct db *db, int64_t *ret, struct kerr *e)
{
	return db_number(db,
		"SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'agents'), 0)", ret,
		e);
}

static int remove_row(struct db *db, int64_t id, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = db_prepare(db, "DELETE FROM agents WHERE id = ?", &s, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(s, 1, id);
	return db_run(db, s, "remove agent", e);
}

int db_agent_remove(struct db *db, int64_t id, struct kerr *e)
{
	int r = remove_row(db, id, e);

	if (r == -ENOSPC && db_reserve_give(db))
		r = remove_row(db, id, e);
	db_reserve_keep(db);
	return r;
}

static int update_row(struct db *db, const struct db_agent *a, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = db_prepare(db,
		"UPDATE agents SET state = ?, reason = ?, exit_code = ?, exit_signal = ?, "
		"started_ns = ?, ended_ns = ?, generation = ?, restarts = ?, restart_at_ns = ?, "
		"paused = ?, provisional = ?, host_uid = ?, overrides = COALESCE(?, overrides) "
		"WHERE id = ?",
		&s, e);

	if (r < 0)
		return r;
	db_bind_text(s, 1, a->state);
	db_bind_text(s, 2, a->reason);
	(void)sqlite3_bind_int(s, 3, a->exit_code);
	(void)sqlite3_bind_int(s, 4, a->exit_signal);
	(void)sqlite3_bind_int64(s, 5, (int64_t)a->started_ns);
	(void)sqlite3_bind_int64(s, 6, (int64_t)a->ended_ns);
	(void)sqlite3_bind_int64(s, 7, a->generation);
	(void)sqlite3_bind_int64(s, 8, a->restarts);
	(void)sqlite3_bind_int64(s, 9, (int64_t)a->restart_at_ns);
	db_bind_text(s, 10, a->paused);
	(void)sqlite3_bind_int(s, 11, a->provisional);
	bind_host_uid(s, 12, a->host_uid);
	/* NULL: as they are. */
	(void)sqlite3_bind_text(s, 13, a->overrides, -1, SQLITE_STATIC);
	(void)sqlite3_bind_int64(s, 14, a->id);
	return db_run(db, s, "update agent", e);
}

static int insert_transition(struct db *db, const struct db_agent *a, const char *from,
	const char *event, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = db_prepare(db,
		"INSERT INTO transitions (agent, time_ns, from_state, event, to_state, reason, "
		"generation) VALUES (?, ?, ?, ?, ?, ?, ?)",
		&s, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(s, 1, a->id);
	(void)sqlite3_bind_int64(s, 2, (int64_t)a->moved_ns);
	db_bind_text(s, 3, from);
	db_bind_text(s, 4, event);
	db_bind_text(s, 5, a->state);
	db_bind_text(s, 6, a->reason);
	(void)sqlite3_bind_int64(s, 7, a->generation);
	return db_run(db, s, "record transition", e);
}

static int end_boot(struct db *db, const struct db_agent *a, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = db_prepare(db,
		"UPDATE boots SET ended_ns = ?, exit_code = ?, exit_signal = ?, reason = ? "
		"WHERE agent = ? AND generation = ? AND ended_ns = 0",
		&s, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(s, 1, (int64_t)a->ended_ns);
	(void)sqlite3_bind_int(s, 2, a->exit_code);
	(void)sqlite3_bind_int(s, 3, a->exit_signal);
	db_bind_text(s, 4, a->reason);
	(void)sqlite3_bind_int64(s, 5, a->id);
	(void)sqlite3_bind_int64(s, 6, a->generation);
	return db_run(db, s, "record the end of a boot", e);
}

static int record_move(struct db *db, const struct db_agent *a, const char *from, const char *event,
	struct kerr *e)
{
	int r = db_begin(db, e);

	if (r < 0)
		return r;
	r = update_row(db, a, e);
	if (r == 0)
		r = insert_transition(db, a, from, event, e);
	if (r == 0 && a->ended_ns)
		r = end_boot(db, a, e);
	return db_end(db, r, e);
}

/* A look back "since" the time of one move must not find it again. */
static void stamp(struct db *db, struct db_agent *a)
{
	a->moved_ns = clock_real_ns();
	if (a->moved_ns == db->last_move_ns)
		a->moved_ns++;
	db->last_move_ns = a->moved_ns;
}

int db_agent_move(
	struct db *db, struct db_agent *a, const char *from, const char *event, struct kerr *e)
{
	bool start = strcmp(event, "start") == 0 || strcmp(event, "restart") == 0;
	int r;

	stamp(db, a);
	r = record_move(db, a, from, event, e);
	if (r == -ENOSPC && !start && db_reserve_give(db))
		r = record_move(db, a, from, event, e);
	db_reserve_keep(db);
	return r;
}

int db_agent_update(struct db *db, struct db_agent *a, const char *what, struct kerr *e)
{
	struct db_agent told = *a;
	int r;

	stamp(db, a);
	told.moved_ns = a->moved_ns;
	told.reason = (char *)what;
	r = db_begin(db, e);
	if (r < 0)
		return r;
	r = update_row(db, a, e);
	if (r == 0)
		r = insert_transition(db, &told, a->state, "update", e);
	return db_end(db, r, e);
}

int db_agent_note(struct db *db, const struct db_agent *a, struct kerr *e)
{
	int r = update_row(db, a, e);

	if (r == -ENOSPC && db_reserve_give(db))
		r = update_row(db, a, e);
	db_reserve_keep(db);
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

static int read_row(sqlite3_stmt *s, struct db_agent *a, struct kerr *e)
{
	*a = (struct db_agent){
		.id = sqlite3_column_int64(s, 0),
		.name = column_copy(s, 1, NULL),
		.state = column_copy(s, 2, NULL),
		.reason = column_copy(s, 3, NULL),
		.cid = (uint32_t)sqlite3_column_int64(s, 4),
		.exit_code = sqlite3_column_int(s, 5),
		.exit_signal = sqlite3_column_int(s, 6),
		.created_ns = (uint64_t)sqlite3_column_int64(s, 7),
		.started_ns = (uint64_t)sqlite3_column_int64(s, 8),
		.ended_ns = (uint64_t)sqlite3_column_int64(s, 9),
		.signer = column_copy(s, 10, NULL),
		.launch = column_copy(s, 14, NULL),
		.generation = (uint32_t)sqlite3_column_int64(s, 15),
		.restarts = (uint32_t)sqlite3_column_int64(s, 16),
		.restart_at_ns = (uint64_t)sqlite3_column_int64(s, 17),
		.provisional = sqlite3_column_int(s, 19) != 0,
		.host_uid = (uint32_t)sqlite3_column_int64(s, 20),
		.overrides = column_copy(s, 21, NULL),
	};
	a->manifest = column_copy(s, 11, &a->manifest_len);
	a->signature = column_copy(s, 12, &a->signature_len);
	(void)snprintf(a->uid, sizeof(a->uid), "%s", db_column_text(s, 13));
	(void)snprintf(a->paused, sizeof(a->paused), "%s", db_column_text(s, 18));
	if (!a->name || !a->state || !a->reason || !a->signer || !a->launch || !a->manifest ||
		!a->signature || !a->overrides) {
		db_agent_done(a);
		return kerr_errno(e, ENOMEM, "database");
	}
	return 0;
}

int db_agents_each(struct db *db, db_agent_fn fn, void *user, struct kerr *e)
{
	_cleanup_stmt_ sqlite3_stmt *s = NULL;
	int r = db_prepare(db,
		"SELECT id, name, state, reason, cid, exit_code, exit_signal, created_ns, started_ns, "
		"ended_ns, signer, manifest, signature, uid, launch, generation, restarts, "
		"restart_at_ns, paused, provisional, host_uid, overrides FROM agents ORDER BY id",
		&s, e);

	while (r == 0) {
		struct db_agent a;
		int step = sqlite3_step(s);

		if (step == SQLITE_DONE)
			break;
		if (step != SQLITE_ROW)
			return db_fail(db, "read agents", e);
		r = read_row(s, &a, e);
		if (r == 0)
			r = fn(user, &a, e);
	}
	return r;
}

void db_agent_done(struct db_agent *a)
{
	free(a->name);
	free(a->state);
	free(a->reason);
	free(a->signer);
	free(a->manifest);
	free(a->signature);
	free(a->launch);
	free(a->overrides);
	*a = (struct db_agent){ 0 };
}
