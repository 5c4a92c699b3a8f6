#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <wire/api_proto.h>

#include "sup_fixture.h"
#include "worker.h"

static struct worker *w;
static bool is_done, is_gone;
static int result;
static int64_t answer;
static int got_fds;
static struct kerr error;
static unsigned said;
static char last_said[64];

static void on_progress(void *user, const char *what, double fraction)
{
	(void)user;
	(void)fraction;
	said++;
	(void)snprintf(last_said, sizeof(last_said), "%s", what);
}

static void on_done(void *user, int r, json_t *ok, int *fds, size_t nfds, const struct kerr *err)
{
	(void)user;
	ck_assert(!is_done);
	is_done = true;
	result = r;
	answer = ok ? json_integer_value(json_object_get(ok, "answer")) : 0;
	got_fds = (int)nfds;
	for (size_t i = 0; i < nfds; i++) {
		char buf[3] = { 0 };

		ck_assert_int_eq(pread(fds[i], buf, 2, 0), 2);
		ck_assert_str_eq(buf, "ok");
		(void)close(fds[i]);
	}
	error = *err;
	/* Nothing of the process is left: its locks are free. */
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}

static const struct worker_ops ops = { on_progress, on_done };

static void start(worker_fn fn, void *arg, const int *keep, size_t n)
{
	is_done = is_gone = false;
	said = 0;
	ck_assert_int_eq(worker_start(&w, fx_loop, fn, arg, keep, n, &ops, NULL, &fx_err), 0);
}

static int work(
	void *arg, struct worker_port *port, json_t **ret, int *fds, size_t *nfds, struct kerr *e)
{
	int *keep = arg;

	(void)e;
	worker_progress(port, "half of it", 0.5);
	fds[0] = keep[0];
	*nfds = 1;
	/* What was not kept is closed. */
	*ret = json_pack("{s:i}", "answer", fcntl(keep[1], F_GETFD) < 0 ? 42 : 0);
	return 0;
}

START_TEST(gives_a_result)
{
	int fds[2] = { openat(fx_dir, "f", O_RDWR | O_CREAT, 0600), open("/dev/null", O_RDONLY) };

	ck_assert_int_eq(write(fds[0], "ok", 2), 2);
	start(work, fds, fds, 1);
	fx_until(&is_done);
	ck_assert_int_eq(result, 0);
	ck_assert_int_eq(answer, 42);
	ck_assert_int_eq(got_fds, 1);
	ck_assert_uint_eq(said, 1);
	ck_assert_str_eq(last_said, "half of it");
	(void)close(fds[0]);
	(void)close(fds[1]);
}
END_TEST

static int refuse(
	void *arg, struct worker_port *port, json_t **ret, int *fds, size_t *nfds, struct kerr *e)
{
	(void)arg;
	(void)port;
	(void)ret;
	(void)fds;
	(void)nfds;
	/* Not UTF-8: the text must come all the same. */
	return kerr_set(e, ENOSPC, "caf\xc3: no room");
}

START_TEST(gives_an_error)
{
	start(refuse, NULL, NULL, 0);
	fx_until(&is_done);
	ck_assert_int_eq(result, -ENOSPC);
	ck_assert_str_eq(error.msg, "caf?: no room");
}
END_TEST

static int die(
	void *arg, struct worker_port *port, json_t **ret, int *fds, size_t *nfds, struct kerr *e)
{
	(void)port;
	(void)ret;
	(void)fds;
	(void)nfds;
	(void)e;
	if (arg)
		(void)raise(SIGKILL);
	_exit(0);
}

START_TEST(dies)
{
	start(die, _i ? &is_gone : NULL, NULL, 0);
	fx_until(&is_done);
	ck_assert_int_eq(result, -ECHILD);
	ck_assert_str_eq(error.msg, "worker process ended without a result");
}
END_TEST

