#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/clock.h>
#include <base/io.h>

#include "guest_link.h"
#include "sup_fixture.h"

#define GRACE (3 * CLOCK_NS_PER_S)

static struct guest_link *g;
static struct agent_log *guest_log;
static int control;
static unsigned readies, exits, faults;
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

static const struct guest_link_ops ops = { on_ready, on_exited, on_fault };

static void setup(void)
{
	struct guest_link_config cfg = { .manifest = &manifest, .ops = &ops, .user = &manifest };

	fx_setup();
	readies = exits = faults = 0;
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
			1u << GUEST_F_ENV);
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
	/* Not a second time in this boot either. */
	ck_assert_int_eq(guest_link_accept(g, GUEST_PORT_CONTROL, 1000, &fd), -ECONNREFUSED);
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
	tcase_add_test(t, log_stream);
	tcase_add_test(t, log_stream_breaks);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
