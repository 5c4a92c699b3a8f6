#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/clock.h>
#include <base/io.h>

#include "guest_link.h"
#include "sup_fixture.h"

#define GRACE (3 * CLOCK_NS_PER_S)

static struct guest_link *g;
static struct agent_log *guest_log;
static int control;
static unsigned readies, exits, faults, beats, ups;
static bool is_up;
static int exit_code, exit_signal;
static char fault_text[512];

static char *argv_words[] = { (char *)"/bin/agent", (char *)"-x", NULL };
static char *env_words[] = { (char *)"A=b", NULL };
static struct manifest manifest = {
	.name = "echo-mint",
	.user = "1000:1000",
	.workdir = "/state",
	.state = 8 << 20,
	.argv = argv_words,
	.env = env_words,
};

static void on_ready(void *user)
{
	ck_assert_ptr_eq(user, &manifest);
	readies++;
}

static void on_exited(void *user, int code, int signal)
{
	(void)user;
	exits++;
	exit_code = code;
	exit_signal = signal;
}

static void on_fault(void *user, const char *text)
{
	(void)user;
	faults++;
	(void)snprintf(fault_text, sizeof(fault_text), "%s", text);
}

static void on_beat(void *user)
{
	(void)user;
	beats++;
}

static void on_linked(void *user, bool up)
{
	(void)user;
	ck_assert(up != is_up);
	is_up = up;
	ups += up;
}

static const struct guest_link_ops ops = {
	.ready = on_ready,
	.exited = on_exited,
	.fault = on_fault,
	.beat = on_beat,
	.linked = on_linked,
};

static struct guest_link_config cfg;

static void setup(void)
{
	cfg = (struct guest_link_config){ .manifest = &manifest, .ops = &ops, .user = &manifest };
	fx_setup();
	readies = exits = faults = beats = ups = 0;
	is_up = false;
	ck_assert_int_eq(agent_log_open(&guest_log, fx_dir, 1 << 20, &fx_err), 0);
	cfg.log = guest_log;
	ck_assert_int_eq(guest_link_new(&g, fx_loop, &cfg, &fx_err), 0);
	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_CONTROL, 1000, &control), 0);
}

static void teardown(void)
{
	if (control >= 0)
		(void)close(control);
	guest_link_free(g);
	agent_log_close(guest_log);
	fx_teardown();
}

/* One frame with up to one number and one text in it. */
static void say(
	int fd, enum guest_frame_type type, enum guest_field f, int64_t number, const char *text)
{
	uint8_t buf[1024];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), type);
	if (number >= 0)
		guest_put_u32(&w, f, (uint32_t)number);
	if (text)
		guest_put_text(&w, GUEST_F_TEXT, text);
	ck_assert_int_eq(io_write_full(fd, buf, (size_t)guest_writer_end(&w)), 0);
}

static void hello(void)
{
	say(control, GUEST_HELLO, GUEST_F_PROTO_VERSION, GUEST_PROTO_VERSION, NULL);
	fx_run_ms(10);
}

/* Takes one frame of kosvmd; its type. */
static unsigned hear(uint8_t *buf, struct guest_frame_hdr *h)
{
	uint8_t raw[8];

	ck_assert_int_eq(io_read_full(control, raw, sizeof(raw)), 0);
	ck_assert_int_eq(guest_hdr_decode(raw, h), 0);
	ck_assert_int_eq(io_read_full(control, buf, h->len), 0);
	return h->type;
}

