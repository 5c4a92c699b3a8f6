#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wire/api_proto.h>

#include "sup_fixture.h"

static int sv[2];
static int fds[FDPASS_MAX_FDS];
static size_t nfds;
static json_t *msg;

static void setup(void)
{
	fx_setup();
	msg = NULL;
	nfds = 0;
	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
}

static void teardown(void)
{
	(void)close(sv[0]);
	(void)close(sv[1]);
	fx_teardown();
}

static int receive(void)
{
	return api_recv(sv[1], &msg, fds, FDPASS_MAX_FDS, &nfds, &fx_err);
}

START_TEST(round_trip)
{
	json_t *m = json_pack("{s:s, s:i}", "verb", "run", "api", 1);
	int out[2] = { 0, 1 };

	ck_assert_int_eq(receive(), -EAGAIN);
	ck_assert_int_eq(api_send(sv[0], m, out, 2, &fx_err), 0);
	ck_assert_int_eq(receive(), 1);
	ck_assert(json_equal(m, msg));
	ck_assert_uint_eq(nfds, 2);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
		(void)close(fds[i]);
	}
	json_decref(msg);
	json_decref(m);
	ck_assert_int_eq(shutdown(sv[0], SHUT_WR), 0);
	ck_assert_int_eq(receive(), 0);
}
END_TEST

/* Each comes with descriptors, which must not stay (the fixture counts). */
static const char *const refused[] = {
	"[]",
	"1",
	"{",
	"{} {}",
	"{\"a\":1,\"a\":2}",
	"{\"a\":\"\\u0000\"}",
	"{\"a\":\"\xff\"}",
	"nonsense",
	"{\"a\":1e999}",
};

START_TEST(refuses)
{
	int out[2] = { 0, 1 };

	ck_assert_int_eq(fdpass_send(sv[0], refused[_i], strlen(refused[_i]), out, 2), 0);
	ck_assert_int_eq(receive(), -EPROTO);
	ck_assert_ptr_null(msg);
	ck_assert_int_eq(strncmp(fx_err.msg, "message is no JSON object: ", 27), 0);
}
END_TEST

START_TEST(too_deep)
{
	size_t len = API_MSG_MAX;
	char *deep = malloc(len);

	memset(deep, '[', len);
	memcpy(deep, "{\"a\":", 5);
	ck_assert_int_eq(fdpass_send(sv[0], deep, len, NULL, 0), 0);
	ck_assert_int_eq(receive(), -EPROTO);
	free(deep);
}
END_TEST

START_TEST(too_long)
{
	size_t len = API_MSG_MAX + 1;
	char *big = calloc(1, len + 1);
	json_t *m;
	int out = 0;

	memset(big, ' ', len);
	memcpy(big, "{}", 2);
	ck_assert_int_eq(fdpass_send(sv[0], big, len, &out, 1), 0);
	ck_assert_int_eq(receive(), -EMSGSIZE);
	memset(big, 'a', len);
	m = json_pack("{s:s}", "a", big);
	ck_assert_int_eq(api_send(sv[0], m, NULL, 0, &fx_err), -EMSGSIZE);
	json_decref(m);
	/* Exactly as long as allowed: {"a":"…"} */
	big[API_MSG_MAX - 8] = '\0';
	m = json_pack("{s:s}", "a", big);
	ck_assert_int_eq(api_send(sv[0], m, NULL, 0, &fx_err), 0);
	ck_assert_int_eq(receive(), 1);
	ck_assert(json_equal(m, msg));
	json_decref(msg);
	json_decref(m);
	free(big);
}
END_TEST

/* An empty message looks like the end; what came with it is closed. */
START_TEST(empty_with_files)
{
	int out[2] = { 0, 1 };
	char none = 0;

	ck_assert_int_eq(fdpass_send(sv[0], &none, 0, out, 2), 0);
	ck_assert_int_eq(receive(), 0);
}
END_TEST

START_TEST(more_files_than_wanted)
{
	int out[3] = { 0, 1, 2 };

	ck_assert_int_eq(fdpass_send(sv[0], "{}", 2, out, 3), 0);
	ck_assert_int_eq(api_recv(sv[1], &msg, fds, 2, &nfds, &fx_err), -EMSGSIZE);
}
END_TEST

