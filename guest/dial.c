#include "dial.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>

static void dial_drop(struct dial *d)
{
	loop_fd_del(&d->w);
	close_fd(&d->fd);
}

void dial_again(struct dial *d)
{
	dial_drop(d);
	(void)loop_timer_set(d->loop, &d->timer, d->wait_ms * CLOCK_NS_PER_MS, 0);
	d->wait_ms = d->wait_ms * 2 < DIAL_WAIT_MAX_MS ? d->wait_ms * 2 : DIAL_WAIT_MAX_MS;
}

static void dial_event(struct loop_fd *w, uint32_t events)
{
	struct dial *d = container_of(w, struct dial, w);
	socklen_t len = sizeof(int);
	int err = 0;
	int fd;

	if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err == 0 && (events & (EPOLLERR | EPOLLHUP)))
		err = ECONNRESET;
	if (err) {
		log_debug("host port %u: %s", d->port, strerror(err));
		dial_again(d);
		return;
	}
	loop_timer_done(&d->timer);
	loop_fd_del(&d->w);
	fd = steal_fd(&d->fd);
	d->connected(d, fd);
}

static void dial_try(struct dial *d)
{
	int r;

	d->fd = d->open(d->port);
	r = d->fd < 0 ? d->fd : loop_fd_add(d->loop, &d->w, d->fd, EPOLLOUT);
	if (r < 0) {
		log_debug("host port %u: %s", d->port, strerror(-r));
		dial_again(d);
		return;
	}
	(void)loop_timer_set(d->loop, &d->timer, DIAL_ANSWER_MS * CLOCK_NS_PER_MS, 0);
}

static void dial_timer(struct loop_timer *t)
{
	struct dial *d = container_of(t, struct dial, timer);

	loop_timer_done(t);
	if (d->fd >= 0)
		dial_again(d); /* no answer */
	else
		dial_try(d);
}

void dial_init(struct dial *d, struct loop *loop, uint32_t port, int (*open)(uint32_t port),
	void (*connected)(struct dial *d, int fd))
{
	*d = (struct dial){
		.loop = loop,
		.port = port,
		.open = open,
		.connected = connected,
		.w = { .fn = dial_event, .fd = -1 },
		.timer = { .fn = dial_timer, .w = { .fd = -1 } },
		.fd = -1,
		.wait_ms = DIAL_WAIT_MS,
	};
}

void dial_done(struct dial *d)
{
	loop_timer_done(&d->timer);
	dial_drop(d);
}

void dial_start(struct dial *d)
{
	dial_done(d);
	dial_try(d);
}

void dial_good(struct dial *d)
{
	d->wait_ms = DIAL_WAIT_MS;
}
