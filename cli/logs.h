#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <base/kerr.h>

struct logs_want {
	const char *name;
	bool follow;
	bool timestamps;
	bool no_stdout, no_stderr;
	uint64_t since_ns, until_ns; /* 0: not said */
	const char *tail;            /* digits; NULL: all */
	/* As in call.h; may be NULL. */
	int wake_fd;
	int (*wake)(void *user, struct kerr *e);
	void *user;
};
/* What the agent wrote, to standard output and standard error, until the end of the log. */
int logs_print(const struct logs_want *w, struct kerr *e);