/* A worker that an image has taken over: it answers, and stays. */
static int hold_on(
	void *arg, struct worker_port *port, json_t **ret, int *fds, size_t *nfds, struct kerr *e)
{
	struct {
		int sock;
	} *open_port = (void *)port;
	json_t *m = json_pack("{s:{s:i}}", "ok", "answer", 1);

	(void)ret;
	(void)fds;
	(void)nfds;
	(void)api_send(open_port->sock, m, arg, arg ? 2 : 0, e);
	while (pause() < 0)
		;
	return 0;
}

START_TEST(stays_after_its_last_word)
{
	start(hold_on, NULL, NULL, 0);
	fx_until(&is_done);
	ck_assert_int_eq(result, 0);
	ck_assert_int_eq(answer, 1);
}
END_TEST

static void on_gone(void *user)
{
	ck_assert_ptr_eq(user, &is_gone);
	is_gone = true;
}

static int lock_and_wait(
	void *arg, struct worker_port *port, json_t **ret, int *fds, size_t *nfds, struct kerr *e)
{
	(void)ret;
	(void)fds;
	(void)nfds;
	(void)e;
	(void)flock(*(int *)arg, LOCK_EX);
	worker_progress(port, "locked", -1);
	while (pause() < 0)
		;
	return 0;
}

START_TEST(cancelled)
{
	int fd = openat(fx_dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int other;

	start(lock_and_wait, &fd, &fd, 1);
	(void)close(fd);
	while (said == 0)
		ck_assert_int_eq(loop_step(fx_loop, 100, &fx_err), 0);
	other = openat(fx_dir, "lock", O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(flock(other, LOCK_EX | LOCK_NB), -1);
	worker_cancel(w, on_gone, &is_gone);
	fx_until(&is_gone);
	ck_assert(!is_done);
	ck_assert_int_eq(flock(other, LOCK_EX | LOCK_NB), 0);
	(void)close(other);
	worker_cancel(NULL, NULL, NULL);
}
END_TEST

/* Between its last word and its end: the result and its descriptors go. */
START_TEST(cancelled_with_a_result)
{
	int fds[2] = { open("/dev/null", O_RDONLY), open("/dev/null", O_RDONLY) };

	start(hold_on, fds, fds, 2);
	(void)close(fds[0]);
	(void)close(fds[1]);
	/* The message is read in one step, its end is seen in a later one. */
	ck_assert_int_eq(loop_step(fx_loop, 5000, &fx_err), 0);
	ck_assert(!is_done);
	worker_cancel(w, on_gone, &is_gone);
	fx_until(&is_gone);
	ck_assert(!is_done);
}
END_TEST

static int chatter(
	void *arg, struct worker_port *port, json_t **ret, int *fds, size_t *nfds, struct kerr *e)
{
	(void)arg;
	(void)ret;
	(void)fds;
	(void)nfds;
	(void)e;
	while (getppid() > 0)
		worker_progress(port, "\xff", -1);
	return 0;
}

START_TEST(chatters)
{
	start(chatter, NULL, NULL, 0);
	for (int i = 0; i < 50; i++) {
		unsigned before = said;

		ck_assert_int_eq(loop_step(fx_loop, 5000, &fx_err), 0);
		ck_assert_uint_le(said - before, 1);
	}
	ck_assert_str_eq(last_said, "?");
	worker_cancel(w, on_gone, &is_gone);
	fx_until(&is_gone);
}
END_TEST

START_TEST(too_many_files)
{
	int keep[FDPASS_MAX_FDS + 1] = { 0 };

	ck_assert_int_eq(
		worker_start(&w, fx_loop, work, NULL, keep, array_size(keep), &ops, NULL, &fx_err),
		-E2BIG);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("worker");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, fx_setup, fx_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, gives_a_result);
	tcase_add_test(t, gives_an_error);
	tcase_add_loop_test(t, dies, 0, 2);
	tcase_add_test(t, stays_after_its_last_word);
	tcase_add_test(t, cancelled);
	tcase_add_test(t, cancelled_with_a_result);
	tcase_add_test(t, chatters);
	tcase_add_test(t, too_many_files);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