START_TEST(a_whole_life)
{
	uint8_t buf[GUEST_FRAME_MAX];
	struct guest_frame_hdr h;
	struct guest_value v;
	size_t pos = 0;
	unsigned fields = 0;
	uint32_t n = 0;

	ck_assert_int_eq(guest_link_shutdown(g, GRACE), -ENOTCONN);
	hello();
	ck_assert_uint_eq(hear(buf, &h), GUEST_CONFIG);
	while (guest_field_next(buf, h.len, &pos, &v) == 1) {
		fields |= 1u << v.field;
		if (v.field == GUEST_F_HAS_STATE)
			ck_assert(guest_value_u32(&v, &n) == 0 && n == 1);
		if (v.field == GUEST_F_CWD)
			ck_assert_mem_eq(v.data, "/state", v.len);
	}
	ck_assert_uint_eq(fields,
		1u << GUEST_F_HOSTNAME | 1u << GUEST_F_USER | 1u << GUEST_F_CWD |
			1u << GUEST_F_TIME_NS | 1u << GUEST_F_HAS_STATE | 1u << GUEST_F_ARGV |
			1u << GUEST_F_ENV | 1u << GUEST_F_TTY | 1u << GUEST_F_STDIN);
	say(control, GUEST_READY, GUEST_F_PID, 7, NULL);
	fx_run_ms(10);
	ck_assert_uint_eq(readies, 1);
	ck_assert_int_eq(guest_link_shutdown(g, GRACE), 0);
	ck_assert_uint_eq(hear(buf, &h), GUEST_SHUTDOWN);
	pos = 0;
	ck_assert_int_eq(guest_field_next(buf, h.len, &pos, &v), 1);
	ck_assert(guest_value_u32(&v, &n) == 0 && n == 3000);
	say(control, GUEST_EXITED, GUEST_F_SIGNAL, 15, NULL);
	say(control, GUEST_BYE, GUEST_F_PID, -1, NULL);
	fx_run_ms(10);
	ck_assert_uint_eq(exits, 1);
	ck_assert_int_eq(exit_code, -1);
	ck_assert_int_eq(exit_signal, 15);
	ck_assert_uint_eq(faults, 0);
}
END_TEST

START_TEST(answers_ping)
{
	static const char frame[] = "\x08\0\0\0\x05\0\0\0no\0it"; /* no fields */
	uint8_t buf[GUEST_FRAME_MAX];
	struct guest_frame_hdr h;

	hello();
	(void)hear(buf, &h);
	ck_assert_int_eq(io_write_full(control, frame, 13), 0);
	fx_run_ms(10);
	ck_assert_uint_eq(hear(buf, &h), GUEST_PONG);
	ck_assert_uint_eq(h.len, 5);
	ck_assert_mem_eq(buf, "no\0it", 5);
	ck_assert_uint_eq(faults, 0);
}
END_TEST

/* Pings without end and nothing read: the link goes, kosvmd stays. */
START_TEST(ping_flood)
{
	static uint8_t frame[8 + 4096] = { GUEST_PING, 0, 0, 0, 0, 16 };

	hello();
	ck_assert_int_eq(io_set_nonblock(control, 1), 0);
	for (int i = 0; i < 10000 && faults == 0; i++) {
		(void)!write(control, frame, sizeof(frame));
		ck_assert_int_eq(loop_step(fx_loop, 0, &fx_err), 0);
	}
	ck_assert_uint_eq(faults, 1);
	ck_assert_ptr_nonnull(strstr(fault_text, "does not read"));
}
END_TEST

static const struct {
	const char *bytes;
	size_t len;
	bool after_hello;
	bool after_ready;
} broken[] = {
	{ "\0\0\0\0\0\0\0\0", 8, false, false },         /* no such type */
	{ "\x01\0\x01\0\0\0\0\0", 8, false, false },     /* reserved */
	{ "\x01\0\0\0\x01\0\x01\0", 8, false, false },   /* longer than a frame */
	{ "\x01\0\0\0\0\0\0\0", 8, false, false },       /* HELLO without a version */
	{ "\x01\0\0\0\x03\0\0\0abc", 11, false, false }, /* half a field */
	{ "\x03\0\0\0\0\0\0\0", 8, false, false },       /* READY before HELLO */
	{ "\x08\0\0\0\0\0\0\0", 8, false, false },       /* PING before HELLO */
	{ "\x09\0\0\0\0\0\0\0", 8, true, false },        /* PONG that nobody asked for */
	{ "\x02\0\0\0\0\0\0\0", 8, true, false },        /* CONFIG is ours to say */
	{ "\x0c\0\0\0\0\0\0\0", 8, true, false },        /* STDOUT belongs elsewhere */
	{ "\x05\0\0\0\0\0\0\0", 8, true, true },         /* EXITED without a code */
	{ "\x05\0\0\0\x0c\0\0\0\x0b\0\0\0\x04\0\0\0\0\0\0\0", 20, true, false },  /* before READY */
	{ "\x05\0\0\0\x0c\0\0\0\x0b\0\0\0\x04\0\0\0\0\x01\0\0", 20, true, true }, /* code 256 */
	{ "\x05\0\0\0\x0c\0\0\0\x0c\0\0\0\x04\0\0\0\x41\0\0\0", 20, true, true }, /* signal 65 */
	{ "\x05\0\0\0\x0b\0\0\0\x0b\0\0\0\x03\0\0\0\0\0\0", 19, true, true },     /* short number */
	{ "\x03\0\0\0\0\0\0\0", 8, true, true },                                  /* READY twice */
};

