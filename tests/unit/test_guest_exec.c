#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include <base/cleanup.h>

#include "exec.h"
#include "guest_peer.h"
#include "service.h"

/* The service with real programs, run as whoever runs the test (an unprivileged user if root does).
 */
static struct loop *loop;
static struct reaper reaper;
static struct service service;
static struct command agent;
static struct agent no_agent;
static struct peer peer;
static char me[32];

static void setup(void)
{
	uid_t uid = geteuid() ? geteuid() : 65534;
	gid_t gid = geteuid() ? getegid() : 65534;

	(void)snprintf(me, sizeof(me), "%u:%u", uid, gid);
	ck_assert_int_eq(loop_new(&loop, NULL), 0);
	ck_assert_int_eq(reaper_start(&reaper, loop, NULL), 0);
	(void)signal(SIGPIPE, SIG_IGN);
	agent.user = strdup(me);
	agent.cwd = strdup("/tmp");
	ck_assert_int_eq(words_add(&agent.env, "COLOUR=green"), 0);
	agent_init(&no_agent, loop, NULL, peer_dial);
	service_init(&service, loop, &reaper, &agent, &no_agent);
	service_take(&service, peer_open(&peer, loop));
}

static void teardown(void)
{
	peer_close(&peer);
	for (int i = 0; (service.count || service.running) && i < 1000; i++)
		ck_assert_int_eq(loop_step(loop, 10, NULL), 0);
	ck_assert_uint_eq(service.running, 0);
	ck_assert_uint_eq(service.count, 0); /* every program and stream was let go */
	service_done(&service);
	reaper_done(&reaper);
	command_done(&agent);
	loop_free(loop);
}

/* user, cwd, env: NULL when not given. */
static void ask(
	struct peer *p, const char *script, const char *user, const char *cwd, const char *env)
{
	static uint8_t buf[4096];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_EXEC);
	guest_put_text(&w, GUEST_F_ARGV, "sh");
	guest_put_text(&w, GUEST_F_ARGV, "-c");
	guest_put_text(&w, GUEST_F_ARGV, script);
	if (user)
		guest_put_text(&w, GUEST_F_USER, user);
	if (cwd)
		guest_put_text(&w, GUEST_F_CWD, cwd);
	if (env)
		guest_put_text(&w, GUEST_F_ENV, env);
	peer_send_raw(p, buf, (size_t)guest_writer_end(&w));
}

static void ask_program(struct peer *p, const char *program)
{
	uint8_t buf[512];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_EXEC);
	guest_put_text(&w, GUEST_F_ARGV, program);
	peer_send_raw(p, buf, (size_t)guest_writer_end(&w));
}

/* Collects output until the last frame: its type. */
static int collect(struct peer *p, char *out, char *err, size_t size)
{
	size_t no = 0;
	size_t ne = 0;
	int type;

	while ((type = peer_next(p, 10000)) == GUEST_STDOUT || type == GUEST_STDERR) {
		char *to = type == GUEST_STDOUT ? out : err;
		size_t *n = type == GUEST_STDOUT ? &no : &ne;

		ck_assert_uint_lt(*n + p->h.len, size);
		memcpy(to + *n, peer_payload(p), p->h.len);
		*n += p->h.len;
	}
	out[no] = err[ne] = '\0';
	return type;
}

static void expect_code(struct peer *p, uint32_t code)
{
	ck_assert_uint_eq(peer_u32(p, GUEST_F_CODE, 999), code);
	ck_assert_uint_eq(peer_u32(p, GUEST_F_SIGNAL, 999), 999);
	ck_assert_int_eq(peer_next(p, 5000), PEER_EOF);
}

/* A new stream in the place of the old one. */
static void again(void)
{
	peer_close(&peer);
	service_take(&service, peer_open(&peer, loop));
}

START_TEST(output_and_code)
{
	char out[256];
	char err[256];

	ask(&peer, "echo out; echo err >&2; exit 7", NULL, NULL, NULL);
	ck_assert_int_eq(collect(&peer, out, err, sizeof(out)), GUEST_EXITED);
	ck_assert_str_eq(out, "out\n");
	ck_assert_str_eq(err, "err\n");
	expect_code(&peer, 7);
}
END_TEST