/* The last words of somebody who left something of ours unread. */
START_TEST(last_words)
{
	json_t *m = json_pack("{s:i}", "a", 1);

	ck_assert_int_eq(api_send(sv[1], m, NULL, 0, &fx_err), 0);
	ck_assert_int_eq(api_send(sv[0], m, NULL, 0, &fx_err), 0);
	(void)close(sv[0]);
	ck_assert_int_eq(receive(), 1);
	ck_assert(json_equal(m, msg));
	json_decref(msg);
	json_decref(m);
	ck_assert_int_eq(receive(), 0);
	sv[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}
END_TEST

START_TEST(texts)
{
	static const char *const pairs[][2] = {
		{ "", "" },
		{ "plain", "plain" },
		{ "caf\xc3\xa9", "caf\xc3\xa9" },
		{ "caf\xc3", "caf?" },
		{ "\xc3\xa9\xff!",
			"??"
			"?!" },
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		json_t *t = api_text(pairs[i][0]);

		ck_assert_str_eq(json_string_value(t), pairs[i][1]);
		json_decref(t);
	}
}
END_TEST

START_TEST(paths)
{
	char name[400];
	struct api_paths p;

	ck_assert_int_eq(setenv("KOSVM_RUN", "/r", 1) | setenv("KOSVM_STATE", "/s", 1), 0);
	ck_assert_int_eq(api_paths_get(&p, &fx_err), 0);
	ck_assert_str_eq(p.run_dir, "/r");
	ck_assert_str_eq(p.state_dir, "/s");
	ck_assert_str_eq(p.socket, "/r/kosvmd.sock");
	ck_assert_int_eq(setenv("KOSVM_RUN", "here", 1), 0);
	ck_assert_int_eq(api_paths_get(&p, &fx_err), -EINVAL);
	ck_assert_str_eq(fx_err.msg, "here: expected an absolute path");
	memset(name, 'a', sizeof(name));
	name[0] = '/';
	name[sizeof(name) - 1] = '\0';
	ck_assert_int_eq(setenv("KOSVM_RUN", name, 1), 0);
	ck_assert_int_eq(api_paths_get(&p, &fx_err), -ENAMETOOLONG);
	ck_assert_int_eq(unsetenv("KOSVM_RUN") | setenv("KOSVM_STATE", "", 1), 0);
	ck_assert_int_eq(
		unsetenv("XDG_RUNTIME_DIR") | unsetenv("XDG_STATE_HOME") | setenv("HOME", "", 1),
		0);
	if (geteuid() == 0) {
		ck_assert_int_eq(api_paths_get(&p, &fx_err), 0);
		ck_assert_str_eq(p.socket, "/run/kosvm/kosvmd.sock");
		ck_assert_str_eq(p.state_dir, "/var/lib/kosvm");
		if (seteuid(65534) < 0)
			return;
	}
	ck_assert_int_eq(api_paths_get(&p, &fx_err), -ENOENT);
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", "/run/user/7", 1), 0);
	ck_assert_int_eq(api_paths_get(&p, &fx_err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(fx_err.msg, "KOSVM_STATE"));
	ck_assert_int_eq(setenv("HOME", "/home/u", 1), 0);
	ck_assert_int_eq(api_paths_get(&p, &fx_err), 0);
	ck_assert_str_eq(p.run_dir, "/run/user/7/kosvm");
	ck_assert_str_eq(p.state_dir, "/home/u/.local/state/kosvm");
	ck_assert_int_eq(setenv("XDG_STATE_HOME", "/x", 1), 0);
	ck_assert_int_eq(api_paths_get(&p, &fx_err), 0);
	ck_assert_str_eq(p.state_dir, "/x/kosvm");
	(void)!seteuid(getuid());
}
END_TEST

int main(void)
{
	Suite *s = suite_create("api_proto");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, round_trip);
	tcase_add_loop_test(t, refuses, 0, (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(t, too_deep);
	tcase_add_test(t, too_long);
	tcase_add_test(t, empty_with_files);
	tcase_add_test(t, more_files_than_wanted);
	tcase_add_test(t, last_words);
	tcase_add_test(t, texts);
	tcase_add_test(t, paths);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
