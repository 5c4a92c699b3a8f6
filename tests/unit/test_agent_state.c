/*
 * Lives of agents against the table of states: a real database, a
 * real process that stands in for the VMM, and everybody who looks on. Only
 * the part before the VMM (images, /dev/kvm) is not here.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "agent.h"
#include "sup_fixture.h"

#define MANIFEST                                                                                   \
	"[agent]\nname = echo-mint\n[image]\n"                                                     \
	"kernel = blake2b:" ZEROS "\ninitramfs = blake2b:" ZEROS "\nrootfs = blake2b:" ZEROS       \
	"\n[run]\ncommand = /bin/agent\nstart-timeout = 1s\nstop-timeout = 1s\n"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

static struct sup sup;
static struct agent *a; /* NULL once it is gone */
static struct agent_watcher watcher;
static enum agent_state states[16];
static unsigned moves, removals, removal_errors;
static bool ended, is_running, connect_done;
static int connect_result;

static void on_moved(struct agent_watcher *w, struct agent *x)
{
	ck_assert_ptr_eq(w, &watcher);
	ck_assert_ptr_eq(x, a);
	ck_assert_uint_lt(moves, 16);
	states[moves++] = x->state;
	is_running = x->state == AGENT_RUNNING;
	ended = x->state == AGENT_STOPPED || x->state == AGENT_FAILED;
}

static void on_removed(struct agent_watcher *w, const struct kerr *err)
{
	(void)w;
	if (err) {
		removal_errors++;
		return;
	}
	removals++;
	a = NULL;
}

static void open_all(void)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/kosvmd.db", fx_path);
	(void)snprintf(sup.paths.state_dir, sizeof(sup.paths.state_dir), "%s", fx_path);
	ck_assert_int_eq(db_open(&sup.db, path, &fx_err), 0);
	sup.loop = fx_loop;
	(void)mkdirat(fx_dir, "agents", 0700);
	sup.agents_fd = openat(fx_dir, "agents", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	sup.images_fd = sup.keys_fd = sup.listen_fd = -1;
	LIST_INIT(&sup.agents);
	LIST_INIT(&sup.clients);
}

static void close_all(void)
{
	agents_done(&sup);
	db_close(sup.db);
	sup.db = NULL;
	(void)close(sup.agents_fd);
}

static void look_on(void)
{
	agent_unwatch(&watcher);
	watcher = (struct agent_watcher){ .moved = on_moved, .removed = on_removed };
	moves = removals = removal_errors = 0;
	ended = is_running = connect_done = false;
	agent_watch(a, &watcher);
}

/* A row as agent_create makes it, taken in as at the start of kosvmd. */
static void setup(void)
{
	struct db_agent row = {
		.name = (char *)"echo-mint",
		.signer = (char *)"0011223344556677",
		.manifest = (char *)MANIFEST,
		.manifest_len = strlen(MANIFEST),
		.signature = (char *)"",
		.exit_code = -1,
	};

	fx_setup();
	open_all();
	ck_assert_int_eq(db_agent_add(sup.db, &row, &fx_err), 0);
	ck_assert_msg(agents_load(&sup, &fx_err) == 0, "%s", fx_err.msg);
	a = LIST_FIRST(&sup.agents);
	ck_assert_int_eq(a->state, AGENT_CREATED);
	look_on();
}

static void teardown(void)
{
	close_all();
	fx_teardown();
}