START_TEST(what_the_program_finds)
{
	char out[512];
	char err[256];
	char want[256];

	ask(&peer,
		"echo $COLOUR $EXTRA; pwd; echo $(id -u):$(id -g) $(id -G); "
		"grep -E '^(NoNewPrivs|SigIgn|SigBlk)' /proc/self/status | tr -d '\\t\\n'; "
		"ls /proc/self/fd | wc -l; echo $PATH; read x || echo eof",
		NULL, "/", "EXTRA=more");
	peer_send(&peer, GUEST_STDIN, NULL, 0);
	ck_assert_int_eq(collect(&peer, out, err, sizeof(out)), GUEST_EXITED);
	(void)snprintf(want, sizeof(want), "green more\n/\n%s ", me);
	ck_assert_int_eq(strncmp(out, want, strlen(want)), 0);
	/* 0, 1, 2 and ls's own: no descriptor of the service's. */
	ck_assert_ptr_nonnull(
		strstr(out, "SigBlk:0000000000000000SigIgn:0000000000000000NoNewPrivs:14\n"));
	ck_assert_ptr_nonnull(strstr(out, "/usr/bin:"));
	ck_assert_ptr_nonnull(strstr(out, "eof\n"));
	ck_assert_str_eq(err, "");
	expect_code(&peer, 0);
}
END_TEST

START_TEST(no_groups_and_no_capabilities)
{
	const gid_t one = 4;
	char out[512];
	char err[256];

	ck_assert_int_eq(setgroups(1, &one), 0); /* whoever started us had some */
	ask(&peer, "grep -E '^(Groups|CapEff|CapBnd)' /proc/self/status | tr -d ' \\t\\n'", NULL,
		NULL, NULL);
	ck_assert_int_eq(collect(&peer, out, err, sizeof(out)), GUEST_EXITED);
	ck_assert_str_eq(out, "Groups:CapEff:0000000000000000CapBnd:0000000000000000");
	expect_code(&peer, 0);
}
END_TEST

START_TEST(root_when_the_host_asks)
{
	char out[64];
	char err[64];

	ask(&peer, "id -u", "0", NULL, NULL);
	ck_assert_int_eq(collect(&peer, out, err, sizeof(out)), GUEST_EXITED);
	ck_assert_str_eq(out, "0\n");
	expect_code(&peer, 0);
}
END_TEST

/* The agent's user is never root, whatever its configuration says. */
START_TEST(root_when_nobody_asked)
{
	free(agent.user);
	agent.user = strdup("0");
	ask(&peer, "id -u", NULL, NULL, NULL);
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_ERROR);
	expect_code(&peer, 126);
}
END_TEST

START_TEST(codes_of_what_cannot_run)
{
	ask_program(&peer, "/nonexistent/prog");
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_ERROR);
	ck_assert(peer_has_text(&peer, "/nonexistent/prog: No such file or directory"));
	expect_code(&peer, 127);

	again();
	ask_program(&peer, "no-such-program-in-path");
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_ERROR);
	expect_code(&peer, 127);

	again();
	ask_program(&peer, "/etc/passwd");
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_ERROR);
	ck_assert(peer_has_text(&peer, "/etc/passwd: Permission denied"));
	expect_code(&peer, 126);

	again();
	ask(&peer, "true", NULL, "/nonexistent", NULL);
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_ERROR);
	ck_assert(peer_has_text(&peer, "working directory /nonexistent: No such file"));
	expect_code(&peer, 126);

	again();
	ask(&peer, "true", "nosuchuser", NULL, NULL);
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_ERROR);
	ck_assert(peer_has_text(&peer, "nosuchuser"));
	expect_code(&peer, 126);
}
END_TEST

START_TEST(a_missing_interpreter_is_named)
{
	char path[] = "/tmp/kosvm-exec-XXXXXX";
	_cleanup_close_ int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq((int)write(fd, "#!/nonexistent/python\n", 22), 22);
	ck_assert_int_eq(fchmod(fd, 0755), 0);
	close_fd(&fd);
	ask_program(&peer, path);
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_ERROR);
	ck_assert(peer_has_text(&peer, "interpreter"));
	expect_code(&peer, 127);
	(void)unlink(path);
}
END_TEST

START_TEST(a_signal_is_told)
{
	ask(&peer, "sleep 100", NULL, NULL, NULL);
	peer_pass(loop, 100);
	peer_send_raw(
		&peer, "\x0e\0\0\0\x0c\0\0\0\x0c\0\0\0\x04\0\0\0\x0f\0\0\0", 20); /* SIGTERM */
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_EXITED);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_SIGNAL, 0), SIGTERM);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_CODE, 999), 999);
	ck_assert_int_eq(peer_next(&peer, 5000), PEER_EOF);
}
END_TEST

