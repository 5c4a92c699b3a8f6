#pragma once

#include <stddef.h>
#include <sys/types.h>

#include <jansson.h>

#include <base/fdpass.h>
#include <base/loop.h>

/*
 * A child process for work that is long, or that parses hostile files:
 * image imports, and the verification before a start. It reports in JSON
 * messages with descriptors over a socket pair; when it ends without a
 * last message, that is an error of its own. A worker dies with kosvmd.
 */
struct worker;
struct worker_port;

/* In the child: returns 0 and the result, or -errno and the error. */
typedef int (*worker_fn)(void *arg, struct worker_port *port, json_t **ret_result, int *ret_fds,
	size_t *ret_nfds, struct kerr *e);

struct worker_ops {
	/* A line for a person, and 0..1 (negative: unknown). */
	void (*progress)(void *user, const char *what, double fraction);
	/*
	 * Once, when the process is gone: result 0 with the object (borrowed)
	 * and fds (the callee's), or -errno with the error. The worker is
	 * freed when it returns.
	 */
	void (*done)(
		void *user, int result, json_t *ok, int *fds, size_t nfds, const struct kerr *err);
};

/* keep_fds: descriptors the child needs; every other one above 2 is closed there. */
int worker_start(struct worker **ret, struct loop *loop, worker_fn fn, void *arg,
	const int *keep_fds, size_t keep_count, const struct worker_ops *ops, void *user,
	struct kerr *e);

/*
 * Ends the child at once; done is not called. NULL is fine. The process may
 * need a while to go (it may be in the middle of an fsync): gone(user) is
 * called when it has, possibly from inside; gone may be NULL.
 */
void worker_cancel(struct worker *w, void (*gone)(void *user), void *user);

/* For the child's fn. */
void worker_progress(struct worker_port *port, const char *what, double fraction);
