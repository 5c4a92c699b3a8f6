#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <base/cleanup.h>

#include "agent.h"
#include "attach.h"
#include "exec.h"
#include "guest_peer.h"
#include "service.h"

/* Terminals, and those who are attached to the agent, with real programs. */
static struct loop *loop;
static struct reaper reaper;
static struct service service;
static struct command command;
static struct agent agent;
static struct user user;
static struct peer log_, peer;
static int exited;

static void on_ready(struct agent *a, uint32_t pid)
{
	(void)a;
	(void)pid;
}

static void on_failed(struct agent *a, const char *why)
{
	(void)a;
	ck_abort_msg("%s", why);
}

static void on_exited(struct agent *a, int status)
{
	(void)a;
	(void)status;
	exited++;
}

static const struct agent_ops ops = {
	.ready = on_ready,
	.failed = on_failed,
	.exited = on_exited,
};

static void setup(void)
{
	char me[32];

	exited = 0;
	user = (struct user){ .uid = geteuid() ? geteuid() : 65534,
		.gid = geteuid() ? getegid() : 65534,
		.name = "mint" };
	(void)snprintf(me, sizeof(me), "%u:%u", user.uid, user.gid);
	(void)signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(loop_new(&loop, NULL), 0);
	ck_assert_int_eq(reaper_start(&reaper, loop, NULL), 0);
	command.user = strdup(me);
	command.cwd = strdup("/tmp");
	agent_init(&agent, loop, &ops, peer_dial);
	service_init(&service, loop, &reaper, &command, &agent);
	log_.fd = -1;
	service_take(&service, peer_open(&peer, loop));
}

static void teardown(void)
{
	peer_close(&peer);
	child_kill(&agent.child, SIGKILL);
	for (int i = 0; (service.count || service.running || agent.child.pid) && i < 1000; i++)
		ck_assert_int_eq(loop_step(loop, 10, NULL), 0);
	ck_assert_uint_eq(service.running, 0);
	ck_assert_uint_eq(service.count, 0);
	ck_assert_uint_eq(service.attached, 0);
	service_done(&service);
	agent_done(&agent);
	peer_close(&log_);
	reaper_done(&reaper);
	command_done(&command);
	loop_free(loop);
}

static void exec_tty(const char *script, uint32_t rows, uint32_t cols)
{
	uint8_t buf[4096];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_EXEC);
	guest_put_text(&w, GUEST_F_ARGV, "sh");
	guest_put_text(&w, GUEST_F_ARGV, "-c");
	guest_put_text(&w, GUEST_F_ARGV, script);
	guest_put_u32(&w, GUEST_F_TTY, 1);
	if (rows) {
		guest_put_u32(&w, GUEST_F_ROWS, rows);
		guest_put_u32(&w, GUEST_F_COLS, cols);
	}
	peer_send_raw(&peer, buf, (size_t)guest_writer_end(&w));
}

static void exec_program(const char *program)
{
	uint8_t buf[256];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_EXEC);
	guest_put_text(&w, GUEST_F_ARGV, program);
	guest_put_u32(&w, GUEST_F_TTY, 1);
	peer_send_raw(&peer, buf, (size_t)guest_writer_end(&w));
}

static char text[65536];

/* Reads until `want` was said (or something else than output came): the last frame's type. */
static int read_until(struct peer *p, const char *want)
{
	size_t n = 0;
	int type;

	text[0] = '\0';
	while ((type = peer_next(p, 10000)) == GUEST_STDOUT || type == GUEST_STDERR) {
		ck_assert_uint_lt(n + p->h.len, sizeof(text));
		memcpy(text + n, peer_payload(p), p->h.len);
		n += p->h.len;
		text[n] = '\0';
		if (want && strstr(text, want))
			return type;
	}
	ck_assert_msg(!want, "\"%s\" did not come, but %d and: %s", want, type, text);
	return type;
}

static void type_in(struct peer *p, const char *keys)
{
	peer_send(p, GUEST_STDIN, keys, strlen(keys));
}

