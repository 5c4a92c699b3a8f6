/* The table of states and events: every pair, and what people are told of it. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"

/*
 * The whole table once more, as people read it: a line a state, "event>state".
 * Every pair that is not here must be refused.
 */
static const char *const expected[AGENT_STATE_COUNT] = {
	[AGENT_CREATED] = "start>starting rm>purging",
	[AGENT_STARTING] = "ready>running stop>stopping broken>failed lost>failed oom>failed",
	[AGENT_RUNNING] = "exited>stopping stop>stopping hung>stopping expired>stopping "
			  "broken>failed lost>failed oom>failed sleep>sleeping",
	[AGENT_SLEEPING] = "stop>stopping broken>failed lost>failed oom>failed slept>asleep",
	[AGENT_ASLEEP] = "wake>waking rm>purging",
	[AGENT_WAKING] = "stop>stopping broken>failed lost>failed oom>failed woken>running",
	[AGENT_STOPPING] = "ended>stopped broken>failed lost>stopped oom>failed",
	[AGENT_STOPPED] = "start>starting restart>starting rm>purging",
	[AGENT_FAILED] = "start>starting restart>starting rm>purging",
	[AGENT_PURGING] = "rm>purging purged>purged",
	[AGENT_PURGED] = "",
};

/* "starting" if the line of s has "start>starting", else NULL. */
static const char *wanted(enum agent_state s, enum agent_event ev, char *buf, size_t len)
{
	size_t name_len = strlen(agent_event_name(ev));
	const char *p = expected[s];

	while (*p) {
		size_t n = strcspn(p, " ");

		if (n > name_len && p[name_len] == '>' &&
			strncmp(p, agent_event_name(ev), name_len) == 0) {
			ck_assert_uint_lt(n - name_len - 1, len);
			memcpy(buf, p + name_len + 1, n - name_len - 1);
			buf[n - name_len - 1] = '\0';
			return buf;
		}
		p += n;
		p += strspn(p, " ");
	}
	return NULL;
}

START_TEST(every_pair)
{
	unsigned allowed = 0;

	for (int s = AGENT_CREATED; s < AGENT_STATE_COUNT; s++) {
		for (int ev = 0; ev < AGENT_EVENT_COUNT; ev++) {
			char buf[32];
			const char *want =
				wanted((enum agent_state)s, (enum agent_event)ev, buf, sizeof(buf));
			enum agent_state next =
				agent_state_next((enum agent_state)s, (enum agent_event)ev);

			ck_assert_msg(!next == !want, "%s in %s",
				agent_event_name((enum agent_event)ev),
				agent_state_name((enum agent_state)s));
			if (want) {
				ck_assert_str_eq(agent_state_name(next), want);
				allowed++;
			}
		}
	}
	ck_assert_uint_eq(allowed, 39);
}
END_TEST

START_TEST(names)
{
	enum agent_state s;
	enum agent_event ev;

	for (int i = AGENT_CREATED; i < AGENT_STATE_COUNT; i++) {
		ck_assert_int_eq(agent_state_parse(agent_state_name((enum agent_state)i), &s), 0);
		ck_assert_int_eq(s, i);
	}
	for (int i = 0; i < AGENT_EVENT_COUNT; i++) {
		ck_assert_int_eq(agent_event_parse(agent_event_name((enum agent_event)i), &ev), 0);
		ck_assert_int_eq(ev, i);
	}
	ck_assert_int_eq(agent_state_parse("alive", &s), -EINVAL);
	ck_assert_int_eq(agent_state_parse("", &s), -EINVAL);
	ck_assert_int_eq(agent_event_parse("starting", &ev), -EINVAL);
	ck_assert_str_eq(agent_state_name((enum agent_state)0), "unknown");
	ck_assert_str_eq(agent_state_name(AGENT_STATE_COUNT), "unknown");
}
END_TEST

START_TEST(allowed_words)
{
	char buf[128];

	agent_state_allowed(AGENT_STOPPED, buf, sizeof(buf));
	ck_assert_str_eq(buf, "start, restart, rm");
	agent_state_allowed(AGENT_PURGED, buf, sizeof(buf));
	ck_assert_str_eq(buf, "nothing");
	agent_state_allowed(AGENT_RUNNING, buf, sizeof(buf));
	ck_assert_str_eq(buf, "exited, stop, hung, expired, broken, lost, oom, sleep");
	agent_state_allowed(AGENT_RUNNING, buf, 5);
	ck_assert_str_eq(buf, "exit");
}
END_TEST

/* From each state but the last there is a way on; a live one can always be stopped or ends. */
START_TEST(no_dead_ends)
{
	for (int i = AGENT_CREATED; i < AGENT_PURGED; i++) {
		enum agent_state s = (enum agent_state)i;
		bool way = false;

		for (int ev = 0; ev < AGENT_EVENT_COUNT; ev++)
			way |= agent_state_next(s, (enum agent_event)ev) != 0;
		ck_assert(way);
		if (agent_state_live(s)) {
			ck_assert_int_eq(agent_state_next(s, AGENT_EV_BROKEN), AGENT_FAILED);
			ck_assert_int_ne(agent_state_next(s, AGENT_EV_LOST), 0);
			ck_assert(s == AGENT_STOPPING ||
				agent_state_next(s, AGENT_EV_STOP) == AGENT_STOPPING);
		} else if (s != AGENT_PURGING) {
			ck_assert_int_eq(agent_state_next(s, AGENT_EV_PURGE), AGENT_PURGING);
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agent_table");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_test(t, every_pair);
	tcase_add_test(t, names);
	tcase_add_test(t, allowed_words);
	tcase_add_test(t, no_dead_ends);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
