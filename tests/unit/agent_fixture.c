#include "agent_fixture.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include <base/clock.h>

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define MANIFEST                                                                                   \
	"[agent]\nname = echo-mint\n[image]\n"                                                     \
	"kernel = blake2b:" ZEROS "\ninitramfs = blake2b:" ZEROS "\nrootfs = blake2b:" ZEROS       \
	"\n[run]\ncommand = /bin/agent\nstart-timeout = 1s\nstop-timeout = 1s\n"

struct af af;

static void on_moved(struct agent_watcher *w, struct agent *x)
{
	ck_assert_ptr_eq(w, &af.watcher);
	ck_assert_ptr_eq(x, af.a);
	ck_assert_uint_lt(af.moves, AF_MOVES_MAX);
	af.states[af.moves++] = x->state;
	af.running = x->state == AGENT_RUNNING;
	af.ended = x->state == AGENT_STOPPED || x->state == AGENT_FAILED;
}

static void on_removed(struct agent_watcher *w, const struct kerr *err)
{
	(void)w;
	if (err) {
		af.removal_errors++;
		return;
	}
	af.removals++;
	af.a = NULL;
}

void af_open(void)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/kosvmd.db", fx_path);
	(void)snprintf(af.sup.paths.state_dir, sizeof(af.sup.paths.state_dir), "%s", fx_path);
	ck_assert_msg(db_open(&af.sup.db, path, &fx_err) == 0, "%s", fx_err.msg);
	af.sup.loop = fx_loop;
	(void)mkdirat(fx_dir, "agents", 0700);
	af.sup.agents_fd = openat(fx_dir, "agents", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	af.sup.images_fd = af.sup.keys_fd = -1;
	af.sup.quotas =
		(struct quotas){ .base = { .fd = -1, .parent = -1 }, .look = LOOP_TIMER_INIT };
	LIST_INIT(&af.sup.agents);
	LIST_INIT(&af.sup.panics);
	LIST_INIT(&af.sup.events.watchers);
	af.sup.ending = false;
	ck_assert_msg(panic_load(&af.sup, &fx_err) == 0, "%s", fx_err.msg);
}

static void close_rest(void)
{
	panic_done(&af.sup);
	db_close(af.sup.db);
	af.sup.db = NULL;
	(void)close(af.sup.agents_fd);
	af.a = NULL;
}

void af_close(void)
{
	agents_done(&af.sup);
	close_rest();
}

void af_crash(void)
{
	if (af.a)
		agent_unwatch(&af.watcher);
	agents_detach(&af.sup);
	close_rest();
}

void af_load(void)
{
	af_open();
	ck_assert_msg(agents_load(&af.sup, &fx_err) == 0, "%s", fx_err.msg);
	af.a = LIST_FIRST(&af.sup.agents);
	if (af.a)
		af_look_on();
}

void af_look_on(void)
{
	struct agent *a = af.a;

	agent_unwatch(&af.watcher);
	af.watcher = (struct agent_watcher){ .moved = on_moved, .removed = on_removed };
	af.moves = af.removals = af.removal_errors = 0;
	af.ended = af.running = false;
	agent_watch(a, &af.watcher);
}

void af_setup_manifest(const char *more)
{
	char *text = NULL;
	struct db_agent row = {
		.name = (char *)"echo-mint",
		.signer = (char *)"0011223344556677",
		.signature = (char *)"",
		.exit_code = -1,
	};

	fx_setup();
	af = (struct af){ 0 };
	af_open();
	ck_assert_int_gt(asprintf(&text, MANIFEST "%s", more), 0);
	row.manifest = text;
	row.manifest_len = strlen(text);
	ck_assert_int_eq(db_agent_add(af.sup.db, &row, &fx_err), 0);
	free(text);
	ck_assert_msg(agents_load(&af.sup, &fx_err) == 0, "%s", fx_err.msg);
	af.a = LIST_FIRST(&af.sup.agents);
	ck_assert_msg(af.a->state == AGENT_CREATED, "%s", af.a->reason);
	af_look_on();
}

void af_setup(void)
{
	af_setup_manifest("");
}

void af_teardown(void)
{
	af_close();
	fx_teardown();
}

void af_sql(const char *text)
{
	sqlite3 *s = NULL;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/kosvmd.db", fx_path);
	ck_assert_int_eq(sqlite3_open(path, &s), SQLITE_OK);
	ck_assert_int_eq(sqlite3_busy_timeout(s, 5000), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(s, text, NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(s);
}

int af_count(const char *query)
{
	sqlite3 *s = NULL;
	sqlite3_stmt *q = NULL;
	char path[128];
	int n;

	(void)snprintf(path, sizeof(path), "%s/kosvmd.db", fx_path);
	ck_assert_int_eq(sqlite3_open(path, &s), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(s, query, -1, &q, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(q), SQLITE_ROW);
	n = sqlite3_column_int(q, 0);
	(void)sqlite3_finalize(q);
	(void)sqlite3_close(s);
	return n;
}

void af_boot(const char *orders)
{
	struct agent *a = af.a;
	struct board *b = malloc(sizeof(*b));
	int fds[6];
	struct vmm_proc_config cfg = {
		.program = FAKE_VMM, .board = b, .fds = fds, .nfds = 6, .stderr_fd = 2
	};

	a->broken = false;
	a->stop_stage = STOP_NONE;
	a->deadline.fn = agent_deadline_passed;
	for (int i = 0; i < 4; i++)
		fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fx_board(b, orders);
	ck_assert_int_eq(vmm_listen(a->dirfd, &fds[4], &fx_err), 0);
	ck_assert_int_eq(vmm_end_create(a->dirfd, &fds[5], &fx_err), 0);
	b->listen_fd = 4;
	b->end_fd = 5;
	ck_assert_int_eq(getrandom(b->boot_id, sizeof(b->boot_id), 0), sizeof(b->boot_id));
	ck_assert_int_eq(agent_open_guest(a, false, &fx_err), 0);
	ck_assert_msg(vmm_proc_start(&a->vmm, fx_loop, &cfg, &agent_vmm_ops, a, &fx_err) == 0, "%s",
		fx_err.msg);
	ck_assert_int_eq(loop_timer_set(fx_loop, &a->deadline, a->manifest.start_timeout_ns, 0), 0);
	for (int i = 0; i < 6; i++)
		(void)close(fds[i]);
	free(b);
}

void af_start(const char *orders)
{
	ck_assert_msg(agent_move(af.a, AGENT_EV_START, "", &fx_err) == 0, "%s", fx_err.msg);
	af_boot(orders);
}

void af_run(const char *orders)
{
	/* The manifest's 1 s is for the tests that want it to pass; a busy machine may need longer.
	 */
	af.a->manifest.start_timeout_ns = AF_START_PATIENCE_NS;
	af_start(orders);
	fx_until(&af.running);
}

void af_check_moves(const enum agent_state *want, unsigned n)
{
	ck_assert_uint_eq(af.moves, n);
	for (unsigned i = 0; i < n; i++)
		ck_assert_str_eq(agent_state_name(af.states[i]), agent_state_name(want[i]));
}