START_TEST(a_terminal_of_its_own)
{
	exec_tty("tty; stty size; ps -o tpgid= -o pgid= -o sid= -p $$ | tr -s ' '; echo $TERM $$; "
		 "test -t 0 -a -t 1 -a -t 2 && echo all; exit 5",
		50, 132);
	ck_assert_int_eq(read_until(&peer, NULL), GUEST_EXITED);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_CODE, 999), 5);
	ck_assert_ptr_nonnull(strstr(text, "/dev/pts/"));
	ck_assert_ptr_nonnull(strstr(text, "50 132\r\n"));
	ck_assert_ptr_nonnull(strstr(text, "xterm "));
	ck_assert_ptr_nonnull(strstr(text, "all\r\n"));
	ck_assert_int_eq(peer_next(&peer, 5000), PEER_EOF);
}
END_TEST

START_TEST(keys_are_signals)
{
	exec_tty(
		"trap 'echo interrupted' INT; echo go; until read x; do :; done; echo got $x; read y; exit 7",
		0, 0);
	(void)read_until(&peer, "go\r\n");
	type_in(&peer, "\003");
	(void)read_until(&peer, "interrupted\r\n");
	type_in(&peer, "word\r");
	(void)read_until(&peer, "got ");
	peer_send(&peer, GUEST_STDIN, NULL, 0); /* the end-of-file key */
	ck_assert_int_eq(read_until(&peer, NULL), GUEST_EXITED);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_CODE, 999), 7);
}
END_TEST

/* The interrupt key reaches what runs in the foreground, and nobody else. */
START_TEST(the_key_is_for_the_foreground)
{
	exec_tty("set -m; trap 'echo shell' INT; "
		 "sh -c 'trap \"echo job; exit 3\" INT; echo go; while :; do sleep 0.05; done';"
		 "echo code $?; sh -c 'echo twice; while :; do sleep 0.05; done'; echo then $?",
		0, 0);
	(void)read_until(&peer, "go\r\n");
	type_in(&peer, "\003");
	(void)read_until(&peer, "twice\r\n");
	ck_assert_ptr_nonnull(strstr(text, "job\r\n"));
	ck_assert_ptr_nonnull(strstr(text, "code 3\r\n"));
	ck_assert_ptr_null(strstr(text, "shell"));
	type_in(&peer, "\034"); /* and the key for SIGQUIT */
	ck_assert_int_eq(read_until(&peer, NULL), GUEST_EXITED);
	ck_assert_ptr_nonnull(strstr(text, "then 131\r\n"));
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_CODE, 999), 0);
}
END_TEST

START_TEST(ends_of_every_kind)
{
	static const struct {
		const char *program;
		enum guest_frame_type type;
		enum guest_field field;
		uint32_t want;
	} cases[] = {
		{ "/no/such/program", GUEST_ERROR, GUEST_F_CODE, 127 },
		{ "no-such-program", GUEST_ERROR, GUEST_F_CODE, 127 },
		{ "/etc/passwd", GUEST_ERROR, GUEST_F_CODE, 126 },
		{ "/tmp", GUEST_ERROR, GUEST_F_CODE, 126 },
		{ "false", GUEST_EXITED, GUEST_F_CODE, 1 },
		{ NULL, GUEST_EXITED, GUEST_F_SIGNAL, SIGTERM },
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		if (cases[i].program)
			exec_program(cases[i].program);
		else
			exec_tty("kill -TERM $$", 0, 0);
		ck_assert_int_eq(read_until(&peer, NULL), cases[i].type);
		ck_assert_uint_eq(peer_u32(&peer, cases[i].field, 999), cases[i].want);
		ck_assert_int_eq(peer_next(&peer, 5000), PEER_EOF);
		peer_close(&peer);
		service_take(&service, peer_open(&peer, loop));
	}
}
END_TEST

