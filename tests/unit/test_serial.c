#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/serial_reg.h>

#include <base/cleanup.h>
#include <devices/serial.h>

static struct serial *s;
static int irq, out; /* `out` stays ours: a duplicate of what the port has */

static void open_port(int fd, uint64_t max)
{
	const struct serial_config cfg = { .out_fd = fd, .max_bytes = max, .irq_fd = irq };

	ck_assert_int_eq(serial_new(&s, &cfg, NULL), 0);
}

static void setup(void)
{
	irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	out = memfd_create("log", MFD_CLOEXEC);
	ck_assert_int_ge(irq, 0);
	ck_assert_int_ge(out, 0);
	open_port(dup(out), 1000);
}

static void teardown(void)
{
	serial_free(s);
	s = NULL;
	close_fd(&irq);
	close_fd(&out);
}

static void print(const char *text)
{
	for (; *text; text++)
		serial_write(s, UART_TX, (uint8_t)*text);
}

static bool raised(void)
{
	uint64_t count;

	return read(irq, &count, sizeof(count)) == sizeof(count);
}

static const char *logged(void)
{
	static char buf[8192];
	ssize_t n = pread(out, buf, sizeof(buf) - 1, 0);

	ck_assert_int_ge(n, 0);
	buf[n] = '\0';
	return buf;
}

