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
	struct db_agent a = add("echo-mint");
	struct db_agent got[4];

	a.state = (char *)"failed";
	a.reason = (char *)"it's broken";
	a.exit_code = 137;
	a.exit_signal = 9;
	a.started_ns = 5;
	a.ended_ns = 1ULL << 62;
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
	ck_assert_uint_eq(got->created_ns, 1800000000123456789ULL);
	ck_assert_uint_eq(got->started_ns, 5);
	ck_assert_uint_eq(got->ended_ns, 1ULL << 62);
	ck_assert_str_eq(got->signer, "0011223344556677");
	ck_assert_uint_eq(got->manifest_len, 3);
	ck_assert_mem_eq(got->manifest, "a\0b", 4);
	ck_assert_uint_eq(got->signature_len, 1);
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

START_TEST(other_files)
{
	struct db *other = NULL;
	FILE *f;

	alter("PRAGMA user_version = 7");
	ck_assert_int_eq(db_open(&other, path, &fx_err), -EPROTO);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "schema version 7"));
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
	tcase_add_test(t, other_files);
	tcase_add_test(t, each_ends_early);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
