#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/io.h>

#include "agent_log.h"
#include "sup_fixture.h"

#define STAMP_LEN 31 /* with the blank */

static struct agent_log *l;

static void open_log(uint64_t max)
{
	ck_assert_msg(agent_log_open(&l, fx_dir, max, &fx_err) == 0, "%s", fx_err.msg);
}

static void put(const char *s)
{
	agent_log_append(l, AGENT_LOG_STDOUT, s, strlen(s));
}

static off_t size_of(const char *name)
{
	struct stat st;

	return fstatat(fx_dir, name, &st, 0) < 0 ? 0 : st.st_size;
}

/* The records without their times. */
static char *records(const char *name)
{
	char *text = fx_read(name);
	char *out = text;

	for (char *p = text; *p;) {
		char *nl = strchr(p, '\n');

		ck_assert_ptr_nonnull(nl);
		ck_assert_int_gt(nl - p, STAMP_LEN);
		ck_assert_msg(p[10] == 'T' && p[29] == 'Z' && p[30] == ' ', "%.40s", p);
		(void)memmove(out, p + STAMP_LEN, (size_t)(nl + 1 - p - STAMP_LEN));
		out += nl + 1 - p - STAMP_LEN;
		p = nl + 1;
	}
	*out = '\0';
	return text;
}

static void check_records(const char *want)
{
	char *got = records("agent.log");

	ck_assert_str_eq(got, want);
	free(got);
}

START_TEST(lines)
{
	open_log(1 << 20);
	put("hel");
	agent_log_append(l, AGENT_LOG_STDERR, "oops\nand", 8);
	put("lo\n\nworld");
	check_records("stderr F oops\nstdout F hello\nstdout F \n");
	agent_log_close(l);
	check_records("stderr F oops\nstdout F hello\nstdout F \nstdout P world\nstderr P and\n");
}
END_TEST

START_TEST(long_lines)
{
	static char text[AGENT_LOG_LINE_MAX * 2 + 6];
	char *got;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\n';
	open_log(1 << 20);
	agent_log_append(l, AGENT_LOG_STDOUT, text, sizeof(text));
	agent_log_close(l);
	got = records("agent.log");
	ck_assert_uint_eq(strlen(got), 3 * 10 + sizeof(text) - 1);
	ck_assert_int_eq(memcmp(got, "stdout P x", 10), 0);
	ck_assert_str_eq(got + 2 * (10 + AGENT_LOG_LINE_MAX), "stdout F xxxxx\n");
	free(got);
}
END_TEST

/* The bound holds for every size, also for one smaller than a line, and for empty lines. */
static const uint64_t bounds[] = { 4096, 5000, 65536, 1 << 20 };

START_TEST(bound)
{
	static char text[70000];

	open_log(bounds[_i]);
	for (int round = 0; round < 20; round++) {
		memset(text, round % 3 ? 'y' : '\n', sizeof(text));
		text[sizeof(text) - 1] = '\n';
		agent_log_append(l, AGENT_LOG_STDOUT, text, sizeof(text));
		ck_assert_int_le(size_of("agent.log") + size_of("agent.log.1"), (off_t)bounds[_i]);
	}
	agent_log_close(l);
	ck_assert_int_gt(size_of("agent.log.1"), 0);
	free(records("agent.log"));
	free(records("agent.log.1"));
}
END_TEST

START_TEST(too_small)
{
	ck_assert_int_eq(agent_log_open(&l, fx_dir, 4095, &fx_err), -EINVAL);
	agent_log_close(NULL);
}
END_TEST

START_TEST(goes_on_after_a_crash)
{
	int fd = openat(fx_dir, "agent.log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	char *got;

	ck_assert_int_eq(io_write_full(fd, "half a rec", 10), 0);
	(void)close(fd);
	open_log(1 << 20);
	put("new\n");
	agent_log_close(l);
	got = fx_read("agent.log");
	ck_assert_int_eq(strncmp(got, "half a rec\n20", 13), 0);
	free(got);
}
END_TEST

/* What cannot be written is dropped, whole records at a time; afterwards it goes on. */
START_TEST(full_disk)
{
	struct rlimit none = { .rlim_cur = 100, .rlim_max = RLIM_INFINITY };
	struct rlimit all = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };

	(void)signal(SIGXFSZ, SIG_IGN);
	open_log(1 << 20);
	put("one\n");
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	put("two is a record that goes beyond the limit, so that a part of it is written\n");
	put("three as well, the limit is still there, and the first one lies behind us\n");
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
	put("four\n");
	agent_log_close(l);
	check_records("stdout F one\nstdout F four\n");
}
END_TEST

/* A directory in the way of the new file: the bound holds, and nothing crashes. */
START_TEST(rotation_fails)
{
	static char text[3000];

	memset(text, 'z', sizeof(text));
	text[sizeof(text) - 1] = '\n';
	ck_assert_int_eq(mkdirat(fx_dir, "agent.log.1", 0700), 0);
	open_log(8192);
	for (int i = 0; i < 20; i++)
		agent_log_append(l, AGENT_LOG_STDOUT, text, sizeof(text));
	ck_assert_int_le(size_of("agent.log"), 4096);
	ck_assert_int_eq(unlinkat(fx_dir, "agent.log.1", AT_REMOVEDIR), 0);
	put("again\n");
	put("again\n");
	agent_log_append(l, AGENT_LOG_STDOUT, text, sizeof(text));
	ck_assert_int_gt(size_of("agent.log.1"), 0);
	/* Half a rotation: the old name is gone and the new one not there. */
	ck_assert_int_eq(unlinkat(fx_dir, "agent.log", 0), 0);
	for (int i = 0; i < 3; i++)
		agent_log_append(l, AGENT_LOG_STDOUT, text, sizeof(text));
	ck_assert_int_gt(size_of("agent.log"), 0);
	agent_log_close(l);
}
END_TEST

