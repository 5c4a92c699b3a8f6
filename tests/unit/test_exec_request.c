#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/io.h>
#include <wire/guest_proto.h>

#include "exec_request.h"
#include "sup_fixture.h"

static json_t *parse(const char *text)
{
	json_t *o = json_loads(text, 0, NULL);

	ck_assert_ptr_nonnull(o);
	return o;
}

static const struct {
	const char *json;
	int result;
	const char *message;
} cases[] = {
	{ "{\"argv\":[\"/bin/true\"]}", 0, "" },
	{ "{\"argv\":[\"\"],\"env\":[\"A=\"],\"user\":\"1:2\",\"cwd\":\"/\"}", 0, "" },
	{ "{}", -EINVAL, "argv: expected 1 to 256 texts" },
	{ "{\"argv\":[]}", -EINVAL, "argv: expected 1 to 256 texts" },
	{ "{\"argv\":\"ls\"}", -EINVAL, "argv: expected a list of texts" },
	{ "{\"argv\":[1]}", -EINVAL, "argv: expected a list of texts" },
	{ "{\"argv\":[\"a\",null]}", -EINVAL, "argv: expected a list of texts" },
	{ "{\"argv\":[\"a\"],\"env\":{}}", -EINVAL, "env: expected a list of texts" },
	{ "{\"argv\":[\"a\"],\"env\":[\"A\"]}", -EINVAL, "env A: expected NAME=value" },
	{ "{\"argv\":[\"a\"],\"env\":[\"=b\"]}", -EINVAL, "env =b: expected NAME=value" },
	{ "{\"argv\":[\"a\"],\"user\":0}", -EINVAL, "user: expected a text" },
	{ "{\"argv\":[\"a\"],\"cwd\":[]}", -EINVAL, "cwd: expected a text" },
	{ "{\"argv\":[\"a\"],\"tty\":true,\"rows\":1,\"cols\":4096}", 0, "" },
	{ "{\"argv\":[\"a\"],\"tty\":1}", -EINVAL, "tty: expected true or false" },
	{ "{\"argv\":[\"a\"],\"rows\":24}", -EINVAL, "rows, cols: expected both or neither" },
	{ "{\"argv\":[\"a\"],\"rows\":0,\"cols\":1}", -EINVAL,
		"rows: expected a number from 1 to 4096" },
	{ "{\"argv\":[\"a\"],\"rows\":1,\"cols\":4097}", -EINVAL,
		"cols: expected a number from 1 to 4096" },
};

START_TEST(checks)
{
	json_t *o = parse(cases[_i].json);

	ck_assert_int_eq(exec_request_check(o, &fx_err), cases[_i].result);
	ck_assert_str_eq(fx_err.msg, cases[_i].message);
	json_decref(o);
}
END_TEST

/* `count` words of `len` bytes. */
static json_t *words(size_t count, size_t len)
{
	char *s = calloc(1, len + 1);
	json_t *list = json_array();

	memset(s, 'w', len);
	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(list, json_string(s));
	free(s);
	return list;
}

static int check_size(size_t count, size_t len, const char *key, size_t text)
{
	json_t *o = json_pack("{s:o}", "argv", words(count, len));
	json_t *t = words(1, text);
	int sv[2];
	int r;

	if (key)
		(void)json_object_set(o, key, json_array_get(t, 0));
	r = exec_request_check(o, &fx_err);
	if (r == 0) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
		ck_assert_msg(exec_request_send(sv[0], o, &fx_err) == 0, "%s", fx_err.msg);
		(void)close(sv[0]);
		(void)close(sv[1]);
	}
	json_decref(t);
	json_decref(o);
	return r;
}

START_TEST(limits)
{
	ck_assert_int_eq(check_size(256, 120, NULL, 0), 0);
	ck_assert_int_eq(check_size(257, 1, NULL, 0), -EINVAL);
	ck_assert_int_eq(check_size(256, 121, NULL, 0), -E2BIG);
	ck_assert_int_eq(check_size(1, 32760, "cwd", 1024), 0);
	ck_assert_int_eq(check_size(1, 32761, NULL, 0), -E2BIG);
	ck_assert_int_eq(check_size(1, 1, "cwd", 1025), -EINVAL);
	ck_assert_int_eq(check_size(1, 1, "user", 1025), -EINVAL);
}
END_TEST

static void expect(const uint8_t *p, size_t len, size_t *pos, enum guest_field f, const char *want)
{
	struct guest_value v;

	ck_assert_int_eq(guest_field_next(p, len, pos, &v), 1);
	ck_assert_int_eq(v.field, f);
	ck_assert_uint_eq(v.len, strlen(want));
	ck_assert_mem_eq(v.data, want, v.len);
}