/* More input than every buffer together, through cat and back, while nobody loses a byte. */
START_TEST(input_comes_back_whole)
{
	static uint8_t block[50000];
	uint32_t sent = 0;
	uint32_t got = 0;
	int type;

	ask(&peer, "cat", NULL, NULL, NULL);
	while (sent < 20 * sizeof(block)) {
		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = (uint8_t)((sent + i) % 253);
		peer_send(&peer, GUEST_STDIN, block, sizeof(block));
		sent += sizeof(block);
		while (got + 150000 < sent) {
			ck_assert_int_eq(peer_next(&peer, 5000), GUEST_STDOUT);
			for (uint32_t i = 0; i < peer.h.len; i++)
				ck_assert_uint_eq(peer_payload(&peer)[i], (got + i) % 253);
			got += peer.h.len;
		}
	}
	peer_send(&peer, GUEST_STDIN, NULL, 0);
	while ((type = peer_next(&peer, 5000)) == GUEST_STDOUT) {
		for (uint32_t i = 0; i < peer.h.len; i++)
			ck_assert_uint_eq(peer_payload(&peer)[i], (got + i) % 253);
		got += peer.h.len;
	}
	ck_assert_int_eq(type, GUEST_EXITED);
	ck_assert_uint_eq(got, sent);
	expect_code(&peer, 0);
}
END_TEST

START_TEST(input_that_nobody_reads)
{
	static const uint8_t block[60000];

	ask(&peer, "exec <&-; sleep 0.2; exit 3", NULL, NULL, NULL);
	for (int i = 0; i < 5; i++)
		peer_send(&peer, GUEST_STDIN, block, sizeof(block));
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_EXITED);
	ck_assert_uint_eq(peer_u32(&peer, GUEST_F_CODE, 999), 3);
}
END_TEST

START_TEST(output_before_the_end_is_never_lost)
{
	uint32_t got = 0;
	int type;

	/* The program is gone long before its output is read, and leaves somebody with the pipe. */
	ask(&peer, "sleep 300 & head -c 60000 /dev/zero; exit 0", NULL, NULL, NULL);
	peer_pass(loop, 300);
	while ((type = peer_next(&peer, 5000)) == GUEST_STDOUT)
		got += peer.h.len;
	ck_assert_int_eq(type, GUEST_EXITED);
	ck_assert_uint_eq(got, 60000);
	expect_code(&peer, 0);
}
END_TEST

START_TEST(a_slow_reader_stops_nobody_else)
{
	static struct peer slow;
	char out[64];
	char err[64];
	uint32_t got = 0;
	int type;

	service_take(&service, peer_open(&slow, loop));
	ask(&slow, "head -c 2000000 /dev/zero", NULL, NULL, NULL);
	peer_pass(loop, 100);
	ask(&peer, "echo quick", NULL, NULL, NULL);
	ck_assert_int_eq(collect(&peer, out, err, sizeof(out)), GUEST_EXITED);
	ck_assert_str_eq(out, "quick\n");
	while ((type = peer_next(&slow, 5000)) == GUEST_STDOUT)
		got += slow.h.len;
	ck_assert_int_eq(type, GUEST_EXITED);
	ck_assert_uint_eq(got, 2000000);
	peer_close(&slow);
}
END_TEST

/* The host goes away: SIGHUP for those who listen to it, SIGKILL for those who do not. */
START_TEST(a_gone_host_ends_the_program)
{
	static struct peer stubborn;

	service_take(&service, peer_open(&stubborn, loop));
	ask(&peer, "sleep 100", NULL, NULL, NULL);
	ask(&stubborn, "trap '' HUP PIPE; while :; do echo y; sleep 0.01; done", NULL, NULL, NULL);
	peer_pass(loop, 200);
	ck_assert_uint_eq(service.count, 2);
	peer_close(&peer);
	peer_close(&stubborn);
	peer_pass(loop, 500);
	ck_assert_uint_eq(service.count, 0);
	ck_assert_uint_eq(service.running, 1);
	peer_pass(loop, EXEC_HANGUP_MS);
	ck_assert_uint_eq(service.running, 0);
}
END_TEST

START_TEST(frames_out_of_place)
{
	static const struct {
		enum guest_frame_type type;
		const char *payload;
		size_t len;
	} cases[] = {
		{ GUEST_STDIN, "x", 1 },
		{ GUEST_SIGNAL, "\x0c\0\0\0\x04\0\0\0\x0f\0\0\0", 12 },
		{ GUEST_CONFIG, "", 0 },
		{ GUEST_STDOUT, "x", 1 },
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		peer_send(&peer, cases[i].type, cases[i].payload, cases[i].len);
		ck_assert_int_eq(peer_next(&peer, 5000), PEER_EOF);
		peer_close(&peer);
		service_take(&service, peer_open(&peer, loop));
	}
	/* After the start: a second EXEC, and signals that are none. */
	ask(&peer, "sleep 100", NULL, NULL, NULL);
	ask(&peer, "true", NULL, NULL, NULL);
	ck_assert_int_eq(peer_next(&peer, 5000), PEER_EOF);
	peer_close(&peer);
	service_take(&service, peer_open(&peer, loop));
	ask(&peer, "sleep 100", NULL, NULL, NULL);
	peer_send(&peer, GUEST_SIGNAL, "\x0c\0\0\0\x04\0\0\0\xff\0\0\0", 12);
	ck_assert_int_eq(peer_next(&peer, 5000), PEER_EOF);
}
END_TEST