START_TEST(breaks_the_protocol)
{
	if (broken[_i].after_hello)
		hello();
	if (broken[_i].after_ready)
		say(control, GUEST_READY, GUEST_F_PID, 1, NULL);
	ck_assert_int_eq(io_write_full(control, broken[_i].bytes, broken[_i].len), 0);
	fx_run_ms(10);
	ck_assert_uint_eq(faults, 1);
	ck_assert_str_eq(fault_text, "guest broke the protocol on its control stream");
	ck_assert_uint_eq(readies, broken[_i].after_ready);
	ck_assert_uint_eq(exits, 0);
	ck_assert_int_eq(guest_link_shutdown(g, GRACE), -ENOTCONN);
}
END_TEST

START_TEST(says_why)
{
	hello();
	say(control, GUEST_ERROR, GUEST_F_CODE, 1, "no \033[31m\xff\nroom");
	fx_run_ms(10);
	ck_assert_uint_eq(faults, 1);
	ck_assert_str_eq(fault_text, "guest: no ?[31m??room");
}
END_TEST

START_TEST(other_version)
{
	say(control, GUEST_HELLO, GUEST_F_PROTO_VERSION, 99, NULL);
	fx_run_ms(10);
	ck_assert_uint_eq(faults, 1);
	ck_assert_ptr_nonnull(strstr(fault_text, "version 99"));
}
END_TEST

START_TEST(byte_by_byte)
{
	uint8_t buf[64];
	struct guest_writer w;
	int len;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_HELLO);
	guest_put_u32(&w, GUEST_F_PROTO_VERSION, GUEST_PROTO_VERSION);
	len = guest_writer_end(&w);
	for (int i = 0; i < len; i++) {
		ck_assert_int_eq(write(control, buf + i, 1), 1);
		ck_assert_int_eq(loop_step(fx_loop, 1000, &fx_err), 0);
	}
	ck_assert_int_eq(guest_link_shutdown(g, GRACE), 0);
	(void)close(control);
	control = -1;
	fx_run_ms(10);
	/* A guest that closes it is merely quiet from then on. */
	ck_assert_uint_eq(faults, 0);
	ck_assert_int_eq(guest_link_shutdown(g, GRACE), -ENOTCONN);
}
END_TEST

START_TEST(ports)
{
	int fd = -1;

	/* Any program in the guest may bind these. */
	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_LOG, 1024, &fd), -ECONNREFUSED);
	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_LOG, UINT32_MAX, &fd), -ECONNREFUSED);
	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_CONTROL, 1000, &fd), -ECONNREFUSED);
	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_EXEC, 1000, &fd), -ECONNREFUSED);
	ck_assert_int_eq(guest_link_accept(g, 22, 1000, &fd), -ECONNREFUSED);
	(void)close(control);
	control = -1;
	fx_run_ms(10);
	/* Again, but not at once. */
	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_CONTROL, 1000, &fd), -ECONNREFUSED);
	fx_run_ms(GUEST_LINK_PAUSE_MS);
	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_CONTROL, 1024, &fd), -ECONNREFUSED);
	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_CONTROL, 1023, &control), 0);
}
END_TEST

/* ---- streams that are lost, and come again ---- */

/* The guest's control stream is lost, and it dials again. */
static void redial(void)
{
	(void)close(control);
	fx_run_ms(GUEST_LINK_PAUSE_MS + 10);
	ck_assert(!guest_link_is_up(g));
	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_CONTROL, 1000, &control), 0);
}