static void sql(const char *text)
{
	sqlite3 *s = NULL;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/kosvmd.db", fx_path);
	ck_assert_int_eq(sqlite3_open(path, &s), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(s, text, NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(s);
}

/* What agent_start and the board do, from the moment the images are verified. */
static void start(const char *orders)
{
	struct guest_link_config link = {
		.manifest = &a->manifest, .ops = &agent_guest_ops, .user = a
	};
	struct board *b = malloc(sizeof(*b));
	int fds[4];
	struct vmm_proc_config cfg = {
		.program = FAKE_VMM, .board = b, .fds = fds, .nfds = 4, .stderr_fd = 2
	};

	ck_assert_msg(agent_move(a, AGENT_EV_START, "", &fx_err) == 0, "%s", fx_err.msg);
	a->broken = false;
	a->stop_stage = STOP_NONE;
	a->deadline.fn = agent_deadline_passed;
	for (int i = 0; i < 4; i++)
		fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fx_board(b, orders);
	ck_assert_int_eq(agent_log_open(&a->log, a->dirfd, 1 << 20, &fx_err), 0);
	link.log = a->log;
	ck_assert_int_eq(guest_link_new(&a->guest, fx_loop, &link, &fx_err), 0);
	ck_assert_int_eq(vmm_proc_start(&a->vmm, fx_loop, &cfg, &agent_vmm_ops, a, &fx_err), 0);
	ck_assert_int_eq(loop_timer_set(fx_loop, &a->deadline, a->manifest.start_timeout_ns, 0), 0);
	for (int i = 0; i < 4; i++)
		(void)close(fds[i]);
	free(b);
}

static void check_moves(const enum agent_state *want, unsigned n)
{
	ck_assert_uint_eq(moves, n);
	for (unsigned i = 0; i < n; i++)
		ck_assert_str_eq(agent_state_name(states[i]), agent_state_name(want[i]));
}
#define CHECK_MOVES(...)                                                                           \
	check_moves((const enum agent_state[]){ __VA_ARGS__ },                                     \
		sizeof((const enum agent_state[]){ __VA_ARGS__ }) / sizeof(enum agent_state))

/* ---- what is refused ---- */

START_TEST(what_is_not_allowed)
{
	ck_assert_int_eq(agent_stop(a, 0, &fx_err), -EBUSY);
	ck_assert_str_eq(fx_err.msg,
		"agent echo-mint is created: stop is not allowed now (allowed: start, rm)");
	ck_assert_int_eq(agent_kill(a, &fx_err), -EBUSY);
	ck_assert_uint_eq(moves, 0);
	start("serve");
	ck_assert_int_eq(agent_remove(a, &fx_err), -EBUSY);
	ck_assert_int_eq(agent_start(a, &fx_err), -EBUSY);
	fx_until(&is_running);
	ck_assert_int_eq(agent_remove(a, &fx_err), -EBUSY);
	ck_assert_int_eq(agent_start(a, &fx_err), -EBUSY);
	CHECK_MOVES(AGENT_STARTING, AGENT_RUNNING);
}
END_TEST

/* ---- lives ---- */

START_TEST(run_and_stop)
{
	start("serve");
	fx_until(&is_running);
	ck_assert_int_eq(agent_stop(a, 0, &fx_err), 0);
	ck_assert_int_eq(agent_stop(a, 0, &fx_err), -EBUSY);
	fx_until(&ended);
	CHECK_MOVES(AGENT_STARTING, AGENT_RUNNING, AGENT_STOPPING, AGENT_STOPPED);
	ck_assert_str_eq(a->reason, "stopped by request");
	ck_assert_ptr_null(a->vmm);
	/* And again. */
	look_on();
	start("serve");
	fx_until(&is_running);
	ck_assert_int_eq(a->row.exit_code, -1);
}
END_TEST

START_TEST(agent_exits)
{
	start("serve exits");
	fx_until(&ended);
	CHECK_MOVES(AGENT_STARTING, AGENT_RUNNING, AGENT_STOPPING, AGENT_STOPPED);
	ck_assert_int_eq(a->row.exit_code, 5);
	ck_assert_str_eq(a->reason, "the agent ended with code 5");
}
END_TEST

/* The guest hears nothing: after its deadline the VMM is asked, then killed. */
START_TEST(stop_before_ready)
{
	start("serve deaf");
	fx_run_ms(50);
	ck_assert_int_eq(agent_stop(a, 0, &fx_err), 0);
	fx_until(&ended);
	CHECK_MOVES(AGENT_STARTING, AGENT_STOPPING, AGENT_STOPPED);
}
END_TEST

START_TEST(kill_in_each_state)
{
	bool running = _i % 2;
	bool stopping = _i / 2;

	start("serve stubborn");
	if (running)
		fx_until(&is_running);
	if (stopping)
		ck_assert_int_eq(agent_stop(a, 0, &fx_err), 0);
	ck_assert_int_eq(agent_kill(a, &fx_err), 0);
	ck_assert_int_eq(agent_kill(a, &fx_err), 0);
	fx_until(&ended);
	ck_assert_int_eq(a->state, AGENT_STOPPED);
	/* No deadline of before is left. */
	fx_run_ms(1200);
	ck_assert_int_eq(a->state, AGENT_STOPPED);
}
END_TEST

START_TEST(never_ready)
{
	int fd = openat(a->dirfd, "console.log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_eq(write(fd, "a\nb\nc\n\033[1mKernel panic\r\nlast\n\n", 29), 29);
	(void)close(fd);
	start("serve deaf");
	fx_until(&ended);
	CHECK_MOVES(AGENT_STARTING, AGENT_FAILED);
	ck_assert_str_eq(a->reason,
		"not ready within 1 s (start-timeout in the manifest); last "
		"console lines: b | c | [1mKernel panic | last");
}
END_TEST

static const struct {
	const char *orders;
	const char *reason;
} breakdowns[] = {
	{ "crash",
		"the VM ended before the agent was ready: VMM was killed by signal 6 (Aborted)" },
	{ "escape", "the VM ended before the agent was ready: ?[2J? text" },
	{ "garbage", "the VM ended before the agent was ready: VMM broke the protocol" },
	{ "flood", "not ready within 1 s (start-timeout in the manifest)" },
	{ "mute", "not ready within 1 s (start-timeout in the manifest)" },
};

START_TEST(breaks_down)
{
	start(breakdowns[_i].orders);
	fx_until(&ended);
	CHECK_MOVES(AGENT_STARTING, AGENT_FAILED);
	ck_assert_str_eq(a->reason, breakdowns[_i].reason);
	ck_assert_ptr_null(a->vmm);
	ck_assert_ptr_null(a->log);
}
END_TEST

/* Broken already, its VMM not yet gone: a stop does not hide why. */
START_TEST(stop_while_it_breaks)
{
	start("serve");
	fx_until(&is_running);
	agent_break(a, "it is %s", "broken");
	agent_break(a, "twice");
	ck_assert_int_eq(_i ? agent_kill(a, &fx_err) : agent_stop(a, 0, &fx_err), 0);
	fx_until(&ended);
	CHECK_MOVES(AGENT_STARTING, AGENT_RUNNING, AGENT_STOPPING, AGENT_FAILED);
	ck_assert_str_eq(a->reason, "it is broken");
}
END_TEST

/* ---- removal ---- */

static size_t rows(void)
{
	sqlite3 *s = NULL;
	sqlite3_stmt *q = NULL;
	char path[128];
	size_t n;

	(void)snprintf(path, sizeof(path), "%s/kosvmd.db", fx_path);
	ck_assert_int_eq(sqlite3_open(path, &s), SQLITE_OK);
	ck_assert_int_eq(
		sqlite3_prepare_v2(s, "SELECT count(*) FROM agents", -1, &q, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(q), SQLITE_ROW);
	n = (size_t)sqlite3_column_int(q, 0);
	(void)sqlite3_finalize(q);
	(void)sqlite3_close(s);
	return n;
}

static bool directory_there(void)
{
	return faccessat(fx_dir, "agents/1", F_OK, 0) == 0;
}

/* rm --force: of one that starts, runs, or is stopping. */
START_TEST(removed_by_force)
{
	start("serve stubborn");
	if (_i > 0)
		fx_until(&is_running);
	if (_i > 1)
		ck_assert_int_eq(agent_stop(a, 0, &fx_err), 0);
	a->remove_when_ended = true;
	ck_assert_int_eq(agent_kill(a, &fx_err), 0);
	while (a)
		ck_assert_int_eq(loop_step(fx_loop, 1000, &fx_err), 0);
	ck_assert_uint_eq(removals, 1);
	ck_assert(LIST_EMPTY(&sup.agents));
	ck_assert(!directory_there());
	ck_assert_uint_eq(rows(), 0);
}
END_TEST

/* As `run` does: what fails before there is a VM leaves nothing. */
START_TEST(fails_before_its_vm)
{
	a->remove_when_ended = true;
	ck_assert_int_eq(agent_move(a, AGENT_EV_START, "", &fx_err), 0);
	if (_i == 0)
		agent_break(a, "no such image");
	else
		ck_assert_int_eq(_i == 1 ? agent_stop(a, 0, &fx_err) : agent_kill(a, &fx_err), 0);
	ck_assert_ptr_null(a);
	ck_assert_uint_eq(removals, 1);
	ck_assert(!directory_there());
	ck_assert_uint_eq(rows(), 0);
}
END_TEST

START_TEST(removal_fails)
{
	sql("CREATE TRIGGER t BEFORE DELETE ON agents BEGIN SELECT RAISE(ABORT, 'full'); END");
	ck_assert_int_lt(agent_remove(a, &fx_err), 0);
	ck_assert_int_eq(a->state, AGENT_PURGING);
	/* The next start of kosvmd takes it up again, and so may a person. */
	ck_assert_int_lt(agent_remove(a, &fx_err), 0);
	sql("DROP TRIGGER t");
	agent_unwatch(&watcher);
	close_all();
	open_all();
	ck_assert_int_eq(agents_load(&sup, &fx_err), 0);
	ck_assert(LIST_EMPTY(&sup.agents));
	ck_assert(!directory_there());
}
END_TEST

/* ---- a database that cannot be written ---- */

START_TEST(full_disk)
{
	static const char trigger[] = "CREATE TRIGGER t BEFORE INSERT ON transitions "
				      "BEGIN SELECT RAISE(ABORT, 'disk full'); END";

	sql(trigger);
	ck_assert_int_lt(agent_start(a, &fx_err), 0);
	ck_assert_int_eq(a->state, AGENT_CREATED);
	sql("DROP TRIGGER t");
	start("serve");
	if (_i == 1)
		fx_until(&is_running);
	sql(trigger);
	if (_i == 1) {
		/* Not recorded, so not done; but what happened is true. */
		ck_assert_int_lt(agent_stop(a, 0, &fx_err), 0);
		ck_assert_int_eq(a->state, AGENT_RUNNING);
		agent_break(a, "kosvmd ended");
	}
	fx_until(&ended);
	ck_assert_int_eq(a->state, AGENT_FAILED);
	ck_assert_ptr_nonnull(strstr(a->reason, _i == 1 ? "kosvmd ended" : "disk full"));
	sql("DROP TRIGGER t");
}
END_TEST

/* ---- kosvmd ends with agents that run, and starts again ---- */

START_TEST(kosvmd_ends)
{
	pid_t pid;

	start("serve");
	fx_until(&is_running);
	pid = vmm_proc_pid(a->vmm);
	agent_unwatch(&watcher);
	close_all();
	ck_assert_int_eq(kill(pid, 0), -1);
	open_all();
	ck_assert_int_eq(agents_load(&sup, &fx_err), 0);
	a = agent_find(&sup, "echo-mint", &fx_err);
	ck_assert_int_eq(a->state, AGENT_FAILED);
	ck_assert_str_eq(a->reason, "kosvmd ended while it ran");
	look_on();
	start("serve");
	fx_until(&is_running);
}
END_TEST

/* ---- streams ---- */

static void on_connected(void *user, int result, int fd)
{
	char buf[4];

	ck_assert_ptr_eq(user, &connect_done);
	connect_done = true;
	connect_result = result;
	if (result == 0) {
		ck_assert_int_eq(read(fd, buf, sizeof(buf)), 2);
		(void)close(fd);
	} else {
		ck_assert_int_eq(fd, -1);
	}
}

START_TEST(streams)
{
	struct agent_connect *c = NULL;

	ck_assert_int_eq(
		agent_open_stream(a, 2000, on_connected, &connect_done, &c, &fx_err), -ENOTCONN);
	start("serve");
	fx_until(&is_running);
	ck_assert_int_eq(agent_open_stream(a, 2000, on_connected, &connect_done, &c, &fx_err), 0);
	agent_connect_cancel(c);
	fx_run_ms(50);
	ck_assert(!connect_done);
	ck_assert_int_eq(agent_open_stream(a, 2000, on_connected, &connect_done, &c, &fx_err), 0);
	fx_until(&connect_done);
	ck_assert_int_eq(connect_result, 0);
	/* One that is under way when the VM goes. */
	connect_done = false;
	ck_assert_int_eq(agent_open_stream(a, 2000, on_connected, &connect_done, &c, &fx_err), 0);
	ck_assert_int_eq(agent_kill(a, &fx_err), 0);
	fx_until(&ended);
	ck_assert(connect_done);
}
END_TEST

START_TEST(describes)
{
	json_t *o;

	(void)snprintf(a->reason, sizeof(a->reason), "cut\xc3");
	o = agent_describe(a);
	ck_assert_str_eq(json_string_value(json_object_get(o, "name")), "echo-mint");
	ck_assert_str_eq(json_string_value(json_object_get(o, "state")), "created");
	ck_assert_str_eq(json_string_value(json_object_get(o, "reason")), "cut?");
	ck_assert(json_is_null(json_object_get(o, "exit_code")));
	ck_assert(json_is_null(json_object_get(o, "pid")));
	json_decref(o);
	ck_assert_ptr_null(agent_find(&sup, "nobody", &fx_err));
	ck_assert_str_eq(fx_err.msg, "no agent is named nobody: see `kosvm ps -a`");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_state");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, what_is_not_allowed);
	tcase_add_test(t, run_and_stop);
	tcase_add_test(t, agent_exits);
	tcase_add_test(t, stop_before_ready);
	tcase_add_loop_test(t, kill_in_each_state, 0, 4);
	tcase_add_test(t, never_ready);
	tcase_add_loop_test(t, breaks_down, 0, (int)(sizeof(breakdowns) / sizeof(breakdowns[0])));
	tcase_add_loop_test(t, stop_while_it_breaks, 0, 2);
	tcase_add_loop_test(t, removed_by_force, 0, 3);
	tcase_add_loop_test(t, fails_before_its_vm, 0, 3);
	tcase_add_test(t, removal_fails);
	tcase_add_loop_test(t, full_disk, 0, 2);
	tcase_add_test(t, kosvmd_ends);
	tcase_add_test(t, streams);
	tcase_add_test(t, describes);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
