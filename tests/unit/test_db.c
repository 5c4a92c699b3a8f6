#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "db.h"
#include "sup_fixture.h"

static struct db *db;
static char path[128];

static void reopen(void)
{
	db_close(db);
	db = NULL;
	ck_assert_msg(db_open(&db, path, &fx_err) == 0, "%s", fx_err.msg);
}

static void setup(void)
{
	fx_setup();
	(void)snprintf(path, sizeof(path), "%s/kosvmd.db", fx_path);
	reopen();
}

static void teardown(void)
{
	db_close(db);
	db = NULL;
	fx_teardown();
}

static struct db_agent sample(const char *name)
{
	return (struct db_agent){
		.name = (char *)name,
		.exit_code = -1,
		.created_ns = 1800000000123456789ULL,
		.signer = (char *)"0011223344556677",
		.manifest = (char *)"a\0b",
		.manifest_len = 3,
		.signature = (char *)"s",
		.signature_len = 1,
	};
}

static struct db_agent add(const char *name)
{
	struct db_agent a = sample(name);

	ck_assert_msg(db_agent_add(db, &a, &fx_err) == 0, "%s", fx_err.msg);
	return a;
}

static int collect(void *user, struct db_agent *a, struct kerr *e)
{
	struct db_agent **next = user;

	(void)e;
	*(*next)++ = *a;
	return 0;
}

static size_t all(struct db_agent *out)
{
	struct db_agent *next = out;

	ck_assert_int_eq(db_agents_each(db, collect, &next, &fx_err), 0);
	return (size_t)(next - out);
}

START_TEST(keeps_everything)
{
	struct db_agent a = sample("echo-mint");
	struct db_agent got[4];

	a.launch = (char *)"{\"tty\":true}";
	ck_assert_msg(db_agent_add(db, &a, &fx_err) == 0, "%s", fx_err.msg);
	ck_assert_uint_eq(strlen(a.uid), DB_UID_LEN);
	ck_assert_uint_eq(strspn(a.uid, "0123456789abcdef"), DB_UID_LEN);

	a.state = (char *)"failed";
	a.reason = (char *)"it's broken";
	a.exit_code = 137;
	a.exit_signal = 9;
	a.started_ns = 5;
	a.ended_ns = 1ULL << 62;
	a.generation = 4000000000U;
	a.restarts = 3;
	a.restart_at_ns = 77;
	a.provisional = true;
	a.host_uid = 1879048192;
	a.overrides = (char *)"{\"disk_bandwidth\":5}";
	(void)strcpy(a.paused, "panic");
	ck_assert_int_eq(db_agent_move(db, &a, "running", "broken", &fx_err), 0);
	reopen();
	ck_assert_uint_eq(all(got), 1);
	ck_assert_int_eq(got->id, a.id);
	ck_assert_str_eq(got->name, "echo-mint");
	ck_assert_str_eq(got->state, "failed");
	ck_assert_str_eq(got->reason, "it's broken");
	ck_assert_uint_eq(got->cid, 3);
	ck_assert_int_eq(got->exit_code, 137);
	ck_assert_int_eq(got->exit_signal, 9);
	ck_assert_uint_eq(got->host_uid, 1879048192);
	ck_assert_str_eq(got->overrides, "{\"disk_bandwidth\":5}");
	ck_assert_uint_eq(got->created_ns, 1800000000123456789ULL);
	ck_assert_uint_eq(got->started_ns, 5);
	ck_assert_uint_eq(got->ended_ns, 1ULL << 62);
	ck_assert_str_eq(got->signer, "0011223344556677");
	ck_assert_uint_eq(got->manifest_len, 3);
	ck_assert_mem_eq(got->manifest, "a\0b", 4);
	ck_assert_uint_eq(got->signature_len, 1);
	ck_assert_str_eq(got->uid, a.uid);
	ck_assert_str_eq(got->launch, "{\"tty\":true}");
	ck_assert_uint_eq(got->generation, 4000000000U);
	ck_assert_uint_eq(got->restarts, 3);
	ck_assert_uint_eq(got->restart_at_ns, 77);
	ck_assert_str_eq(got->paused, "panic");
	ck_assert(got->provisional);
	db_agent_done(got);
	db_agent_done(got);
}
END_TEST

START_TEST(names_are_unique)
{
	struct db_agent again = sample("one");

	(void)add("one");
	ck_assert_int_eq(db_agent_add(db, &again, &fx_err), -EEXIST);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "agents.name"));
	(void)add("two");
}
END_TEST