/* HELLO with a phase, and with an end where end >= 0. */
static void hello_in(uint32_t phase, enum guest_field f, int64_t end)
{
	uint8_t buf[128];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_HELLO);
	guest_put_u32(&w, GUEST_F_PROTO_VERSION, GUEST_PROTO_VERSION);
	guest_put_u32(&w, GUEST_F_PHASE, phase);
	if (end >= 0)
		guest_put_u32(&w, f, (uint32_t)end);
	ck_assert_int_eq(io_write_full(control, buf, (size_t)guest_writer_end(&w)), 0);
	fx_run_ms(10);
}

static void expect_frame(enum guest_frame_type type, enum guest_field f, uint64_t *ret)
{
	uint8_t buf[GUEST_FRAME_MAX];
	struct guest_frame_hdr h;
	struct guest_value v;
	size_t pos = 0;

	ck_assert_uint_eq(hear(buf, &h), type);
	while (f && guest_field_next(buf, h.len, &pos, &v) == 1) {
		if (v.field == f) {
			ck_assert_int_eq(guest_value_u64(&v, ret), 0);
			return;
		}
	}
	ck_assert(!f);
}

START_TEST(lost_before_its_configuration_came)
{
	hello();
	redial();
	hello_in(GUEST_PHASE_WANTS_CONFIG, 0, -1);
	expect_frame(GUEST_CONFIG, 0, NULL);
	ck_assert_uint_eq(ups, 2);
	ck_assert_uint_eq(faults, 0);
}
END_TEST

START_TEST(ready_is_told_by_the_next_hello)
{
	uint64_t now = 0;

	hello();
	expect_frame(GUEST_CONFIG, 0, NULL);
	redial();
	hello_in(GUEST_PHASE_RUNS, GUEST_F_PID, 7);
	expect_frame(GUEST_WELCOME, GUEST_F_TIME_NS, &now);
	ck_assert_uint_le(now, clock_real_ns());
	ck_assert_uint_ge(now, clock_real_ns() - 60 * CLOCK_NS_PER_S);
	ck_assert_uint_eq(readies, 1);
	/* And only once, however often it comes. */
	redial();
	hello_in(GUEST_PHASE_RUNS, GUEST_F_PID, 7);
	expect_frame(GUEST_WELCOME, 0, NULL);
	ck_assert_uint_eq(readies, 1);
	ck_assert_uint_eq(ups, 3);
	say(control, GUEST_EXITED, GUEST_F_CODE, 3, NULL);
	fx_run_ms(10);
	ck_assert_uint_eq(exits, 1);
	ck_assert_uint_eq(faults, 0);
}
END_TEST

START_TEST(an_end_that_nobody_heard)
{
	hello();
	expect_frame(GUEST_CONFIG, 0, NULL);
	redial();
	hello_in(GUEST_PHASE_ENDED, GUEST_F_SIGNAL, 9);
	expect_frame(GUEST_WELCOME, 0, NULL);
	ck_assert_uint_eq(readies, 1);
	ck_assert_uint_eq(exits, 1);
	ck_assert_int_eq(exit_code, -1);
	ck_assert_int_eq(exit_signal, 9);
	redial();
	hello_in(GUEST_PHASE_ENDED, GUEST_F_SIGNAL, 9);
	expect_frame(GUEST_WELCOME, 0, NULL);
	ck_assert_uint_eq(exits, 1);
	ck_assert_int_eq(guest_link_shutdown(g, GRACE), 0);
	expect_frame(GUEST_SHUTDOWN, 0, NULL);
	ck_assert_uint_eq(faults, 0);
}
END_TEST

