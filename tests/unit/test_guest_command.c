#include <check.h>
#include <errno.h>
#include <string.h>

#include <base/cleanup.h>
#include <wire/guest_proto.h>

#include "command.h"

static uint8_t frame[GUEST_FRAME_HDR_LEN + GUEST_FRAME_MAX];

static void begin(struct guest_writer *w)
{
	guest_writer_begin(w, frame, sizeof(frame), GUEST_CONFIG);
}

static int decode(struct guest_writer *w, struct command *c, struct kerr *e)
{
	int len = guest_writer_end(w);

	ck_assert_int_gt(len, 0);
	return command_decode(c, frame + GUEST_FRAME_HDR_LEN, (size_t)len - GUEST_FRAME_HDR_LEN, e);
}

START_TEST(a_whole_command)
{
	struct command c = { 0 };
	struct kerr e = { 0 };
	struct guest_writer w;

	begin(&w);
	guest_put_text(&w, GUEST_F_HOSTNAME, "mint");
	guest_put_text(&w, GUEST_F_ARGV, "/bin/echo");
	guest_put_text(&w, GUEST_F_ARGV, "");
	guest_put_text(&w, GUEST_F_ARGV, "two words");
	guest_put_text(&w, GUEST_F_ENV, "A=1=2");
	guest_put_text(&w, GUEST_F_ENV, "EMPTY=");
	guest_put_text(&w, GUEST_F_USER, "1000:1000");
	guest_put_text(&w, GUEST_F_CWD, "/state");
	guest_put_u64(&w, GUEST_F_TIME_NS, 12);
	guest_put_u32(&w, GUEST_F_HAS_STATE, 1);
	guest_put_text(&w, (enum guest_field)999, "of a later version");
	ck_assert_int_eq(decode(&w, &c, &e), 0);
	ck_assert_uint_eq(c.argv.n, 3);
	ck_assert_str_eq(c.argv.v[1], "");
	ck_assert_str_eq(c.argv.v[2], "two words");
	ck_assert_ptr_null(c.argv.v[3]);
	ck_assert_uint_eq(c.env.n, 2);
	ck_assert_str_eq(c.user, "1000:1000");
	ck_assert_str_eq(c.cwd, "/state");
	ck_assert_str_eq(c.hostname, "mint");
	ck_assert_uint_eq(c.time_ns, 12);
	ck_assert(c.has_state);
	command_done(&c);
	command_done(&c);
}
END_TEST

/* One mistake each, in front of or behind a good argv. */
START_TEST(mistakes_are_refused)
{
	for (int mistake = 0; mistake < 12; mistake++) {
		struct command c = { 0 };
		struct kerr e = { 0 };
		struct guest_writer w;

		begin(&w);
		if (mistake > 1)
			guest_put_text(&w, GUEST_F_ARGV, "prog");
		switch (mistake) {
		case 0: /* no argv */
			break;
		case 1:
			guest_put_text(&w, GUEST_F_ARGV, "");
			break;
		case 2:
			guest_put_text(&w, GUEST_F_ENV, "NOVALUE");
			break;
		case 3:
			guest_put_text(&w, GUEST_F_ENV, "=x");
			break;
		case 4:
			guest_put_text(&w, GUEST_F_ENV, "");
			break;
		case 5:
			guest_put_text(&w, GUEST_F_CWD, "relative");
			break;
		case 6:
			guest_put_text(&w, GUEST_F_CWD, "");
			break;
		case 7:
			guest_put_text(&w, GUEST_F_USER, "a");
			guest_put_text(&w, GUEST_F_USER, "b");
			break;
		case 8:
			guest_put_u32(&w, GUEST_F_TIME_NS, 1);
			break;
		case 9:
			guest_put_u64(&w, GUEST_F_HAS_STATE, 1);
			break;
		case 10:
			guest_put_raw(&w, "stray", 5);
			break;
		case 11:
			for (unsigned i = 0; i < COMMAND_WORDS_MAX + 1; i++)
				guest_put_text(&w, GUEST_F_ARGV, "x");
			break;
		}
		ck_assert_msg(decode(&w, &c, &e) < 0, "mistake %d was taken", mistake);
		ck_assert(e.msg[0] != '\0');
		command_done(&c);
	}
}
END_TEST

START_TEST(the_environment)
{
	struct command base = { 0 };
	struct command c = { 0 };
	struct words env = { 0 };
	struct user u = { .name = "mint" };

	ck_assert_int_eq(words_add(&base.env, "COLOUR=green"), 0);
	ck_assert_int_eq(words_add(&base.env, "PATH=/opt/bin"), 0);
	ck_assert_int_eq(words_add(&base.env, "HOMER=x"), 0);
	ck_assert_int_eq(words_add(&c.env, "COLOUR=blue"), 0);
	ck_assert_int_eq(command_environ(&c, &base, &u, "/state", &env), 0);
	ck_assert_str_eq(words_env(&env, "PATH"), "/opt/bin");
	ck_assert_str_eq(words_env(&env, "HOME"), "/state");
	ck_assert_str_eq(words_env(&env, "USER"), "mint");
	ck_assert_str_eq(words_env(&env, "LOGNAME"), "mint");
	ck_assert_str_eq(words_env(&env, "COLOUR"), "blue");
	ck_assert_str_eq(words_env(&env, "HOMER"), "x");
	ck_assert_ptr_null(words_env(&env, "COLOU"));
	ck_assert_uint_eq(env.n, 6); /* no name twice */
	words_done(&env);
	ck_assert_int_eq(command_environ(&c, NULL, &u, "/tmp", &env), 0);
	ck_assert_ptr_nonnull(strstr(words_env(&env, "PATH"), "/usr/bin"));
	words_done(&env);
	command_done(&base);
	command_done(&c);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("guest_command");
	TCase *t = tcase_create("guest_command");
	SRunner *sr;
	int failed;

	tcase_add_test(t, a_whole_command);
	tcase_add_test(t, mistakes_are_refused);
	tcase_add_test(t, the_environment);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
