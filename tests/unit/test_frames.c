#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "frames.h"

static int ends[2];
static struct frames *f;

static void setup(void)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	f = frames_new(ends[0]);
}

static void teardown(void)
{
	frames_free(f);
	(void)close(ends[0]);
	close_fd(&ends[1]);
}

static void guest_says(const void *data, size_t len)
{
	ck_assert_int_eq(io_write_full(ends[1], data, len), 0);
}

START_TEST(test_split)
{
	uint8_t buf[64];
	struct guest_frame_hdr h;
	uint8_t *payload;
	int len = guest_make_signal(buf, 9);

	ck_assert_int_gt(len, 0);
	for (int i = 0; i < len; i++) {
		ck_assert_int_eq(frames_next(f, &h, &payload), 0);
		guest_says(buf + i, 1);
		ck_assert_int_eq(frames_read(f), 0);
	}
	ck_assert_int_eq(frames_next(f, &h, &payload), 1);
	ck_assert_int_eq(h.type, GUEST_SIGNAL);
	ck_assert_int_eq(frames_next(f, &h, &payload), 0);
}
END_TEST

START_TEST(test_largest)
{
	_cleanup_free_ uint8_t *data = malloc(GUEST_FRAME_MAX);
	struct guest_frame_hdr h;
	uint8_t *payload = NULL;
	struct frames *far;

	ck_assert_ptr_nonnull(data);
	memset(data, 'x', GUEST_FRAME_MAX);
	far = frames_new(ends[1]);
	ck_assert_int_eq(frames_send_raw(far, GUEST_STDOUT, data, GUEST_FRAME_MAX + 1), -EMSGSIZE);
	ck_assert_int_eq(frames_send_raw(far, GUEST_STDOUT, data, GUEST_FRAME_MAX), 0);
	ck_assert_int_eq(frames_send_raw(far, GUEST_STDOUT, NULL, 0), 0);
	frames_free(far);
	ck_assert_int_eq(frames_wait(f, &h, &payload), 0);
	ck_assert_uint_eq(h.len, GUEST_FRAME_MAX);
	ck_assert_mem_eq(payload, data, GUEST_FRAME_MAX);
	ck_assert_int_eq(frames_wait(f, &h, &payload), 0);
	ck_assert_uint_eq(h.len, 0);
}
END_TEST

START_TEST(test_bad_header)
{
	static const uint8_t bad[][8] = {
		{ 12, 0, 0, 0, 1, 0, 1, 0 }, /* one byte more than the largest */
		{ 12, 0, 0, 0, 255, 255, 255, 255 },
		{ 0xe7, 3, 0, 0, 0, 0, 0, 0 }, /* no such type */
		{ 12, 0, 1, 0, 0, 0, 0, 0 },   /* reserved */
	};
	struct guest_frame_hdr h;
	uint8_t *payload;

	guest_says(bad[_i], 8);
	ck_assert_int_eq(frames_wait(f, &h, &payload), -EPROTO);
}
END_TEST

START_TEST(test_cut)
{
	static const uint8_t head[] = { 12, 0, 0, 0, 10, 0, 0, 0, 'a', 'b' };
	struct guest_frame_hdr h;
	uint8_t *payload;

	guest_says(head, sizeof(head));
	close_fd(&ends[1]);
	ck_assert_int_eq(frames_wait(f, &h, &payload), -ECONNRESET);
}
END_TEST

static const struct {
	enum guest_frame_type type;
	enum guest_field field;
	uint32_t value;
	int code; /* -1: refused */
} ending[] = {
	{ GUEST_EXITED, GUEST_F_CODE, 0, 0 },
	{ GUEST_EXITED, GUEST_F_CODE, 7, 7 },
	{ GUEST_EXITED, GUEST_F_CODE, 0xffffff07, 7 },
	{ GUEST_EXITED, GUEST_F_SIGNAL, 15, 143 },
	{ GUEST_EXITED, GUEST_F_SIGNAL, 0xffffffff, 255 },
	{ GUEST_ERROR, GUEST_F_CODE, 126, 126 },
	{ GUEST_EXITED, GUEST_F_PID, 1, -1 },
	{ GUEST_READY, GUEST_F_CODE, 1, -1 },
};

START_TEST(test_end)
{
	uint8_t buf[GUEST_SMALL_FRAME];
	struct guest_frame_hdr h;
	_cleanup_free_ char *text = NULL;
	int code = -1;
	int r;

	ck_assert_int_gt(
		guest_make_u32(buf, ending[_i].type, ending[_i].field, ending[_i].value), 0);
	ck_assert_int_eq(guest_hdr_decode(buf, &h), 0);
	r = frames_end(&h, buf + GUEST_FRAME_HDR_LEN, &code, &text);
	ck_assert_int_eq(r, ending[_i].code < 0 ? -EPROTO : 0);
	ck_assert_int_eq(code, ending[_i].code);
	ck_assert((text != NULL) == (ending[_i].type == GUEST_ERROR));
}
END_TEST

START_TEST(test_gone_peer)
{
	struct kerr e = { 0 };

	close_fd(&ends[1]);
	ck_assert_int_eq(frames_send_raw(f, GUEST_STDIN, "x", 1), -EPIPE);
	ck_assert_int_eq(frames_explain(-EPIPE, "the copy", &e), -ECONNRESET);
	ck_assert_str_eq(e.msg, "the agent's VM ended before the copy did");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("frames");
	TCase *t = tcase_create("all");
	SRunner *sr = srunner_create(s);
	int failed;

	(void)signal(SIGPIPE, SIG_IGN);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_split);
	tcase_add_test(t, test_largest);
	tcase_add_loop_test(t, test_bad_header, 0, 4);
	tcase_add_test(t, test_cut);
	tcase_add_loop_test(t, test_end, 0, (int)(sizeof(ending) / sizeof(ending[0])));
	tcase_add_test(t, test_gone_peer);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