START_TEST(idle_registers)
{
	ck_assert_uint_eq(serial_read(s, UART_LSR), UART_LSR_TEMT | UART_LSR_THRE);
	ck_assert_uint_eq(serial_read(s, UART_RX), 0);
	ck_assert_uint_eq(serial_read(s, UART_IIR), UART_IIR_NO_INT);
	ck_assert_uint_eq(serial_read(s, UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
	ck_assert_uint_eq(serial_read(s, 8), 0);
	serial_write(s, 8, 1);
	serial_write(s, 0xffff, 1);
	ck_assert(!raised());
}
END_TEST

/* What Linux does to find out that this is a 16550A (8250_port.c, autoconfig). */
START_TEST(linux_finds_a_16550a)
{
	serial_write(s, UART_IER, 0);
	ck_assert_uint_eq(serial_read(s, UART_IER), 0);
	serial_write(s, UART_IER, 0x0f);
	ck_assert_uint_eq(serial_read(s, UART_IER), 0x0f);
	serial_write(s, UART_IER, 0xff);
	ck_assert_uint_eq(serial_read(s, UART_IER), 0x0f);
	serial_write(s, UART_IER, 0);
	serial_write(s, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
	ck_assert_uint_eq(serial_read(s, UART_MSR) & 0xf0, UART_MSR_DCD | UART_MSR_CTS);
	serial_write(s, UART_MCR, 0);
	serial_write(s, UART_SCR, 0x5a);
	ck_assert_uint_eq(serial_read(s, UART_SCR), 0x5a);
	serial_write(s, UART_FCR, UART_FCR_ENABLE_FIFO);
	ck_assert_uint_eq(serial_read(s, UART_IIR) & 0xe0, 0xc0);
	serial_write(s, UART_LCR, UART_LCR_CONF_MODE_A);
	ck_assert_uint_ne(serial_read(s, UART_EFR), 0); /* no 16650 */
	serial_write(s, UART_LCR, UART_LCR_CONF_MODE_B);
	ck_assert_uint_ne(serial_read(s, UART_EFR), 0);
	serial_write(s, UART_LCR, 0);
	serial_write(s, UART_IER, UART_IER_UUE);
	ck_assert_uint_eq(serial_read(s, UART_IER), 0); /* no XScale */
	serial_write(s, UART_FCR, 0);
	ck_assert_uint_eq(serial_read(s, UART_IIR) & 0xc0, 0);
}
END_TEST

START_TEST(divisor_latch_shadows_data)
{
	serial_write(s, UART_LCR, UART_LCR_DLAB | 3);
	serial_write(s, UART_DLL, 'x');
	serial_write(s, UART_DLM, 7);
	ck_assert_uint_eq(serial_read(s, UART_DLL), 'x');
	ck_assert_uint_eq(serial_read(s, UART_DLM), 7);
	ck_assert_uint_eq(serial_read(s, UART_LCR), UART_LCR_DLAB | 3);
	serial_write(s, UART_LCR, 3);
	ck_assert_uint_eq(serial_read(s, UART_IER), 0);
	ck_assert_uint_eq(serial_read(s, UART_RX), 0);
	print("\n");
	ck_assert_str_eq(logged(), "\n");
}
END_TEST

START_TEST(modem_lines_in_loopback)
{
	static const uint8_t pairs[][2] = { { UART_MCR_DTR, UART_MSR_DSR },
		{ UART_MCR_RTS, UART_MSR_CTS }, { UART_MCR_OUT1, UART_MSR_RI },
		{ UART_MCR_OUT2, UART_MSR_DCD } };

	for (size_t i = 0; i < array_size(pairs); i++) {
		serial_write(s, UART_MCR, (uint8_t)(UART_MCR_LOOP | pairs[i][0]));
		ck_assert_uint_eq(serial_read(s, UART_MSR), pairs[i][1]);
		ck_assert_uint_eq(serial_read(s, UART_MCR), UART_MCR_LOOP | pairs[i][0]);
	}
}
END_TEST

START_TEST(loopback_receives_what_it_sends)
{
	serial_write(s, UART_FCR, UART_FCR_ENABLE_FIFO);
	serial_write(s, UART_IER, UART_IER_RDI | UART_IER_RLSI);
	serial_write(s, UART_MCR, UART_MCR_LOOP);
	print("0123456789abcdef");
	ck_assert(raised());
	ck_assert_uint_eq(serial_read(s, UART_IIR) & 0x3f, UART_IIR_RDI);
	ck_assert_uint_eq(serial_read(s, UART_LSR), 0x60 | UART_LSR_DR);
	print("!");
	ck_assert_uint_eq(serial_read(s, UART_IIR) & 0x3f, UART_IIR_RLSI);
	ck_assert_uint_eq(serial_read(s, UART_LSR), 0x60 | UART_LSR_DR | UART_LSR_OE);
	ck_assert_uint_eq(serial_read(s, UART_LSR), 0x60 | UART_LSR_DR);
	for (const char *c = "0123456789abcdef"; *c; c++)
		ck_assert_uint_eq(serial_read(s, UART_RX), *c);
	ck_assert_uint_eq(serial_read(s, UART_LSR), 0x60);
	ck_assert_uint_eq(serial_read(s, UART_IIR) & 0x3f, UART_IIR_NO_INT);
	print("xyz");
	serial_write(s, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	ck_assert_uint_eq(serial_read(s, UART_LSR), 0x60);
	serial_free(s);
	s = NULL;
	ck_assert_str_eq(logged(), "");
}
END_TEST

START_TEST(without_fifo_one_byte)
{
	serial_write(s, UART_MCR, UART_MCR_LOOP);
	print("ab");
	ck_assert_uint_eq(serial_read(s, UART_LSR), 0x60 | UART_LSR_DR | UART_LSR_OE);
	ck_assert_uint_eq(serial_read(s, UART_RX), 'a');
	ck_assert_uint_eq(serial_read(s, UART_RX), 0);
}
END_TEST

/* Both of Linux' start-up tests: UART_BUG_TXEN and UART_BUG_THRE (do_startup). */
START_TEST(enabling_the_transmit_interrupt_raises_it)
{
	serial_write(s, UART_IER, UART_IER_THRI);
	ck_assert(raised());
	ck_assert_uint_eq(serial_read(s, UART_IIR), UART_IIR_THRI);
	ck_assert_uint_eq(serial_read(s, UART_IIR), UART_IIR_NO_INT); /* reading cleared it */
	serial_write(s, UART_IER, 0);
	serial_write(s, UART_IER, UART_IER_THRI);
	ck_assert(raised());
	ck_assert_uint_eq(serial_read(s, UART_IIR), UART_IIR_THRI);
	/* No change, no event. */
	serial_write(s, UART_IER, UART_IER_THRI);
	ck_assert(!raised());
	ck_assert_uint_eq(serial_read(s, UART_IIR), UART_IIR_NO_INT);
}
END_TEST

START_TEST(each_byte_asks_for_the_next)
{
	serial_write(s, UART_IER, UART_IER_THRI);
	(void)serial_read(s, UART_IIR);
	(void)raised();
	print("a");
	ck_assert(raised());
	ck_assert_uint_eq(serial_read(s, UART_IIR), UART_IIR_THRI);
	ck_assert(!raised());
	serial_write(s, UART_IER, 0);
	print("b");
	ck_assert(!raised());
	ck_assert_uint_eq(serial_read(s, UART_IIR), UART_IIR_NO_INT);
}
END_TEST

START_TEST(lines_are_written_at_once_the_rest_at_the_end)
{
	print("one\ntwo");
	ck_assert_str_eq(logged(), "one\n");
	serial_free(s);
	s = NULL;
	ck_assert_str_eq(logged(), "one\ntwo");
}
END_TEST

START_TEST(long_lines_do_not_wait)
{
	for (unsigned i = 0; i < 300; i++)
		print("x");
	ck_assert_uint_ge(strlen(logged()), 200);
}
END_TEST

START_TEST(log_is_bounded_and_says_so_once)
{
	const char *text;

	for (unsigned i = 0; i < 1000; i++)
		print("y");
	ck_assert_ptr_null(strstr(logged(), "kosvm"));
	for (unsigned i = 0; i < 5000; i++)
		print("z\n");
	text = logged();
	ck_assert_uint_eq(strspn(text, "y"), 1000);
	ck_assert_ptr_nonnull(strstr(text, "limit of 1000 bytes"));
	ck_assert_ptr_null(strchr(text, 'z'));
	ck_assert_uint_lt(strlen(text), 1100);
	serial_free(s);
	s = NULL;
	ck_assert_uint_lt(strlen(logged()), 1100);
}
END_TEST

START_TEST(tail_keeps_the_last)
{
	static char buf[SERIAL_TAIL + 10];

	ck_assert_uint_eq(serial_tail(s, buf, sizeof(buf)), 0);
	ck_assert_str_eq(buf, "");
	print("hello");
	ck_assert_uint_eq(serial_tail(s, buf, sizeof(buf)), 5);
	ck_assert_str_eq(buf, "hello");
	ck_assert_uint_eq(serial_tail(s, buf, 4), 3);
	ck_assert_str_eq(buf, "llo");
	ck_assert_uint_eq(serial_tail(s, buf, 0), 0);
	for (unsigned i = 0; i < SERIAL_TAIL; i++)
		print("-");
	print("end");
	ck_assert_uint_eq(serial_tail(s, buf, sizeof(buf)), SERIAL_TAIL);
	ck_assert_str_eq(buf + SERIAL_TAIL - 4, "-end");
	ck_assert_uint_eq(buf[0], '-');
}
END_TEST

START_TEST(slow_reader_never_blocks_and_the_gap_is_told)
{
	char buf[4096];
	ssize_t n;
	int p[2];

	serial_free(s);
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	(void)fcntl(p[1], F_SETPIPE_SZ, 4096);
	open_port(p[1], 1 << 20);
	for (unsigned i = 0; i < 1000; i++)
		print("0123456789abcde\n");
	ck_assert_int_eq(read(p[0], buf, sizeof(buf)), 4096);
	print("again\n");
	n = read(p[0], buf, sizeof(buf) - 1);
	ck_assert_int_gt(n, 0);
	buf[n] = '\0';
	ck_assert_ptr_nonnull(strstr(buf, "[kosvm: 11904 bytes"));
	ck_assert_ptr_nonnull(strstr(buf, "]\nagain\n"));
	serial_free(s);
	s = NULL;
	ck_assert_int_eq(read(p[0], buf, sizeof(buf)), 0); /* taken over, and closed */
	(void)close(p[0]);
}
END_TEST

START_TEST(reader_that_went_away)
{
	int p[2];

	serial_free(s);
	(void)signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	open_port(p[1], 1 << 20);
	(void)close(p[0]);
	print("nobody\nlistens\n");
}
END_TEST

START_TEST(tail_only_without_a_log)
{
	const struct serial_config cfg = { .out_fd = -1, .max_bytes = 10, .irq_fd = -1 };
	char buf[64];

	serial_free(s);
	ck_assert_int_eq(serial_new(&s, &cfg, NULL), 0);
	serial_write(s, UART_IER, UART_IER_THRI);
	print("quiet\n");
	ck_assert_uint_eq(serial_tail(s, buf, sizeof(buf)), 6);
	serial_free(NULL);
}
END_TEST

START_TEST(bad_log_is_refused)
{
	const struct serial_config cfg = { .out_fd = 9999, .irq_fd = -1 };
	struct serial *none = NULL;
	struct kerr e = { 0 };

	ck_assert_int_eq(serial_new(&none, &cfg, &e), -EBADF);
	ck_assert_int_eq(e.code, EBADF);
	ck_assert_ptr_null(none);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { idle_registers, linux_finds_a_16550a,
		divisor_latch_shadows_data, modem_lines_in_loopback,
		loopback_receives_what_it_sends, without_fifo_one_byte,
		enabling_the_transmit_interrupt_raises_it, each_byte_asks_for_the_next,
		lines_are_written_at_once_the_rest_at_the_end, long_lines_do_not_wait,
		log_is_bounded_and_says_so_once, tail_keeps_the_last,
		slow_reader_never_blocks_and_the_gap_is_told, reader_that_went_away,
		tail_only_without_a_log, bad_log_is_refused };
	Suite *suite = suite_create("serial");
	TCase *t = tcase_create("serial");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	for (size_t i = 0; i < array_size(tests); i++)
		tcase_add_test(t, tests[i]);
	suite_add_tcase(suite, t);
	r = srunner_create(suite);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