START_TEST(frame)
{
	json_t *o = parse("{\"argv\":[\"/bin/ls\",\"-l\"],\"env\":[\"A=b\"],\"user\":\"root\","
			  "\"cwd\":\"/tmp\"}");
	uint8_t buf[1024];
	struct guest_frame_hdr h;
	size_t pos = 0;
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	ck_assert_int_eq(exec_request_send(sv[0], o, &fx_err), 0);
	ck_assert_int_eq(io_read_full(sv[1], buf, 8), 0);
	ck_assert_int_eq(guest_hdr_decode(buf, &h), 0);
	ck_assert_int_eq(h.type, GUEST_EXEC);
	ck_assert_int_eq(io_read_full(sv[1], buf, h.len), 0);
	expect(buf, h.len, &pos, GUEST_F_ARGV, "/bin/ls");
	expect(buf, h.len, &pos, GUEST_F_ARGV, "-l");
	expect(buf, h.len, &pos, GUEST_F_ENV, "A=b");
	expect(buf, h.len, &pos, GUEST_F_USER, "root");
	expect(buf, h.len, &pos, GUEST_F_CWD, "/tmp");
	ck_assert_uint_eq(pos, h.len);
	/* A VMM that does not read, and one that is gone: an error, never a wait. */
	ck_assert_int_eq(io_set_nonblock(sv[0], 1), 0);
	while (write(sv[0], buf, sizeof(buf)) > 0)
		;
	ck_assert_int_eq(io_set_nonblock(sv[0], 0), 0);
	ck_assert_int_eq(exec_request_send(sv[0], o, &fx_err), -EAGAIN);
	(void)close(sv[1]);
	ck_assert_int_eq(exec_request_send(sv[0], o, &fx_err), -EPIPE);
	(void)close(sv[0]);
	json_decref(o);
}
END_TEST

static const struct {
	const char *json;
	int result;
	const char *message;
} copies[] = {
	{ "{\"path\":\"/\",\"direction\":\"in\",\"owners\":true}", 0, "" },
	{ "{\"path\":\"/etc/passwd\",\"direction\":\"out\"}", 0, "" },
	{ "{\"direction\":\"in\"}", -EINVAL, "path: expected an absolute path" },
	{ "{\"path\":\"etc\",\"direction\":\"in\"}", -EINVAL, "path: expected an absolute path" },
	{ "{\"path\":\"/\"}", -EINVAL, "direction: expected \"in\" or \"out\"" },
	{ "{\"path\":\"/\",\"direction\":\"up\"}", -EINVAL,
		"direction: expected \"in\" or \"out\"" },
	{ "{\"path\":\"/\",\"direction\":\"in\",\"owners\":\"\"}", -EINVAL,
		"owners: expected true or false" },
};

START_TEST(copy_checks)
{
	json_t *o = parse(copies[_i].json);

	ck_assert_int_eq(copy_request_check(o, &fx_err), copies[_i].result);
	ck_assert_str_eq(fx_err.msg, copies[_i].message);
	json_decref(o);
}
END_TEST

/* Sends by `make`, and reads the frame: its length. */
static uint32_t sent(int (*make)(int fd, const json_t *args, struct kerr *e), const char *json,
	enum guest_frame_type type, uint8_t *buf)
{
	json_t *o = json ? parse(json) : NULL;
	struct guest_frame_hdr h;
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	ck_assert_msg(make(sv[0], o, &fx_err) == 0, "%s", fx_err.msg);
	ck_assert_int_eq(io_read_full(sv[1], buf, 8), 0);
	ck_assert_int_eq(guest_hdr_decode(buf, &h), 0);
	ck_assert_int_eq(h.type, type);
	ck_assert_int_eq(io_read_full(sv[1], buf, h.len), 0);
	(void)close(sv[0]);
	(void)close(sv[1]);
	json_decref(o);
	return h.len;
}

START_TEST(other_frames)
{
	json_t *o = json_object();
	char path[4096 + 32];
	uint8_t buf[8192];
	size_t pos = 0;
	uint32_t len;

	ck_assert_uint_eq(sent(attach_request_send, NULL, GUEST_ATTACH, buf), 0);
	ck_assert_int_eq(attach_request_check(NULL, &fx_err), 0);
	len = sent(attach_request_send, "{\"rows\":3,\"cols\":5}", GUEST_ATTACH, buf);
	ck_assert_uint_eq(len, 24);
	ck_assert(buf[8] == 3 && buf[20] == 5);
	len = sent(exec_request_send, "{\"argv\":[\"a\"],\"tty\":true,\"rows\":7,\"cols\":9}",
		GUEST_EXEC, buf);
	expect(buf, len, &pos, GUEST_F_ARGV, "a");
	{
		struct guest_value v;

		ck_assert_int_eq(guest_field_next(buf, len, &pos, &v), 1);
		ck_assert_int_eq(v.field, GUEST_F_TTY);
	}
	ck_assert_uint_eq(len - pos, 24);
	len = sent(
		copy_request_send, "{\"path\":\"/a\",\"direction\":\"out\"}", GUEST_COPY_OUT, buf);
	pos = 0;
	expect(buf, len, &pos, GUEST_F_PATH, "/a");
	ck_assert_uint_eq(len, pos);
	/* The longest path there may be. */
	memset(path, 'p', sizeof(path));
	path[0] = '/';
	path[4095] = '\0';
	(void)json_object_set_new(o, "path", json_string(path));
	(void)json_object_set_new(o, "direction", json_string("in"));
	(void)json_object_set_new(o, "owners", json_true());
	ck_assert_int_eq(copy_request_check(o, &fx_err), 0);
	{
		char *text = json_dumps(o, 0);

		len = sent(copy_request_send, text, GUEST_COPY_IN, buf);
		free(text);
	}
	ck_assert_uint_eq(len, 8 + 4095 + 12);
	path[4095] = 'p';
	path[4096] = '\0';
	(void)json_object_set_new(o, "path", json_string(path));
	ck_assert_int_eq(copy_request_check(o, &fx_err), -EINVAL);
	json_decref(o);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("exec_request");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, fx_setup, fx_teardown);
	tcase_add_loop_test(t, checks, 0, (int)(sizeof(cases) / sizeof(cases[0])));
	tcase_add_loop_test(t, copy_checks, 0, (int)(sizeof(copies) / sizeof(copies[0])));
	tcase_add_test(t, other_frames);
	tcase_add_test(t, limits);
	tcase_add_test(t, frame);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