/* kosvmd came back: a new link for a guest that runs already. */
START_TEST(resumed)
{
	(void)close(control);
	guest_link_free(g);
	cfg.resumed = true;
	ck_assert_int_eq(guest_link_new(&g, fx_loop, &cfg, &fx_err), 0);
	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_CONTROL, 1000, &control), 0);
	hello_in(GUEST_PHASE_RUNS, GUEST_F_PID, 7);
	expect_frame(GUEST_WELCOME, 0, NULL);
	ck_assert_uint_eq(readies, 0);
	say(control, GUEST_EXITED, GUEST_F_CODE, 0, NULL);
	fx_run_ms(10);
	ck_assert_uint_eq(exits, 1);
	ck_assert_int_eq(exit_code, 0);
}
END_TEST

static const struct {
	uint32_t phase;
	enum guest_field field;
	int64_t end;
	bool before_ready;
} backwards[] = {
	{ GUEST_PHASE_WANTS_CONFIG, 0, -1, false },
	{ GUEST_PHASE_RUNS, GUEST_F_PID, 7, false },
	{ GUEST_PHASE_ENDED, 0, -1, false },
	{ GUEST_PHASE_ENDED, 0, -1, true },
	{ GUEST_PHASE_ENDED, GUEST_F_CODE, 256, true },
	{ GUEST_PHASE_ENDED + 1, 0, -1, true },
	{ UINT32_MAX, 0, -1, true },
};

START_TEST(no_way_back)
{
	hello();
	if (!backwards[_i].before_ready) {
		say(control, GUEST_READY, GUEST_F_PID, 7, NULL);
		say(control, GUEST_EXITED, GUEST_F_CODE, 1, NULL);
	}
	redial();
	hello_in(backwards[_i].phase, backwards[_i].field, backwards[_i].end);
	ck_assert_uint_eq(faults, 1);
	ck_assert_uint_eq(exits, !backwards[_i].before_ready);
	/* Once broken, it is for good. */
	(void)close(control);
	fx_run_ms(GUEST_LINK_PAUSE_MS + 10);
	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_CONTROL, 1000, &control), -ECONNREFUSED);
	control = -1;
}
END_TEST

START_TEST(pings_are_beats)
{
	uint64_t n = 0;
	uint8_t pong[GUEST_SMALL_FRAME];
	int len;

	ck_assert_int_eq(guest_link_ping(g), -ENOTCONN);
	hello();
	expect_frame(GUEST_CONFIG, 0, NULL);
	for (unsigned i = 1; i <= 3; i++) {
		ck_assert_int_eq(guest_link_ping(g), 0);
		expect_frame(GUEST_PING, GUEST_F_BYTES, &n);
		len = guest_make_u64(pong, GUEST_PONG, GUEST_F_BYTES, n);
		ck_assert_int_eq(io_write_full(control, pong, (size_t)len), 0);
		fx_run_ms(10);
		ck_assert_uint_eq(beats, i);
	}
	/* What was asked on a stream that is gone is not answered on the next. */
	ck_assert_int_eq(guest_link_ping(g), 0);
	redial();
	hello();
	ck_assert_int_eq(io_write_full(control, pong, (size_t)len), 0);
	fx_run_ms(10);
	ck_assert_uint_eq(beats, 3);
	ck_assert_uint_eq(faults, 1);
}
END_TEST

START_TEST(the_same_answer_twice)
{
	uint8_t pong[GUEST_SMALL_FRAME];
	int len = guest_make_u64(pong, GUEST_PONG, GUEST_F_BYTES, 1);

	hello();
	ck_assert_int_eq(guest_link_ping(g), 0);
	ck_assert_int_eq(io_write_full(control, pong, (size_t)len), 0);
	ck_assert_int_eq(io_write_full(control, pong, (size_t)len), 0);
	fx_run_ms(10);
	ck_assert_uint_eq(beats, 1);
	ck_assert_uint_eq(faults, 1);
}
END_TEST

/* A guest that hangs, or does not want to read: kosvmd is told, and waits for nothing. */
START_TEST(pings_into_the_void)
{
	int r = 0;

	hello();
	for (int i = 0; i < 100000 && r == 0; i++)
		r = guest_link_ping(g);
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert_int_eq(guest_link_signal(g, 15), -EAGAIN);
	ck_assert_uint_eq(faults, 0);
}
END_TEST

