#include "leftovers.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/kerr.h>
#include <base/log.h>
#include <images/store.h>

#define WAIT_LEAST_NS (100 * CLOCK_NS_PER_MS)
#define WAIT_MOST_NS  (60 * CLOCK_NS_PER_S)

static void look(struct loop_timer *t)
{
	struct leftovers *l = container_of(t, struct leftovers, timer);
	struct kerr err = { 0 };
	int r = store_clean(l->images_fd, &err);

	if (r < 0)
		log_warn("images: %s", err.msg);
	/* Imports at work hold theirs, too: they cost a look a minute. */
	if (r == 0 || loop_timer_set(l->loop, &l->timer, l->wait_ns, 0) < 0) {
		loop_timer_done(&l->timer);
		return;
	}
	l->wait_ns *= 2;
	if (l->wait_ns > WAIT_MOST_NS)
		l->wait_ns = WAIT_MOST_NS;
}

void leftovers_sweep(struct leftovers *l, struct loop *loop, int images_fd)
{
	l->loop = loop;
	l->images_fd = images_fd;
	l->timer.fn = look;
	l->wait_ns = WAIT_LEAST_NS;
	look(&l->timer);
}

void leftovers_done(struct leftovers *l)
{
	loop_timer_done(&l->timer);
}
