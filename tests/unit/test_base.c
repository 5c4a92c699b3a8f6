#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/fdpass.h>
#include <base/hex.h>
#include <base/io.h>
#include <base/log.h>
#include <base/loop.h>
#include <base/units.h>

START_TEST(kerr_set_and_wrap)
{
	struct kerr e = { 0 };

	ck_assert_int_eq(kerr_set(&e, EINVAL, "value %d", 7), -EINVAL);
	ck_assert_int_eq(kerr_wrap(&e, "a.ini:%d", 3), -EINVAL);
	ck_assert_str_eq(e.msg, "a.ini:3: value 7");
	ck_assert_int_eq(e.code, EINVAL);
	ck_assert_int_eq(kerr_set(NULL, EINVAL, "x"), -EINVAL);
	(void)kerr_errno(&e, ENOENT, "open");
	ck_assert_str_eq(e.msg, "open: No such file or directory");
}
END_TEST

START_TEST(kerr_is_bounded_and_one_line)
{
	struct kerr e = { 0 };
	char big[2000];

	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	(void)kerr_set(&e, EIO, "a\nb\x1b[31m%s", big);
	ck_assert_uint_lt(strlen(e.msg), sizeof(e.msg));
	ck_assert_ptr_null(strchr(e.msg, '\n'));
	ck_assert_ptr_null(strchr(e.msg, '\x1b'));
	(void)kerr_wrap(&e, "front");
	ck_assert_int_eq(strncmp(e.msg, "front: a b", 10), 0);
}
END_TEST

START_TEST(units_sizes)
{
	uint64_t v = 0;

	ck_assert_int_eq(units_parse_size("128M", &v), 0);
	ck_assert_uint_eq(v, 128ULL << 20);
	ck_assert_int_eq(units_parse_size("7", &v), 0);
	ck_assert_uint_eq(v, 7);
	ck_assert_int_eq(units_parse_size("12X", &v), -EINVAL);
	ck_assert_int_eq(units_parse_size("", &v), -EINVAL);
	ck_assert_int_eq(units_parse_size("-1", &v), -EINVAL);
	ck_assert_int_eq(units_parse_size(" 1", &v), -EINVAL);
	ck_assert_int_eq(units_parse_size("1 M", &v), -EINVAL);
	ck_assert_int_eq(units_parse_size("18446744073709551616", &v), -ERANGE);
	ck_assert_int_eq(units_parse_size("99999999999T", &v), -ERANGE);
}
END_TEST

START_TEST(units_durations)
{
	uint64_t v = 1;

	ck_assert_int_eq(units_parse_duration("30s", &v), 0);
	ck_assert_uint_eq(v, 30 * CLOCK_NS_PER_S);
	ck_assert_int_eq(units_parse_duration("5ms", &v), 0);
	ck_assert_uint_eq(v, 5 * CLOCK_NS_PER_MS);
	ck_assert_int_eq(units_parse_duration("0", &v), 0);
	ck_assert_uint_eq(v, 0);
	ck_assert_int_eq(units_parse_duration("30", &v), -EINVAL);
	ck_assert_int_eq(units_parse_duration("1y", &v), -EINVAL);
	ck_assert_int_eq(units_parse_duration("999999999999d", &v), -ERANGE);
}
END_TEST