START_TEST(signals)
{
	uint8_t buf[64];
	struct guest_frame_hdr h;

	ck_assert_int_eq(guest_link_signal(g, 10), -ENOTCONN);
	hello();
	expect_frame(GUEST_CONFIG, 0, NULL);
	ck_assert_int_eq(guest_link_signal(g, 0), -EINVAL);
	ck_assert_int_eq(guest_link_signal(g, 65), -EINVAL);
	ck_assert_int_eq(guest_link_signal(g, 10), 0);
	ck_assert_uint_eq(hear(buf, &h), GUEST_SIGNAL);
	ck_assert_uint_eq(h.len, 12);
	ck_assert_uint_eq(buf[8], 10);
}
END_TEST

START_TEST(a_terminal_and_changes_for_one_launch)
{
	static char *extra[] = { (char *)"MORE=1", NULL };
	uint8_t buf[GUEST_FRAME_MAX];
	struct guest_frame_hdr h;
	struct guest_value v;
	size_t pos = 0;
	unsigned seen = 0;

	(void)close(control);
	guest_link_free(g);
	cfg.tty = cfg.open_stdin = true;
	cfg.rows = 50;
	cfg.cols = 132;
	cfg.hostname = "other";
	cfg.extra_env = extra;
	ck_assert_int_eq(guest_link_new(&g, fx_loop, &cfg, &fx_err), 0);
	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_CONTROL, 1000, &control), 0);
	hello();
	ck_assert_uint_eq(hear(buf, &h), GUEST_CONFIG);
	while (guest_field_next(buf, h.len, &pos, &v) == 1) {
		uint32_t n = 0;

		(void)guest_value_u32(&v, &n);
		seen += v.field == GUEST_F_TTY && n == 1;
		seen += v.field == GUEST_F_STDIN && n == 1;
		seen += v.field == GUEST_F_ROWS && n == 50;
		seen += v.field == GUEST_F_COLS && n == 132;
		seen += v.field == GUEST_F_HOSTNAME && memcmp(v.data, "other", 5) == 0;
		seen += v.field == GUEST_F_ENV && memcmp(v.data, "MORE=1", 6) == 0;
	}
	ck_assert_uint_eq(seen, 6);
}
END_TEST

static void put_log(int fd, unsigned type, const char *s, uint32_t len)
{
	uint8_t hdr[8] = { (uint8_t)type, 0, 0, 0, (uint8_t)len, (uint8_t)(len >> 8),
		(uint8_t)(len >> 16), 0 };

	ck_assert_int_eq(io_write_full(fd, hdr, 8), 0);
	ck_assert_int_eq(io_write_full(fd, s, len), 0);
}

START_TEST(log_stream)
{
	char *text;
	int fd;

	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_LOG, 1000, &fd), 0);
	put_log(fd, GUEST_STDOUT, "hello\n", 6);
	put_log(fd, GUEST_STDERR, "", 0);
	put_log(fd, GUEST_STDERR, "oops\n", 5);
	/* Taken although the loop never ran: the VMM is gone. */
	guest_link_drain(g);
	text = fx_read("agent.log");
	ck_assert_ptr_nonnull(strstr(text, " stdout F hello\n"));
	ck_assert_ptr_nonnull(strstr(text, " stderr F oops\n"));
	free(text);
	(void)close(fd);
}
END_TEST

/* Bytes that kosvmd acknowledges next; 0: none now. */
static uint64_t acked(int fd)
{
	uint8_t raw[GUEST_SMALL_FRAME];
	struct guest_value v = { 0 };
	size_t pos = 0;
	uint64_t n = 0;

	fx_run_ms(20);
	if (recv(fd, raw, 28, MSG_DONTWAIT) != 24)
		return 0;
	ck_assert_uint_eq(raw[0], GUEST_ACK);
	ck_assert_int_eq(guest_field_next(raw + 8, 16, &pos, &v), 1);
	ck_assert_uint_eq(v.field, GUEST_F_BYTES);
	ck_assert_int_eq(guest_value_u64(&v, &n), 0);
	return n;
}

