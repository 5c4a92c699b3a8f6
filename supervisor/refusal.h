#pragma once

#include <sys/queue.h>

#include <base/loop.h>

/*
 * The last words to whoever is turned away at the door. A socket that is
 * closed with something unread tells its peer of a broken connection instead
 * of the answer, so what comes is read and dropped for a second. Their number
 * is bounded: the ones beyond it are closed without waiting.
 */
struct refusals {
	struct loop *loop;
	LIST_HEAD(refusal_list, refusal) list;
	unsigned count;
};

/* fd is taken over. */
void refusal_send(struct refusals *rs, int fd, const char *text);
void refusals_done(struct refusals *rs);