/* CIDs are used again, numbers (and so directories) never. */
START_TEST(cids_and_ids)
{
	struct db_agent a = add("a"), b = add("b"), c = add("c"), d;

	ck_assert_uint_eq(a.cid, 3);
	ck_assert_uint_eq(b.cid, 4);
	ck_assert_uint_eq(c.cid, 5);
	ck_assert_int_eq(db_agent_remove(db, b.id, &fx_err), 0);
	d = add("d");
	ck_assert_uint_eq(d.cid, 4);
	ck_assert_int_gt(d.id, c.id);
	ck_assert_int_eq(db_agent_remove(db, a.id, &fx_err), 0);
	ck_assert_int_eq(db_agent_remove(db, d.id, &fx_err), 0);
	reopen();
	b = add("b");
	ck_assert_uint_eq(b.cid, 3);
	ck_assert_int_gt(b.id, d.id);
	ck_assert_int_eq(db_agent_remove(db, 4711, &fx_err), 0);
}
END_TEST

static int count(const char *sql)
{
	sqlite3 *s = NULL;
	sqlite3_stmt *q = NULL;
	int n;

	ck_assert_int_eq(sqlite3_open(path, &s), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(s, sql, -1, &q, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(q), SQLITE_ROW);
	n = sqlite3_column_int(q, 0);
	(void)sqlite3_finalize(q);
	(void)sqlite3_close(s);
	return n;
}

static void alter(const char *sql)
{
	sqlite3 *s = NULL;

	ck_assert_int_eq(sqlite3_open(path, &s), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(s, sql, NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(s);
}

/* A move is whole or not there: state without its record would be a lie. */
START_TEST(moves_are_whole)
{
	struct db_agent a = add("a");
	struct db_agent got[4];

	a.state = (char *)"starting";
	ck_assert_int_eq(db_agent_move(db, &a, "created", "start", &fx_err), 0);
	ck_assert_int_eq(count("SELECT count(*) FROM transitions"), 1);
	alter("CREATE TRIGGER full BEFORE INSERT ON transitions "
	      "BEGIN SELECT RAISE(ABORT, 'disk full'); END");
	a.state = (char *)"running";
	ck_assert_int_lt(db_agent_move(db, &a, "starting", "ready", &fx_err), 0);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "disk full"));
	ck_assert_uint_eq(all(got), 1);
	ck_assert_str_eq(got->state, "starting");
	db_agent_done(got);
	alter("DROP TRIGGER full");
	ck_assert_int_eq(db_agent_move(db, &a, "starting", "ready", &fx_err), 0);
	ck_assert_int_eq(count("SELECT count(*) FROM transitions"), 2);
	/* One that is gone cannot move. */
	ck_assert_int_eq(db_agent_remove(db, a.id, &fx_err), 0);
	ck_assert_int_eq(count("SELECT count(*) FROM transitions"), 0);
	ck_assert_int_lt(db_agent_move(db, &a, "running", "stop", &fx_err), 0);
}
END_TEST

/* What is not said about them changes nothing; what is said is a row among the moves. */
START_TEST(limits_changed)
{
	struct db_agent a = sample("limits");

	ck_assert_int_eq(db_agent_add(db, &a, &fx_err), 0);
	a.state = (char *)"starting";
	a.reason = (char *)"why";
	ck_assert_int_eq(db_agent_move(db, &a, "created", "start", &fx_err), 0);
	ck_assert_int_eq(count("SELECT overrides = '{}' FROM agents"), 1);
	a.overrides = (char *)"{\"disk_ops\":5}";
	ck_assert_int_eq(db_agent_update(db, &a, "disk-ops = 5", &fx_err), 0);
	ck_assert_uint_gt(a.moved_ns, 0);
	ck_assert_int_eq(count("SELECT COUNT(*) FROM transitions WHERE event = 'update' AND "
			       "from_state = 'starting' AND to_state = 'starting' AND "
			       "reason = 'disk-ops = 5'"),
		1);
	ck_assert_int_eq(count("SELECT reason = 'why' FROM agents"), 1);
	a.overrides = NULL;
	ck_assert_int_eq(db_agent_note(db, &a, &fx_err), 0);
	ck_assert_int_eq(count("SELECT overrides = '{\"disk_ops\":5}' FROM agents"), 1);
}
END_TEST

START_TEST(other_files)
{
	struct db *other = NULL;
	FILE *f;

	alter("PRAGMA user_version = 7");
	ck_assert_int_eq(db_open(&other, path, &fx_err), -EPROTO);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "schema version 7, this kosvmd knows 3"));
	ck_assert_int_eq(count("PRAGMA user_version"), 7);
	ck_assert_int_lt(db_open(&other, "/nowhere/kosvmd.db", &fx_err), 0);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "/nowhere/kosvmd.db"));
	db_close(db);
	db = NULL;
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	for (int i = 0; i < 1000; i++)
		(void)fputs("this is no database\n", f);
	(void)fclose(f);
	ck_assert_int_lt(db_open(&other, path, &fx_err), 0);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, path));
	ck_assert_ptr_null(other);
}
END_TEST