/* ---- readers ---- */

static int follow(bool live)
{
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	ck_assert_int_eq(agent_log_stream(fx_loop, fx_dir, live ? l : NULL, sv[0], &fx_err), 0);
	ck_assert_int_eq(io_set_nonblock(sv[1], 1), 0);
	return sv[1];
}

/* Takes all that comes within some rounds of the loop: bytes, and *ended at the end. */
static size_t take(int fd, char *buf, size_t cap, bool *ended)
{
	size_t len = 0;

	*ended = false;
	for (int idle = 0; idle < 3 && !*ended;) {
		ssize_t n;

		ck_assert_int_eq(loop_step(fx_loop, 5, &fx_err), 0);
		n = read(fd, buf + len, cap - 1 - len);
		if (n == 0)
			*ended = true;
		else if (n > 0)
			len += (size_t)n;
		idle = n > 0 ? 0 : idle + 1;
	}
	buf[len] = '\0';
	return len;
}

static char got[4 << 20];

START_TEST(reads_what_is_there)
{
	bool ended;
	char *text;
	int fd;

	open_log(8192);
	for (int i = 0; i < 100; i++)
		put("a line of some length, so that it is rotated\n");
	fd = follow(false);
	ck_assert_uint_gt(take(fd, got, sizeof(got), &ended), 4096);
	ck_assert(ended);
	text = fx_read("agent.log.1");
	ck_assert_int_eq(strncmp(got, text, strlen(text)), 0);
	free(text);
	(void)close(fd);
	agent_log_close(l);
}
END_TEST

START_TEST(nothing_is_there)
{
	bool ended;
	int fd = follow(false);

	ck_assert_uint_eq(take(fd, got, sizeof(got), &ended), 0);
	ck_assert(ended);
	(void)close(fd);
}
END_TEST

/* Line after line across many rotations, nothing twice and nothing missing. */
START_TEST(follows_across_rotations)
{
	char line[64];
	char *p;
	bool ended;
	size_t len = 0;
	int fd;

	open_log(4096);
	put("0\n");
	fd = follow(true);
	for (int i = 1; i < 500; i++) {
		(void)snprintf(line, sizeof(line), "%d\n", i);
		put(line);
		if (i % 10 == 0)
			len += take(fd, got + len, sizeof(got) - len, &ended);
	}
	put("the end");
	agent_log_close(l);
	len += take(fd, got + len, sizeof(got) - len, &ended);
	ck_assert(ended);
	p = got;
	for (int i = 0; i < 500; i++) {
		ck_assert_int_eq(atoi(p + STAMP_LEN + 9), i);
		p = strchr(p, '\n') + 1;
	}
	ck_assert_ptr_nonnull(strstr(p, "stdout P the end\n"));
	(void)close(fd);
}
END_TEST

START_TEST(readers_that_leave)
{
	bool ended;
	int a;
	int b;
	int c;

	open_log(1 << 20);
	put("x\n");
	a = follow(true);
	b = follow(true);
	c = follow(true);
	(void)take(a, got, sizeof(got), &ended);
	ck_assert(!ended);
	(void)close(a);
	put("y\n");
	(void)close(b); /* told of more, and gone before it comes */
	ck_assert_uint_gt(take(c, got, sizeof(got), &ended), 60);
	agent_log_close(l);
	(void)close(c); /* the log is closed, the reader gone */
	fx_run_ms(30);
}
END_TEST

/* One that does not read holds up nobody. */
START_TEST(slow_reader)
{
	static char text[65536];
	bool ended;
	int fd;

	memset(text, 's', sizeof(text));
	for (size_t i = 99; i < sizeof(text); i += 100)
		text[i] = '\n';
	open_log(16 << 20);
	fd = follow(true);
	for (int i = 0; i < 30; i++) {
		agent_log_append(l, AGENT_LOG_STDOUT, text, sizeof(text));
		ck_assert_int_eq(loop_step(fx_loop, 0, &fx_err), 0);
	}
	agent_log_close(l);
	ck_assert_uint_eq(take(fd, got, sizeof(got), &ended), (size_t)size_of("agent.log"));
	ck_assert(ended);
	(void)close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_log");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, fx_setup, fx_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, lines);
	tcase_add_test(t, long_lines);
	tcase_add_loop_test(t, bound, 0, 4);
	tcase_add_test(t, too_small);
	tcase_add_test(t, goes_on_after_a_crash);
	tcase_add_test(t, full_disk);
	tcase_add_test(t, rotation_fails);
	tcase_add_test(t, reads_what_is_there);
	tcase_add_test(t, nothing_is_there);
	tcase_add_test(t, follows_across_rotations);
	tcase_add_test(t, readers_that_leave);
	tcase_add_test(t, slow_reader);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