START_TEST(units_shares)
{
	static const struct {
		const char *text;
		uint64_t permille;
	} good[] = { { "0", 0 }, { "50%", 500 }, { "1.5", 1500 }, { "2", 2000 }, { "0.25", 250 },
		{ "12.5%", 125 }, { "150%", 1500 }, { "0.001", 1 }, { "1.500", 1500 } };
	static const char *const bad[] = { "", "%", "1.", ".5", "1.5.0", "-1", "50%%", "1,5", "5 %",
		"half" };
	static const char *const fine[] = { "1.2345", "12.34%", "99999999999999999999",
		"18446744073709551615" };
	uint64_t v = 7;
	char buf[24];

	for (size_t i = 0; i < array_size(good); i++) {
		ck_assert_int_eq(units_parse_share(good[i].text, &v), 0);
		ck_assert_uint_eq(v, good[i].permille);
	}
	v = 7;
	for (size_t i = 0; i < array_size(bad); i++)
		ck_assert_int_eq(units_parse_share(bad[i], &v), -EINVAL);
	for (size_t i = 0; i < array_size(fine); i++)
		ck_assert_int_eq(units_parse_share(fine[i], &v), -ERANGE);
	ck_assert_uint_eq(v, 7);
	units_format_share(1500, buf, sizeof(buf));
	ck_assert_str_eq(buf, "150%");
	units_format_share(125, buf, sizeof(buf));
	ck_assert_str_eq(buf, "12.5%");
}
END_TEST

START_TEST(units_numbers_and_format)
{
	uint64_t v = 0;
	char buf[32];

	ck_assert_int_eq(units_parse_u64("65535", 65535, &v), 0);
	ck_assert_uint_eq(v, 65535);
	ck_assert_int_eq(units_parse_u64("65536", 65535, &v), -ERANGE);
	ck_assert_int_eq(units_parse_u64("1a", 65535, &v), -EINVAL);
	ck_assert_int_eq(units_parse_u64("+1", 65535, &v), -EINVAL);
	units_format_size(128ULL << 20, buf, sizeof(buf));
	ck_assert_str_eq(buf, "128M");
	units_format_size(1536, buf, sizeof(buf));
	ck_assert_str_eq(buf, "1.5K");
	units_format_duration(61 * CLOCK_NS_PER_S, buf, sizeof(buf));
	ck_assert_str_eq(buf, "1m01s");
}
END_TEST

START_TEST(hex_both_ways)
{
	uint8_t in[3] = { 0x00, 0xab, 0xff };
	uint8_t out[3];
	char s[7];

	hex_encode(in, 3, s);
	ck_assert_str_eq(s, "00abff");
	ck_assert_int_eq(hex_decode("00ABff", out, 3), 0);
	ck_assert_mem_eq(in, out, 3);
	ck_assert_int_eq(hex_decode("00abf", out, 3), -EINVAL);
	ck_assert_int_eq(hex_decode("00abff0", out, 3), -EINVAL);
	ck_assert_int_eq(hex_decode("00abfg", out, 3), -EINVAL);
	ck_assert_int_eq(hex_decode("", out, 3), -EINVAL);
}
END_TEST