/* What a kosvmd of schema 1 left behind. */
START_TEST(from_schema_1)
{
	struct db_agent got[4];

	db_close(db);
	db = NULL;
	ck_assert_int_eq(remove(path), 0);
	alter("CREATE TABLE agents (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	      " state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', cid INTEGER NOT NULL UNIQUE,"
	      " exit_code INTEGER NOT NULL DEFAULT -1, exit_signal INTEGER NOT NULL DEFAULT 0,"
	      " created_ns INTEGER NOT NULL, started_ns INTEGER NOT NULL DEFAULT 0,"
	      " ended_ns INTEGER NOT NULL DEFAULT 0, signer TEXT NOT NULL, manifest BLOB NOT NULL,"
	      " signature BLOB NOT NULL);"
	      "CREATE TABLE transitions (seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	      " agent INTEGER NOT NULL REFERENCES agents(id) ON DELETE CASCADE,"
	      " time_ns INTEGER NOT NULL, from_state TEXT NOT NULL, event TEXT NOT NULL,"
	      " to_state TEXT NOT NULL, reason TEXT NOT NULL);"
	      "CREATE INDEX transitions_agent ON transitions(agent);"
	      "INSERT INTO agents VALUES (7, 'old', 'stopped', 'why', 3, 5, 0, 1, 2, 3, 'k', "
	      "x'6d', x'73');"
	      "INSERT INTO agents (id, name, state, cid, created_ns, signer, manifest, signature) "
	      "VALUES (9, 'new', 'created', 4, 1, 'k', x'6d', x'73');"
	      "INSERT INTO transitions (agent, time_ns, from_state, event, to_state, reason) VALUES "
	      "(7, 1, 'created', 'start', 'starting', ''), (7, 2, 'starting', 'stop', 'stopping', ''),"
	      "(7, 3, 'stopping', 'ended', 'stopped', 'why');"
	      "PRAGMA user_version = 1;");
	/* A step that fails half-way leaves the old version whole. */
	alter("CREATE TABLE boots (x)");
	ck_assert_int_lt(db_open(&db, path, &fx_err), 0);
	ck_assert_int_eq(count("PRAGMA user_version"), 1);
	ck_assert_int_eq(count("SELECT count(*) FROM pragma_table_info('agents')"), 13);
	alter("DROP TABLE boots");
	reopen();
	ck_assert_int_eq(count("PRAGMA user_version"), DB_SCHEMA_VERSION);
	ck_assert_uint_eq(all(got), 2);
	ck_assert_int_eq(got[0].id, 7);
	ck_assert_str_eq(got[0].reason, "why");
	ck_assert_int_eq(got[0].exit_code, 5);
	ck_assert_uint_eq(strlen(got[0].uid), DB_UID_LEN);
	ck_assert_str_ne(got[0].uid, got[1].uid);
	ck_assert_str_eq(got[0].launch, "{}");
	ck_assert_str_eq(got[0].overrides, "{}");
	ck_assert_uint_eq(got[0].host_uid, 0);
	ck_assert_uint_eq(got[1].host_uid, 0);
	ck_assert_uint_eq(got[0].generation, 1);
	ck_assert_uint_eq(got[1].generation, 0);
	db_agent_done(&got[0]);
	db_agent_done(&got[1]);
	ck_assert_int_eq(count("SELECT count(*) FROM transitions"), 3);
	(void)add("newer");
	reopen();
	ck_assert_int_eq(count("SELECT count(*) FROM agents"), 3);
}
END_TEST

static void add_with_uid(const char *name, uint32_t host_uid)
{
	struct db_agent a = sample(name);

	a.host_uid = host_uid;
	ck_assert_msg(db_agent_add(db, &a, &fx_err) == 0, "%s", fx_err.msg);
}