/* A signal is for the program's own group, whatever is in the foreground. */
START_TEST(signals_go_to_its_group)
{
	uint8_t buf[GUEST_SMALL_FRAME];

	exec_tty("trap 'echo usr' USR1; echo go; while :; do sleep 0.05; done", 0, 0);
	(void)read_until(&peer, "go\r\n");
	peer_send_raw(&peer, buf, (size_t)guest_make_signal(buf, SIGUSR1));
	(void)read_until(&peer, "usr\r\n");
	peer_send_raw(&peer, buf, (size_t)guest_make_signal(buf, SIGKILL));
	ck_assert_int_eq(read_until(&peer, NULL), GUEST_EXITED);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_SIGNAL, 999), SIGKILL);
}
END_TEST

START_TEST(the_size_changes)
{
	uint8_t buf[GUEST_SMALL_FRAME];

	exec_tty("trap 'stty size' WINCH; stty size; echo go; while :; do sleep 0.05; done", 0, 0);
	(void)read_until(&peer, "24 80\r\ngo\r\n");
	peer_send_raw(&peer, buf, (size_t)guest_make_winsize(buf, 10, 40));
	(void)read_until(&peer, "10 40\r\n");
	/* Sizes that are none change nothing, and too much is cut. */
	peer_send_raw(&peer, buf, (size_t)guest_make_winsize(buf, 0, 40));
	peer_send_raw(&peer, buf, (size_t)guest_make_winsize(buf, UINT32_MAX, 41));
	(void)read_until(&peer, "4096 41\r\n");
}
END_TEST

/* The last output of a terminal comes, however fast its program ends. */
START_TEST(nothing_is_lost_at_the_end)
{
	for (int i = 0; i < 10; i++) {
		uint32_t got = 0;
		int type;

		exec_tty("stty -opost; head -c 20000 /dev/zero", 0, 0);
		if (i % 2)
			peer_pass(loop, 200);
		while ((type = peer_next(&peer, 10000)) == GUEST_STDOUT)
			got += peer.h.len;
		ck_assert_int_eq(type, GUEST_EXITED);
		ck_assert_uint_eq(got, 20000);
		peer_close(&peer);
		service_take(&service, peer_open(&peer, loop));
	}
}
END_TEST

/* More than every buffer on its way holds, and a reader that comes late and goes slowly. */
START_TEST(more_than_fits)
{
	const uint32_t all = 3000000;
	uint32_t got = 0;
	int type;

	exec_tty("stty -opost; head -c 3000000 /dev/zero | tr '\\0' x; exit 9", 0, 0);
	peer_pass(loop, 1500); /* longer than a terminal that was left is waited for */
	while ((type = peer_next(&peer, 10000)) == GUEST_STDOUT) {
		got += peer.h.len;
		if (got < 200000)
			peer_pass(loop, 50);
	}
	ck_assert_int_eq(type, GUEST_EXITED);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_CODE, 999), 9);
	ck_assert_uint_eq(got, all);
}
END_TEST

/* Somebody in the background keeps the terminal open: the end comes all the same. */
START_TEST(a_terminal_that_somebody_keeps)
{
	exec_tty("trap '' HUP; (trap '' HUP; exec setsid sleep 3) & sleep 0.1; echo bye", 0, 0);
	ck_assert_int_eq(read_until(&peer, NULL), GUEST_EXITED);
	ck_assert_ptr_nonnull(strstr(text, "bye\r\n"));
}
END_TEST

START_TEST(a_gone_host_hangs_up)
{
	char path[] = "/tmp/kosvm-tty-XXXXXX";
	int marker = mkstemp(path);
	char script[160];

	ck_assert_int_eq(fchmod(marker, 0666), 0);
	(void)snprintf(script, sizeof(script),
		"trap 'echo hup >%s; exit' HUP; echo go; while :; do sleep 0.05; done", path);
	exec_tty(script, 0, 0);
	(void)read_until(&peer, "go\r\n");
	peer_close(&peer);
	peer_pass(loop, 500);
	ck_assert_uint_eq(service.running, 0);
	ck_assert_int_eq((int)lseek(marker, 0, SEEK_END), 4);
	(void)close(marker);
	(void)unlink(path);
}
END_TEST

