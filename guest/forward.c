#include "forward.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>

/* Less room than this is not worth a frame of its own. */
#define FORWARD_MIN 4096u
#define FORWARD_MAX 32768u
/* Reads in one turn: the others want their turn too. */
#define FORWARD_TURNS 4

static void forward_pause(struct forward *f)
{
	/* Deleted, not masked: a closed pipe reports EPOLLHUP whatever is asked for. */
	loop_fd_del(&f->w);
}

/* One read. >0: bytes moved; 0: end; -EAGAIN: empty, or no room (then paused); other -errno. */
static ssize_t forward_once(struct forward *f)
{
	uint8_t scrap[FORWARD_MIN];
	uint8_t *place = scrap;
	size_t want = sizeof(scrap);
	bool keep = f->to->keeps(f->to);
	ssize_t n;

	if (keep) {
		size_t room = f->to->room(f->to);

		if (room < FORWARD_MIN) {
			forward_pause(f);
			return -EAGAIN;
		}
		want = room < FORWARD_MAX ? room : FORWARD_MAX;
		place = f->to->reserve(f->to, want);
	}
	n = read(f->fd, place, want);
	if (n < 0)
		return -errno;
	if (n > 0 && keep)
		f->to->commit(f->to, f->type, (size_t)n);
	if (f->settling)
		f->settle_left -= (uint64_t)n < f->settle_left ? (uint64_t)n : f->settle_left;
	return n;
}

static void forward_event(struct loop_fd *w, uint32_t events)
{
	struct forward *f = container_of(w, struct forward, w);

	(void)events;
	for (int i = 0; i < FORWARD_TURNS; i++) {
		ssize_t n = forward_once(f);

		if (n == -EAGAIN)
			break;
		if (n == -EINTR)
			continue;
		if (n <= 0) {
			forward_done(f);
			break;
		}
	}
	f->moved(f);
}

static void settle_now(struct forward *f)
{
	int queued = 0;

	if (f->fd >= 0 && ioctl(f->fd, FIONREAD, &queued) < 0)
		queued = 0;
	f->settling = true;
	f->settle_left = (uint64_t)queued;
}

static void forward_late(struct loop_timer *t)
{
	struct forward *f = container_of(t, struct forward, late);

	loop_timer_done(t);
	settle_now(f);
	f->moved(f);
}

int forward_open(struct forward *f, struct loop *loop, int fd, struct sink *to,
	enum guest_frame_type type, void (*moved)(struct forward *f))
{
	int r = io_set_nonblock(fd, 1);

	if (r < 0)
		return r;
	*f = (struct forward){
		.w = { .fn = forward_event, .fd = -1 },
		.late = { .fn = forward_late, .w = { .fd = -1 } },
		.loop = loop,
		.to = to,
		.type = type,
		.fd = -1,
		.moved = moved,
	};
	r = loop_fd_add(loop, &f->w, fd, EPOLLIN);
	if (r == 0)
		f->fd = fd;
	return r;
}

void forward_done(struct forward *f)
{
	if (f->fd < 0)
		return;
	loop_timer_done(&f->late);
	loop_fd_del(&f->w);
	close_fd(&f->fd);
}

void forward_resume(struct forward *f)
{
	if (f->fd >= 0 && !f->w.loop)
		(void)loop_fd_add(f->loop, &f->w, f->fd, EPOLLIN);
}

void forward_settle(struct forward *f)
{
	if (f->fd >= 0 && f->terminal)
		(void)loop_timer_set(f->loop, &f->late, FORWARD_HANGUP_MS * CLOCK_NS_PER_MS, 0);
	else
		settle_now(f);
}

bool forward_settled(const struct forward *f)
{
	return f->fd < 0 || (f->settling && f->settle_left == 0);
}