START_TEST(fdpass_moves_descriptors)
{
	int sv[2];
	int p[2];
	int got[2];
	size_t n = 0;
	char buf[8];
	char c = 0;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	ck_assert_int_eq(fdpass_send(sv[0], "hello", 5, p, 2), 0);
	ck_assert_int_eq(fdpass_recv(sv[1], buf, sizeof(buf), got, 2, &n), 5);
	ck_assert_uint_eq(n, 2);
	ck_assert_int_eq(fcntl(got[0], F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq((int)write(got[1], "x", 1), 1);
	ck_assert_int_eq((int)read(p[0], &c, 1), 1);
	ck_assert_int_eq(c, 'x');
	close(got[0]);
	close(got[1]);

	/* Too many fds for the receiver: all are closed, none leaks. */
	ck_assert_int_eq(fdpass_send(sv[0], "hello", 5, p, 2), 0);
	ck_assert_int_eq(fdpass_recv(sv[1], buf, sizeof(buf), got, 1, &n), -EMSGSIZE);
	close(p[1]);
	ck_assert_int_eq((int)read(p[0], &c, 1), 0);

	/* A cut message is an error, not a short success. */
	ck_assert_int_eq(fdpass_send(sv[0], "0123456789", 10, NULL, 0), 0);
	ck_assert_int_eq(fdpass_recv(sv[1], buf, sizeof(buf), got, 2, &n), -EMSGSIZE);
	close(sv[0]);
	ck_assert_int_eq(fdpass_recv(sv[1], buf, sizeof(buf), got, 2, &n), 0);
	close(sv[1]);
	close(p[0]);
}
END_TEST

START_TEST(io_read_all_is_bounded)
{
	_cleanup_close_ int fd = memfd_create("t", MFD_CLOEXEC);
	struct kerr e = { 0 };
	char *data = NULL;
	size_t len = 0;
	char block[9000];

	memset(block, 'a', sizeof(block));
	ck_assert_int_eq(io_write_full(fd, block, sizeof(block)), 0);
	lseek(fd, 0, SEEK_SET);
	ck_assert_int_eq(io_read_all(fd, 9000, "t", &data, &len, &e), 0);
	ck_assert_uint_eq(len, 9000);
	ck_assert_int_eq(data[9000], '\0');
	free(data);
	lseek(fd, 0, SEEK_SET);
	ck_assert_int_eq(io_read_all(fd, 8999, "t", &data, &len, &e), -EFBIG);
	ck_assert_str_eq(e.msg, "t: larger than the limit of 8999 bytes");
	ck_assert_int_eq(io_pread_full(fd, block, 10, 8995), -ENODATA);
}
END_TEST

START_TEST(io_write_file_replaces_whole)
{
	char dir[] = "/tmp/kosvm-test-XXXXXX";
	struct kerr e = { 0 };
	int dirfd;
	char buf[8] = { 0 };
	int fd;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	dirfd = open(dir, O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(io_write_file_at(dirfd, "f", "one", 3, 0600, &e), 0);
	ck_assert_int_eq(io_write_file_at(dirfd, "f", "two", 3, 0600, &e), 0);
	fd = openat(dirfd, "f", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq((int)read(fd, buf, 8), 3);
	ck_assert_str_eq(buf, "two");
	close(fd);
	/* A directory in the way: the rename fails and the temporary file goes. */
	ck_assert_int_eq(mkdirat(dirfd, "d", 0700), 0);
	ck_assert_int_eq(io_write_file_at(dirfd, "d", "x", 1, 0600, &e), -EISDIR);
	ck_assert_int_eq(unlinkat(dirfd, "d", AT_REMOVEDIR), 0);
	ck_assert_int_eq(unlinkat(dirfd, "f", 0), 0);
	ck_assert_int_eq(rmdir(dir), 0); /* empty: nothing half-made stayed */
	close(dirfd);
}
END_TEST

struct two {
	struct loop_fd a, b;
	int calls;
};

static struct two *shared_two;

static void remove_both(struct loop_fd *w, uint32_t events)
{
	(void)w;
	(void)events;
	shared_two->calls++;
	loop_fd_del(&shared_two->a);
	loop_fd_del(&shared_two->b);
}

START_TEST(loop_removal_inside_a_batch)
{
	struct two t = { .a = LOOP_FD_INIT, .b = LOOP_FD_INIT };
	struct loop *l = NULL;
	int p[2];
	int q[2];

	shared_two = &t;
	t.a.fn = remove_both;
	t.b.fn = remove_both;
	ck_assert_int_eq(loop_new(&l, NULL), 0);
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(q, O_CLOEXEC), 0);
	ck_assert_int_eq(loop_fd_add(l, &t.a, p[0], EPOLLIN), 0);
	ck_assert_int_eq(loop_fd_add(l, &t.b, q[0], EPOLLIN), 0);
	ck_assert_int_eq((int)write(p[1], "x", 1), 1);
	ck_assert_int_eq((int)write(q[1], "x", 1), 1);
	ck_assert_int_eq(loop_step(l, 1000, NULL), 0);
	ck_assert_int_eq(t.calls, 1); /* the other was ready too, and was struck out */
	loop_free(l);
	close(p[0]);
	close(p[1]);
	close(q[0]);
	close(q[1]);
}
END_TEST

struct ticks {
	struct loop_timer t;
	struct loop *l;
	int n;
};

static void tick(struct loop_timer *t)
{
	struct ticks *k = container_of(t, struct ticks, t);

	if (++k->n == 3)
		loop_quit(k->l, 42);
}

START_TEST(loop_timer_ticks)
{
	struct ticks k = { .t = { .fn = tick, .w = { .fd = -1 } } };

	ck_assert_int_eq(loop_new(&k.l, NULL), 0);
	ck_assert_int_eq(loop_timer_set(k.l, &k.t, CLOCK_NS_PER_MS, CLOCK_NS_PER_MS), 0);
	ck_assert_int_eq(loop_run(k.l, NULL), 42);
	ck_assert_int_eq(k.n, 3);
	loop_timer_done(&k.t);
	loop_timer_done(&k.t);
	loop_free(k.l);
}
END_TEST

struct child {
	struct loop_pid p;
	struct loop *l;
	pid_t pid;
};

static void ended(struct loop_pid *p)
{
	struct child *c = container_of(p, struct child, p);
	int status = 0;

	ck_assert_int_eq(waitpid(c->pid, &status, 0), c->pid);
	loop_quit(c->l, WEXITSTATUS(status));
}

START_TEST(loop_sees_a_child_end)
{
	struct child c = { .p = LOOP_PID_INIT };
	int pidfd;

	c.p.fn = ended;
	ck_assert_int_eq(loop_new(&c.l, NULL), 0);
	c.pid = fork();
	if (c.pid == 0)
		_exit(17);
	pidfd = (int)syscall(SYS_pidfd_open, c.pid, 0);
	ck_assert_int_ge(pidfd, 0);
	ck_assert_int_eq(loop_pid_add(c.l, &c.p, pidfd), 0);
	ck_assert_int_eq(loop_run(c.l, NULL), 17);
	loop_free(c.l);
}
END_TEST

struct sig {
	struct loop_signal s;
	struct loop *l;
};

static void got_signal(struct loop_signal *s, int signo)
{
	struct sig *k = container_of(s, struct sig, s);

	loop_quit(k->l, signo);
}

START_TEST(loop_takes_signals)
{
	struct sig k = { .s = LOOP_SIGNAL_INIT };
	sigset_t set;

	k.s.fn = got_signal;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ck_assert_int_eq(loop_new(&k.l, NULL), 0);
	ck_assert_int_eq(loop_signal_add(k.l, &k.s, &set), 0);
	ck_assert_int_eq(kill(getpid(), SIGUSR1), 0);
	ck_assert_int_eq(loop_run(k.l, NULL), SIGUSR1);
	loop_signal_done(&k.s);
	loop_free(k.l);
}
END_TEST

START_TEST(log_limit_counts)
{
	struct log_limit l = { .burst = 2 };

	ck_assert(log_limit_ok(&l));
	ck_assert(log_limit_ok(&l));
	ck_assert(!log_limit_ok(&l));
	l.window_start_ns -= 11 * CLOCK_NS_PER_S;
	ck_assert(log_limit_ok(&l));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("base");
	TCase *t = tcase_create("base");
	SRunner *sr;
	int failed;

	tcase_add_test(t, kerr_set_and_wrap);
	tcase_add_test(t, kerr_is_bounded_and_one_line);
	tcase_add_test(t, units_sizes);
	tcase_add_test(t, units_durations);
	tcase_add_test(t, units_shares);
	tcase_add_test(t, units_numbers_and_format);
	tcase_add_test(t, hex_both_ways);
	tcase_add_test(t, fdpass_moves_descriptors);
	tcase_add_test(t, io_read_all_is_bounded);
	tcase_add_test(t, io_write_file_replaces_whole);
	tcase_add_test(t, loop_removal_inside_a_batch);
	tcase_add_test(t, loop_timer_ticks);
	tcase_add_test(t, loop_sees_a_child_end);
	tcase_add_test(t, loop_takes_signals);
	tcase_add_test(t, log_limit_counts);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