/* Who does not mind the hang-up is killed. */
START_TEST(a_gone_host_and_a_stubborn_program)
{
	exec_tty("trap '' HUP INT TERM; echo go; while :; do sleep 0.05; done", 0, 0);
	(void)read_until(&peer, "go\r\n");
	peer_close(&peer);
	peer_pass(loop, EXEC_HANGUP_MS / 2);
	ck_assert_uint_eq(service.running, 1);
	peer_pass(loop, EXEC_HANGUP_MS);
	ck_assert_uint_eq(service.running, 0);
}
END_TEST

/* ---- those who are attached ---- */

static void start_agent(const char *script, bool tty, bool fed)
{
	struct kerr e = { 0 };

	ck_assert_int_eq(words_add(&command.argv, "/bin/sh"), 0);
	ck_assert_int_eq(words_add(&command.argv, "-c"), 0);
	ck_assert_int_eq(words_add(&command.argv, script), 0);
	command.tty = tty;
	command.open_stdin = fed;
	peer_answer = peer_open(&log_, loop);
	ck_assert_msg(agent_start(&agent, &reaper, &command, &user, "/tmp", &e) == 0, "%s", e.msg);
}

static void attach(struct peer *p, uint32_t rows, uint32_t cols)
{
	uint8_t buf[GUEST_SMALL_FRAME];

	peer_send_raw(p, buf, (size_t)guest_make_attach(buf, rows, cols));
	peer_pass(loop, 20);
}

START_TEST(two_see_the_same)
{
	static struct peer other;

	service_take(&service, peer_open(&other, loop));
	start_agent(
		"echo early; read x; echo out $x; read y; echo err $y >&2; exit 6", false, true);
	ck_assert_int_eq(peer_next(&log_, 5000), GUEST_STDOUT);
	attach(&peer, 0, 0);
	attach(&other, 0, 0);
	type_in(&peer, "one\n");
	(void)read_until(&peer, "out one\n");
	ck_assert_ptr_null(strstr(text, "early"));
	(void)read_until(&other, "out one\n");
	type_in(&other, "two\n");
	ck_assert_int_eq(read_until(&peer, "err two\n"), GUEST_STDERR);
	ck_assert_int_eq(read_until(&other, "err two\n"), GUEST_STDERR);
	ck_assert_int_eq(read_until(&peer, NULL), GUEST_EXITED);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_CODE, 999), 6);
	ck_assert_int_eq(read_until(&other, NULL), GUEST_EXITED);
	ck_assert_int_eq(peer_next(&peer, 5000), PEER_EOF);
	peer_close(&other);
	/* And the log had it all. */
	(void)read_until(&log_, "err two\n");
	/* One who comes later hears of the end at once. */
	peer_close(&peer);
	service_take(&service, peer_open(&peer, loop));
	attach(&peer, 0, 0);
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_EXITED);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_CODE, 999), 6);
}
END_TEST

START_TEST(an_agent_on_a_terminal)
{
	uint8_t buf[GUEST_SMALL_FRAME];

	command.rows = 30;
	command.cols = 90;
	start_agent("stty size; trap 'stty size' WINCH; trap 'echo usr' USR1; trap 'echo int' INT; "
		    "echo go >&2; while :; do read x && echo got $x; done",
		true, false);
	(void)read_until(&log_, "go\r\n");
	ck_assert_ptr_nonnull(strstr(text, "30 90\r\n"));
	attach(&peer, 20, 70);
	(void)read_until(&peer, "20 70\r\n");
	peer_send_raw(&peer, buf, (size_t)guest_make_winsize(buf, 25, 71));
	(void)read_until(&peer, "25 71\r\n");
	type_in(&peer, "\003");
	(void)read_until(&peer, "int\r\n");
	type_in(&peer, "abc\r");
	(void)read_until(&peer, "got abc\r\n");
	peer_send_raw(&peer, buf, (size_t)guest_make_signal(buf, SIGUSR1));
	(void)read_until(&peer, "usr\r\n");
	/* Detaching leaves it alone. */
	peer_close(&peer);
	peer_pass(loop, 100);
	ck_assert_int_gt(agent.child.pid, 0);
	ck_assert_uint_eq(service.attached, 0);
}
END_TEST

