#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <base/cleanup.h>

#include "pty.h"

static void out_moved(struct forward *f)
{
	struct streams *s = container_of(f, struct streams, out);

	s->moved(s);
}

static void err_moved(struct forward *f)
{
	struct streams *s = container_of(f, struct streams, err);

	s->moved(s);
}

static void in_ready(struct feed *f)
{
	struct streams *s = container_of(f, struct streams, in);

	s->ready(s);
}

void streams_init(struct streams *s, struct loop *loop, void (*moved)(struct streams *s),
	void (*ready)(struct streams *s))
{
	*s = (struct streams){
		.loop = loop,
		.in = { .fd = -1 },
		.out = { .fd = -1 },
		.err = { .fd = -1 },
		.tty = -1,
		.moved = moved,
		.ready = ready,
	};
}

static int open_output(struct streams *s, struct forward *f, struct sink *to,
	enum guest_frame_type type, void (*moved)(struct forward *f), int *theirs)
{
	_cleanup_close_ int ours = -1;
	int p[2];
	int r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	ours = p[0];
	*theirs = p[1];
	r = forward_open(f, s->loop, ours, to, type, moved);
	if (r == 0)
		(void)steal_fd(&ours);
	return r;
}

static int open_input(struct streams *s, bool fed, int *theirs)
{
	_cleanup_close_ int ours = -1;
	int p[2];
	int r;

	if (!fed) {
		*theirs = open("/dev/null", O_RDONLY | O_CLOEXEC);
		return *theirs < 0 ? -errno : 0;
	}
	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	*theirs = p[0];
	ours = p[1];
	r = feed_open(&s->in, s->loop, ours, in_ready);
	if (r == 0)
		(void)steal_fd(&ours);
	return r;
}

int streams_pipes(
	struct streams *s, struct sink *out, struct sink *err, bool fed, int theirs[static 3])
{
	int r = open_input(s, fed, &theirs[0]);

	if (r == 0)
		r = open_output(s, &s->out, out, GUEST_STDOUT, out_moved, &theirs[1]);
	if (r == 0)
		r = open_output(s, &s->err, err, GUEST_STDERR, err_moved, &theirs[2]);
	return r;
}

static int copy_fd(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

/* Input and output on copies of the master; the slave three times. */
static int connect_terminal(struct streams *s, struct sink *out, int theirs[static 3])
{
	_cleanup_close_ int in = copy_fd(s->tty);
	_cleanup_close_ int from = copy_fd(s->tty);
	int r;

	if (in < 0 || from < 0)
		return in < 0 ? in : from;
	for (int i = 1; i < 3; i++) {
		theirs[i] = copy_fd(theirs[0]);
		if (theirs[i] < 0)
			return theirs[i];
	}
	r = feed_open(&s->in, s->loop, in, in_ready);
	if (r < 0)
		return r;
	(void)steal_fd(&in);
	s->in.terminal = true;
	r = forward_open(&s->out, s->loop, from, out, GUEST_STDOUT, out_moved);
	if (r < 0)
		return r;
	(void)steal_fd(&from);
	s->out.terminal = true;
	return 0;
}

int streams_terminal(struct streams *s, struct sink *out, uid_t uid, uint32_t rows, uint32_t cols,
	int theirs[static 3], struct kerr *e)
{
	int r = pty_open(uid, rows, cols, &s->tty, &theirs[0], e);

	if (r < 0)
		return r;
	r = connect_terminal(s, out, theirs);
	return r < 0 ? kerr_errno(e, -r, "terminal") : 0;
}

void streams_settle(struct streams *s)
{
	feed_done(&s->in);
	forward_settle(&s->out);
	forward_settle(&s->err);
}

bool streams_settled(const struct streams *s)
{
	return forward_settled(&s->out) && forward_settled(&s->err);
}

void streams_resume(struct streams *s)
{
	forward_resume(&s->out);
	forward_resume(&s->err);
}

void streams_done(struct streams *s)
{
	feed_done(&s->in);
	forward_done(&s->out);
	forward_done(&s->err);
	close_fd(&s->tty);
}