START_TEST(host_uids)
{
	struct db_agent twice = sample("twice");
	uint32_t got = 0;

	(void)add("none");
	(void)add("none-either");
	ck_assert_int_eq(db_host_uid_free(db, 1000, 1002, &got, &fx_err), 0);
	ck_assert_uint_eq(got, 1000);
	add_with_uid("one", 1000);
	add_with_uid("three", 1002);
	add_with_uid("outside", 999);
	twice.host_uid = 1002;
	ck_assert_int_eq(db_agent_add(db, &twice, &fx_err), -EEXIST);
	ck_assert_int_eq(db_host_uid_free(db, 1000, 1002, &got, &fx_err), 0);
	ck_assert_uint_eq(got, 1001);
	add_with_uid("two", 1001);
	got = 5;
	ck_assert_int_eq(db_host_uid_free(db, 1000, 1002, &got, &fx_err), -EUSERS);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "1000-1002"));
	ck_assert_uint_eq(got, 5);
	ck_assert_int_eq(db_host_uid_free(db, 1000, 1003, &got, &fx_err), 0);
	ck_assert_uint_eq(got, 1003);
	/* Free again once the row is gone, not before. */
	ck_assert_int_eq(db_agent_remove(db, 3, &fx_err), 0);
	ck_assert_int_eq(db_host_uid_free(db, 1000, 1002, &got, &fx_err), 0);
	ck_assert_uint_eq(got, 1000);
	ck_assert_int_eq(db_host_uid_free(db, UINT32_MAX - 1, UINT32_MAX, &got, &fx_err), 0);
	ck_assert_uint_eq(got, UINT32_MAX - 1);
}
END_TEST

static struct db_boot boots[200];
static size_t boot_count;

static int on_boot(void *user, const struct db_boot *b, struct kerr *e)
{
	(void)user;
	(void)e;
	boots[boot_count++] = *b;
	return 0;
}

START_TEST(boots_and_their_ends)
{
	struct db_agent a = add("a"), b = add("b");
	struct db_boot boot = { .agent = a.id,
		.generation = 1,
		.pid = 4711,
		.pid_start = 1ULL << 40,
		.boot_id = "0123456789abcde",
		.host_boot_id = "aaaaaaaa-bbbb",
		.started_ns = 9 };
	struct db_boot got;

	ck_assert_int_eq(db_boot_get(db, a.id, 1, &got, &fx_err), -ENOENT);
	ck_assert_msg(db_boot_add(db, &boot, &fx_err) == 0, "%s", fx_err.msg);
	ck_assert_int_lt(db_boot_add(db, &boot, &fx_err), 0);
	boot.agent = b.id;
	ck_assert_int_eq(db_boot_add(db, &boot, &fx_err), 0);
	reopen();
	ck_assert_int_eq(db_boot_get(db, a.id, 1, &got, &fx_err), 0);
	ck_assert_int_eq(got.pid, 4711);
	ck_assert_uint_eq(got.pid_start, 1ULL << 40);
	ck_assert_mem_eq(got.boot_id, "0123456789abcde", DB_BOOT_ID_LEN);
	ck_assert_str_eq(got.host_boot_id, "aaaaaaaa-bbbb");
	ck_assert_uint_eq(got.ended_ns, 0);
	/* The end comes with the move. */
	a.generation = 1;
	a.state = (char *)"failed";
	a.reason = (char *)"broke down";
	a.exit_code = 3;
	a.ended_ns = 12;
	ck_assert_int_eq(db_agent_move(db, &a, "running", "broken", &fx_err), 0);
	ck_assert_int_eq(db_boot_get(db, a.id, 1, &got, &fx_err), 0);
	ck_assert_uint_eq(got.ended_ns, 12);
	ck_assert_int_eq(got.exit_code, 3);
	ck_assert_str_eq(got.reason, "broke down");
	boot_count = 0;
	ck_assert_int_eq(db_boots_each(db, 0, on_boot, NULL, &fx_err), 0);
	ck_assert_uint_eq(boot_count, 1); /* b's has not ended */
	ck_assert_int_eq(boots[0].agent, b.id);
	/* A crash loop is kept short. */
	boot.agent = a.id;
	for (boot.generation = 2; boot.generation <= DB_BOOTS_KEPT + 20; boot.generation++)
		ck_assert_int_eq(db_boot_add(db, &boot, &fx_err), 0);
	boot_count = 0;
	ck_assert_int_eq(db_boots_each(db, a.id, on_boot, NULL, &fx_err), 0);
	ck_assert_uint_eq(boot_count, DB_BOOTS_KEPT);
	ck_assert_uint_eq(boots[0].generation, 21);
	ck_assert_int_eq(db_agent_remove(db, a.id, &fx_err), 0);
	ck_assert_int_eq(count("SELECT count(*) FROM boots"), 1);
}
END_TEST