START_TEST(input_ends)
{
	start_agent("cat; echo end", false, true);
	attach(&peer, 0, 0);
	type_in(&peer, "x\n");
	(void)read_until(&peer, "x\n");
	peer_send(&peer, GUEST_STDIN, NULL, 0);
	(void)read_until(&peer, "end\n");
	type_in(&peer, "more\n"); /* goes nowhere */
	ck_assert_int_eq(read_until(&peer, NULL), GUEST_EXITED);
}
END_TEST

/* Input from two, more than the pipe holds: each frame arrives whole, and none waits for ever. */
START_TEST(input_of_two)
{
	static struct peer other;
	static uint8_t block[50000];
	uint32_t got = 0;

	service_take(&service, peer_open(&other, loop));
	start_agent("sleep 0.3; cat", false, true);
	attach(&peer, 0, 0);
	attach(&other, 0, 0);
	for (int i = 0; i < 4; i++) {
		memset(block, 'a', sizeof(block));
		peer_send(&peer, GUEST_STDIN, block, sizeof(block));
		memset(block, 'b', sizeof(block));
		peer_send(&other, GUEST_STDIN, block, sizeof(block));
	}
	/* One goes with its frame half in the pipe, perhaps. */
	peer_close(&other);
	while (got < 4 * sizeof(block)) {
		ck_assert_int_eq(peer_next(&peer, 5000), GUEST_STDOUT);
		for (uint32_t i = 0; i < peer.h.len; i++)
			got += peer_payload(&peer)[i] == 'a';
	}
}
END_TEST

/* Takes what the log has, as kosvmd does. */
static void take_log(uint32_t *logged)
{
	uint8_t buf[GUEST_SMALL_FRAME];
	struct pollfd p = { .fd = log_.fd, .events = POLLIN };

	if (poll(&p, 1, 0) <= 0)
		return;
	ck_assert_int_eq(peer_next(&log_, 5000), GUEST_STDOUT);
	*logged += log_.h.len;
	peer_send_raw(&log_, buf, (size_t)guest_make_u64(buf, GUEST_ACK, GUEST_F_BYTES, *logged));
}

/* And what one who is attached has; not later than 40 s after the start. */
static void take_both(struct peer *p, uint32_t *got, uint32_t *logged, uint64_t start)
{
	struct pollfd poll_it = { .fd = p->fd, .events = POLLIN };

	take_log(logged);
	if (poll(&poll_it, 1, 0) > 0) {
		ck_assert_int_eq(peer_next(p, 5000), GUEST_STDOUT);
		*got += p->h.len;
	}
	ck_assert_int_eq(loop_step(loop, 5, NULL), 0);
	ck_assert_uint_lt(clock_mono_ns() - start, 40 * CLOCK_NS_PER_S);
}

/* It holds the agent for a while, as a slow terminal does, and then is told, and let go. */
static void expect_told(struct peer *other, uint32_t *got, uint32_t *logged, uint64_t start)
{
	int type;

	while (service.attached == 2)
		take_both(other, got, logged, start);
	ck_assert_uint_ge(clock_mono_ns() - start, (GUEST_ATTACH_STALL_MS - 500) * CLOCK_NS_PER_MS);
	while ((type = peer_next(&peer, 5000)) == GUEST_STDOUT)
		;
	ck_assert_int_eq(type, GUEST_ERROR);
	ck_assert(peer_has_text(&peer, "not read in time"));
}

/* The log and the others have it all. */
START_TEST(a_reader_that_stops)
{
	static struct peer other;
	const uint32_t all = 3000000;
	uint64_t start = clock_mono_ns();
	uint32_t got = 0;
	uint32_t logged = 0;

	service_take(&service, peer_open(&other, loop));
	start_agent("sleep 0.2; head -c 3000000 /dev/zero; sleep 100", false, false);
	attach(&peer, 0, 0);  /* reads nothing */
	attach(&other, 0, 0); /* reads */
	expect_told(&other, &got, &logged, start);
	ck_assert_uint_lt(got, all);
	while (got < all || logged < all)
		take_both(&other, &got, &logged, start);
	peer_close(&other);
}
END_TEST