START_TEST(log_is_acknowledged)
{
	static char big[40000];
	char *text;
	int fd;

	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_LOG, 1000, &fd), 0);
	put_log(fd, GUEST_STDOUT, "hello\n", 6);
	put_log(fd, GUEST_STDERR, "oops\n", 5);
	ck_assert_uint_eq(acked(fd), 11);
	/* A line without its end is in our memory only; a second later it is on disk. */
	put_log(fd, GUEST_STDOUT, "prompt> ", 8);
	put_log(fd, GUEST_STDERR, "x\n", 2);
	ck_assert_uint_eq(acked(fd), 0);
	fx_run_ms(1100);
	ck_assert_uint_eq(acked(fd), 21);
	text = fx_read("agent.log");
	ck_assert_ptr_nonnull(strstr(text, " stdout P prompt> \n"));
	free(text);
	/* Nor does it keep the guest from going on until then. */
	put_log(fd, GUEST_STDOUT, "y", 1);
	ck_assert_uint_eq(acked(fd), 0);
	memset(big, 'a', sizeof(big));
	put_log(fd, GUEST_STDERR, big, sizeof(big));
	ck_assert_uint_eq(acked(fd), 40022);
	/* The next stream counts from its own beginning. */
	(void)close(fd);
	fx_run_ms(GUEST_LINK_PAUSE_MS + 10);
	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_LOG, 1000, &fd), 0);
	put_log(fd, GUEST_STDOUT, "again\n", 6);
	ck_assert_uint_eq(acked(fd), 6);
	(void)close(fd);
}
END_TEST

/* A guest that never reads what is acknowledged costs nothing, and gets the last one. */
START_TEST(acknowledgements_that_nobody_reads)
{
	uint8_t raw[24];
	uint64_t last = 0;
	struct guest_value v;
	size_t pos;
	int fd;

	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_LOG, 1000, &fd), 0);
	for (int i = 0; i < 3000; i++) {
		put_log(fd, GUEST_STDOUT, "x\n", 2);
		ck_assert_int_eq(loop_step(fx_loop, 10, &fx_err), 0);
	}
	ck_assert_int_eq(io_set_nonblock(fd, 1), 0);
	while (last < 6000) {
		ck_assert_int_eq(loop_step(fx_loop, 0, &fx_err), 0);
		if (recv(fd, raw, sizeof(raw), 0) != sizeof(raw))
			continue;
		pos = 0;
		ck_assert_int_eq(guest_field_next(raw + 8, 16, &pos, &v), 1);
		ck_assert_int_eq(guest_value_u64(&v, &last), 0);
	}
	ck_assert_uint_eq(faults, 0);
	(void)close(fd);
}
END_TEST

START_TEST(log_stream_breaks)
{
	int fd;

	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_LOG, 1000, &fd), 0);
	put_log(fd, GUEST_READY, "", 0);
	fx_run_ms(10);
	ck_assert_uint_eq(faults, 1);
	ck_assert_str_eq(fault_text, "guest broke the protocol on its log stream");
	(void)close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sup_guest_link");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_whole_life);
	tcase_add_test(t, answers_ping);
	tcase_add_test(t, ping_flood);
	tcase_add_loop_test(t, breaks_the_protocol, 0, (int)(sizeof(broken) / sizeof(broken[0])));
	tcase_add_test(t, says_why);
	tcase_add_test(t, other_version);
	tcase_add_test(t, byte_by_byte);
	tcase_add_test(t, ports);
	tcase_add_test(t, lost_before_its_configuration_came);
	tcase_add_test(t, ready_is_told_by_the_next_hello);
	tcase_add_test(t, an_end_that_nobody_heard);
	tcase_add_test(t, resumed);
	tcase_add_loop_test(t, no_way_back, 0, (int)(sizeof(backwards) / sizeof(backwards[0])));
	tcase_add_test(t, pings_are_beats);
	tcase_add_test(t, the_same_answer_twice);
	tcase_add_test(t, pings_into_the_void);
	tcase_add_test(t, signals);
	tcase_add_test(t, a_terminal_and_changes_for_one_launch);
	tcase_add_test(t, log_is_acknowledged);
	tcase_add_test(t, acknowledgements_that_nobody_reads);
	tcase_add_test(t, log_stream);
	tcase_add_test(t, log_stream_breaks);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