START_TEST(provisional_until_it_boots)
{
	struct db_agent a = sample("a");
	struct db_boot boot = { .generation = 1, .pid = 1 };

	a.provisional = true;
	ck_assert_int_eq(db_agent_add(db, &a, &fx_err), 0);
	ck_assert_int_eq(count("SELECT provisional FROM agents"), 1);
	boot.agent = a.id;
	ck_assert_int_eq(db_boot_add(db, &boot, &fx_err), 0);
	ck_assert_int_eq(count("SELECT provisional FROM agents"), 0);
}
END_TEST

static char seen[512];

static int on_transition(void *user, const struct db_transition *t, struct kerr *e)
{
	(void)user;
	(void)e;
	ck_assert_uint_eq(strlen(t->uid), DB_UID_LEN);
	(void)snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s:%s>%s/%u ", t->name,
		t->event, t->to, t->generation);
	return 0;
}

START_TEST(transitions)
{
	struct db_agent a = add("a"), b = add("b");
	uint64_t first;

	a.state = (char *)"starting";
	a.generation = 1;
	ck_assert_int_eq(db_agent_move(db, &a, "created", "start", &fx_err), 0);
	first = a.moved_ns;
	ck_assert_uint_gt(first, 0);
	b.state = (char *)"purging";
	ck_assert_int_eq(db_agent_move(db, &b, "created", "rm", &fx_err), 0);
	a.state = (char *)"running";
	ck_assert_int_eq(db_agent_move(db, &a, "starting", "ready", &fx_err), 0);
	ck_assert_uint_gt(a.moved_ns, first);
	seen[0] = '\0';
	ck_assert_int_eq(db_transitions_each(db, 0, 0, 0, on_transition, NULL, &fx_err), 0);
	ck_assert_str_eq(seen, "a:start>starting/1 b:rm>purging/0 a:ready>running/1 ");
	seen[0] = '\0';
	ck_assert_int_eq(db_transitions_each(db, a.id, 0, 1, on_transition, NULL, &fx_err), 0);
	ck_assert_int_eq(db_transitions_each(db, b.id, first, 0, on_transition, NULL, &fx_err), 0);
	ck_assert_int_eq(
		db_transitions_each(db, a.id, UINT64_MAX, 0, on_transition, NULL, &fx_err), 0);
	ck_assert_str_eq(seen, "a:ready>running/1 b:rm>purging/0 ");
}
END_TEST

static int on_panic(void *user, const struct db_panic *p, struct kerr *e)
{
	(void)user;
	(void)e;
	(void)snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s %s %s %llu;", p->scope,
		p->action, p->reason, (unsigned long long)p->since_ns);
	return 0;
}

START_TEST(panics)
{
	struct db_panic p = {
		.scope = "{}", .action = "freeze", .reason = "it's late", .since_ns = 5
	};

	ck_assert_int_eq(db_panic_set(db, &p, &fx_err), 0);
	p.action = "kill";
	ck_assert_int_eq(db_panic_set(db, &p, &fx_err), 0);
	p.scope = "{\"a\":\"b\"}";
	p.since_ns = 6;
	ck_assert_int_eq(db_panic_set(db, &p, &fx_err), 0);
	reopen();
	seen[0] = '\0';
	ck_assert_int_eq(db_panics_each(db, on_panic, NULL, &fx_err), 0);
	ck_assert_str_eq(seen, "{} kill it's late 5;{\"a\":\"b\"} kill it's late 6;");
	ck_assert_int_eq(db_panic_clear(db, &fx_err), 0);
	reopen();
	seen[0] = '\0';
	ck_assert_int_eq(db_panics_each(db, on_panic, NULL, &fx_err), 0);
	ck_assert_str_eq(seen, "");
}
END_TEST

static int stop_at_once(void *user, struct db_agent *a, struct kerr *e)
{
	++*(int *)user;
	db_agent_done(a);
	return kerr_set(e, EINTR, "enough");
}

START_TEST(each_ends_early)
{
	int n = 0;

	(void)add("a");
	(void)add("b");
	ck_assert_int_eq(db_agents_each(db, stop_at_once, &n, &fx_err), -EINTR);
	ck_assert_int_eq(n, 1);
	ck_assert_str_eq(fx_err.msg, "enough");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("db");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, keeps_everything);
	tcase_add_test(t, names_are_unique);
	tcase_add_test(t, cids_and_ids);
	tcase_add_test(t, moves_are_whole);
	tcase_add_test(t, limits_changed);
	tcase_add_test(t, other_files);
	tcase_add_test(t, from_schema_1);
	tcase_add_test(t, host_uids);
	tcase_add_test(t, boots_and_their_ends);
	tcase_add_test(t, provisional_until_it_boots);
	tcase_add_test(t, transitions);
	tcase_add_test(t, panics);
	tcase_add_test(t, each_ends_early);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