/* Records that fill the stream's buffer up to its last bytes: it is told all the same. */
START_TEST(a_reader_that_stops_when_all_is_full)
{
	static const uint8_t block[1000];
	static struct peer other;
	uint64_t start = clock_mono_ns();
	uint32_t sent = 0;
	uint32_t got = 0;
	uint32_t logged = 0;

	service_take(&service, peer_open(&other, loop));
	start_agent("exec cat", false, true);
	attach(&peer, 0, 0);
	attach(&other, 0, 0);
	/* One at a time, so that each is a record of its own. */
	while (got == sent && service.attached == 2) {
		uint64_t asked = clock_mono_ns();

		peer_send(&other, GUEST_STDIN, block, sizeof(block));
		sent += sizeof(block);
		while (got < sent && clock_mono_ns() - asked < 500 * CLOCK_NS_PER_MS)
			take_both(&other, &got, &logged, start);
	}
	ck_assert_uint_gt(sent, GUEST_FRAME_MAX);
	expect_told(&other, &got, &logged, start);
	while (got < sent || logged < sent)
		take_both(&other, &got, &logged, start);
	peer_close(&other);
}
END_TEST

START_TEST(only_so_many)
{
	static struct peer many[ATTACH_MAX];

	start_agent("sleep 100", false, false);
	for (unsigned i = 0; i < ATTACH_MAX; i++) {
		service_take(&service, peer_open(&many[i], loop));
		attach(&many[i], 0, 0);
	}
	attach(&peer, 0, 0);
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_ERROR);
	ck_assert(peer_has_text(&peer, "8 are attached"));
	for (unsigned i = 0; i < ATTACH_MAX; i++)
		peer_close(&many[i]);
}
END_TEST

START_TEST(nothing_to_attach_to)
{
	attach(&peer, 0, 0);
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_ERROR);
	ck_assert(peer_has_text(&peer, "not started"));
}
END_TEST

START_TEST(frames_that_do_not_belong_there)
{
	static const struct {
		enum guest_frame_type type;
		const char *payload;
		size_t len;
	} cases[] = {
		{ GUEST_WINSIZE, "x", 1 },
		{ GUEST_SIGNAL, "", 0 },
		{ GUEST_STDOUT, "x", 1 },
		{ GUEST_ATTACH, "", 0 },
		{ GUEST_EXEC, "", 0 },
	};

	start_agent("sleep 100", true, false);
	for (size_t i = 0; i < array_size(cases); i++) {
		attach(&peer, 0, 0);
		peer_send(&peer, cases[i].type, cases[i].payload, cases[i].len);
		ck_assert_int_eq(peer_next(&peer, 5000), PEER_EOF);
		peer_close(&peer);
		service_take(&service, peer_open(&peer, loop));
	}
	peer_send(&peer, GUEST_ATTACH, "\x11\0\0\0\x03\0\0\0abc", 11);
	ck_assert_int_eq(peer_next(&peer, 5000), PEER_EOF);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("guest_tty");
	TCase *t = tcase_create("guest_tty");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_terminal_of_its_own);
	tcase_add_test(t, keys_are_signals);
	tcase_add_test(t, the_key_is_for_the_foreground);
	tcase_add_test(t, ends_of_every_kind);
	tcase_add_test(t, signals_go_to_its_group);
	tcase_add_test(t, the_size_changes);
	tcase_add_test(t, nothing_is_lost_at_the_end);
	tcase_add_test(t, more_than_fits);
	tcase_add_test(t, a_terminal_that_somebody_keeps);
	tcase_add_test(t, a_gone_host_hangs_up);
	tcase_add_test(t, a_gone_host_and_a_stubborn_program);
	tcase_add_test(t, two_see_the_same);
	tcase_add_test(t, an_agent_on_a_terminal);
	tcase_add_test(t, input_ends);
	tcase_add_test(t, input_of_two);
	tcase_add_test(t, a_reader_that_stops);
	tcase_add_test(t, a_reader_that_stops_when_all_is_full);
	tcase_add_test(t, only_so_many);
	tcase_add_test(t, nothing_to_attach_to);
	tcase_add_test(t, frames_that_do_not_belong_there);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
