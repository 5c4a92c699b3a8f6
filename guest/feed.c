#include "feed.h"

#include <errno.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "chan.h"

static void feed_event(struct loop_fd *w, uint32_t events)
{
	struct feed *f = container_of(w, struct feed, w);

	(void)events;
	f->ready(f);
}

int feed_open(struct feed *f, struct loop *loop, int fd, void (*ready)(struct feed *f))
{
	int r = io_set_nonblock(fd, 1);

	if (r < 0)
		return r;
	*f = (struct feed){
		.w = { .fn = feed_event, .fd = -1 },
		.loop = loop,
		.fd = fd,
		.ready = ready,
	};
	return 0;
}

void feed_done(struct feed *f)
{
	if (f->fd < 0)
		return;
	loop_fd_del(&f->w);
	close_fd(&f->fd);
}

int feed_take(struct feed *f, const uint8_t *payload, size_t len)
{
	static const uint8_t end_of_file = 4; /* VEOF, termios(3) */

	if (len == 0 && f->terminal) {
		payload = &end_of_file;
		len = 1;
	} else if (len == 0) {
		feed_done(f);
	}
	while (f->fd >= 0 && f->done < len) {
		ssize_t n = write(f->fd, payload + f->done, len - f->done);

		if (n >= 0) {
			f->done += (size_t)n;
		} else if (errno == EAGAIN) {
			if (f->w.loop || loop_fd_add(f->loop, &f->w, f->fd, EPOLLOUT) == 0)
				return CHAN_HOLD;
			return -ENOMEM;
		} else if (errno != EINTR) {
			/* The program closed its input: the rest goes nowhere, as in a shell's
			 * pipe. */
			feed_done(f);
		}
	}
	feed_forget(f);
	return 0;
}

void feed_forget(struct feed *f)
{
	loop_fd_del(&f->w);
	f->done = 0;
}