START_TEST(a_malformed_command_is_an_error)
{
	peer_send(&peer, GUEST_EXEC, "abc", 3);
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_ERROR);
	expect_code(&peer, 126);
}
END_TEST

START_TEST(only_so_many_at_once)
{
	static struct peer many[EXEC_MAX];

	for (unsigned i = 0; i < EXEC_MAX; i++) {
		service_take(&service, peer_open(&many[i], loop));
		ask(&many[i], "sleep 100", NULL, NULL, NULL);
		peer_pass(loop, 5);
	}
	ck_assert_uint_eq(service.running, EXEC_MAX);
	ask(&peer, "true", NULL, NULL, NULL);
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_ERROR);
	ck_assert(peer_has_text(&peer, "32 programs"));
	expect_code(&peer, 126);
	/* The refused host may still write: it has not read the refusal yet. */
	peer_send(&peer, GUEST_STDIN, "x", 1);
	for (unsigned i = 0; i < EXEC_MAX; i++)
		peer_close(&many[i]);
	peer_close(&peer);
	peer_pass(loop, 300);
	ck_assert_uint_eq(service.running, 0);
	ck_assert_uint_eq(service.count, 0);
	service_take(&service, peer_open(&peer, loop));
	ask(&peer, "exit 0", NULL, NULL, NULL);
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_EXITED);
	/* A host that never closes is not waited for for ever. */
	peer_pass(loop, SERVICE_LINGER_MS + 200);
	ck_assert_uint_eq(service.count, 0);
}
END_TEST

/* Who connects and says nothing is not waited for, and there are only so many of them. */
START_TEST(silent_callers)
{
	static struct peer many[SERVICE_STREAMS_MAX];
	unsigned refused = 0;

	for (unsigned i = 0; i < SERVICE_STREAMS_MAX; i++)
		service_take(&service, peer_open(&many[i], loop));
	/* One came with the fixture. */
	ck_assert_uint_eq(service.count, SERVICE_STREAMS_MAX);
	ck_assert_int_eq(peer_next(&many[SERVICE_STREAMS_MAX - 1], 1000), PEER_EOF);
	peer_pass(loop, SERVICE_START_MS / 2);
	ck_assert_uint_eq(service.count, SERVICE_STREAMS_MAX);
	peer_pass(loop, SERVICE_START_MS / 2 + 500);
	for (unsigned i = 0; i < SERVICE_STREAMS_MAX - 1; i++) {
		ck_assert_int_eq(peer_next(&many[i], 1000), GUEST_ERROR);
		refused += (unsigned)peer_has_text(&many[i], "no request came in time");
	}
	ck_assert_uint_eq(refused, SERVICE_STREAMS_MAX - 1);
	/* Nor for its closing. */
	peer_pass(loop, SERVICE_LINGER_MS + 500);
	ck_assert_uint_eq(service.count, 0);
	for (unsigned i = 0; i < SERVICE_STREAMS_MAX; i++)
		peer_close(&many[i]);
}
END_TEST

START_TEST(nothing_new_while_stopping)
{
	service.stopping = true;
	ask(&peer, "true", NULL, NULL, NULL);
	ck_assert_int_eq(peer_next(&peer, 5000), GUEST_ERROR);
	ck_assert(peer_has_text(&peer, "shutting down"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("guest_exec");
	TCase *t = tcase_create("guest_exec");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, output_and_code);
	tcase_add_test(t, what_the_program_finds);
	if (geteuid() == 0) {
		tcase_add_test(t, no_groups_and_no_capabilities);
		tcase_add_test(t, root_when_the_host_asks);
		tcase_add_test(t, root_when_nobody_asked);
	}
	tcase_add_test(t, codes_of_what_cannot_run);
	tcase_add_test(t, a_missing_interpreter_is_named);
	tcase_add_test(t, a_signal_is_told);
	tcase_add_test(t, input_comes_back_whole);
	tcase_add_test(t, input_that_nobody_reads);
	tcase_add_test(t, output_before_the_end_is_never_lost);
	tcase_add_test(t, a_slow_reader_stops_nobody_else);
	tcase_add_test(t, a_gone_host_ends_the_program);
	tcase_add_test(t, frames_out_of_place);
	tcase_add_test(t, a_malformed_command_is_an_error);
	tcase_add_test(t, only_so_many_at_once);
	tcase_add_test(t, silent_callers);
	tcase_add_test(t, nothing_new_while_stopping);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
