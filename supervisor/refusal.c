#include "refusal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>

#define REFUSALS_MAX 32u

struct refusal {
	LIST_ENTRY(refusal) link;
	struct refusals *all;
	struct loop_fd w;
	struct loop_timer end;
	int fd;
};

static void refusal_free(struct refusal *r)
{
	loop_fd_del(&r->w);
	loop_timer_done(&r->end);
	close_fd(&r->fd);
	LIST_REMOVE(r, link);
	r->all->count--;
	free(r);
}

static void refusal_ready(struct loop_fd *w, uint32_t events)
{
	struct refusal *r = container_of(w, struct refusal, w);
	char buf[4096];

	(void)events;
	if (recv(r->fd, buf, sizeof(buf), MSG_DONTWAIT) <= 0)
		refusal_free(r);
}

static void refusal_late(struct loop_timer *t)
{
	refusal_free(container_of(t, struct refusal, end));
}

void refusal_send(struct refusals *rs, int fd, const char *text)
{
	struct refusal *r;

	(void)send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)shutdown(fd, SHUT_WR);
	r = rs->count < REFUSALS_MAX ? calloc(1, sizeof(*r)) : NULL;
	if (!r) {
		(void)close(fd);
		return;
	}
	r->all = rs;
	r->fd = fd;
	r->w = (struct loop_fd){ .fn = refusal_ready, .fd = -1 };
	r->end = (struct loop_timer){ .fn = refusal_late, .w = { .fd = -1 } };
	LIST_INSERT_HEAD(&rs->list, r, link);
	rs->count++;
	if (loop_fd_add(rs->loop, &r->w, fd, EPOLLIN) < 0 ||
		loop_timer_set(rs->loop, &r->end, CLOCK_NS_PER_S, 0) < 0)
		refusal_free(r);
}

void refusals_done(struct refusals *rs)
{
	struct refusal *r;

	while ((r = LIST_FIRST(&rs->list)))
		refusal_free(r);
}
