#include <base/loop.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>

#define LOOP_BATCH 64

struct loop {
	int epfd;
	int quit_code;
	bool quit;
	/* The batch being dispatched: a removed watcher is struck out of it. */
	struct epoll_event batch[LOOP_BATCH];
	int batch_len;
	int batch_pos;
};

int loop_new(struct loop **ret, struct kerr *e)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return kerr_errno(e, ENOMEM, "event loop");
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0) {
		int code = errno;

		free(l);
		return kerr_errno(e, code, "epoll_create1");
	}
	*ret = l;
	return 0;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	close_fd(&l->epfd);
	free(l);
}

void loop_quit(struct loop *l, int code)
{
	l->quit = true;
	l->quit_code = code;
}

int loop_step(struct loop *l, int timeout_ms, struct kerr *e)
{
	int n = epoll_wait(l->epfd, l->batch, LOOP_BATCH, timeout_ms);

	if (n < 0) {
		if (errno == EINTR)
			return 0;
		return kerr_errno(e, errno, "epoll_wait");
	}
	l->batch_len = n;
	for (l->batch_pos = 0; l->batch_pos < l->batch_len; l->batch_pos++) {
		struct epoll_event *ev = &l->batch[l->batch_pos];
		struct loop_fd *w = ev->data.ptr;

		if (w)
			w->fn(w, ev->events);
	}
	l->batch_len = 0;
	return 0;
}

int loop_run(struct loop *l, struct kerr *e)
{
	while (!l->quit) {
		int r = loop_step(l, -1, e);

		if (r < 0)
			return r;
	}
	l->quit = false;
	return l->quit_code;
}

int loop_fd_add(struct loop *l, struct loop_fd *w, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	w->fd = fd;
	w->events = events;
	w->loop = l;
	return 0;
}

int loop_fd_mod(struct loop_fd *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (w->events == events)
		return 0;
	if (epoll_ctl(w->loop->epfd, EPOLL_CTL_MOD, w->fd, &ev) < 0)
		return -errno;
	w->events = events;
	return 0;
}

void loop_fd_del(struct loop_fd *w)
{
	struct loop *l = w->loop;

	if (!l || w->fd < 0)
		return;
	(void)epoll_ctl(l->epfd, EPOLL_CTL_DEL, w->fd, NULL);
	for (int i = 0; i < l->batch_len; i++) {
		if (l->batch[i].data.ptr == w)
			l->batch[i].data.ptr = NULL;
	}
	w->fd = -1;
	w->loop = NULL;
}

static void timer_fired(struct loop_fd *w, uint32_t events)
{
	struct loop_timer *t = container_of(w, struct loop_timer, w);
	uint64_t count;

	(void)events;
	if (read(w->fd, &count, sizeof(count)) == sizeof(count))
		t->fn(t);
}

static struct timespec ns_to_timespec(uint64_t ns)
{
	return (struct timespec){
		.tv_sec = (time_t)(ns / CLOCK_NS_PER_S),
		.tv_nsec = (long)(ns % CLOCK_NS_PER_S),
	};
}

int loop_timer_add(struct loop *l, struct loop_timer *t)
{
	int fd;
	int r;

	if (t->w.loop)
		return 0;
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	t->w.fn = timer_fired;
	r = loop_fd_add(l, &t->w, fd, EPOLLIN);
	if (r < 0)
		(void)close(fd);
	return r;
}

int loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t first_ns, uint64_t interval_ns)
{
	struct itimerspec its = {
		.it_value = ns_to_timespec(first_ns),
		.it_interval = ns_to_timespec(interval_ns),
	};
	int r = loop_timer_add(l, t);

	if (r < 0)
		return r;
	return timerfd_settime(t->w.fd, 0, &its, NULL) < 0 ? -errno : 0;
}

static void watcher_close(struct loop_fd *w)
{
	int fd = w->fd;

	if (!w->loop)
		return;
	loop_fd_del(w);
	(void)close(fd);
}

void loop_timer_done(struct loop_timer *t)
{
	watcher_close(&t->w);
}

static void pid_fired(struct loop_fd *w, uint32_t events)
{
	struct loop_pid *p = container_of(w, struct loop_pid, w);

	(void)events;
	/* A pidfd stays readable: one report is enough. */
	watcher_close(w);
	p->fn(p);
}

int loop_pid_add(struct loop *l, struct loop_pid *p, int pidfd)
{
	p->w.fn = pid_fired;
	return loop_fd_add(l, &p->w, pidfd, EPOLLIN);
}

void loop_pid_done(struct loop_pid *p)
{
	watcher_close(&p->w);
}

static void signal_fired(struct loop_fd *w, uint32_t events)
{
	struct loop_signal *s = container_of(w, struct loop_signal, w);
	struct signalfd_siginfo si;

	(void)events;
	if (read(w->fd, &si, sizeof(si)) == sizeof(si))
		s->fn(s, (int)si.ssi_signo);
}

int loop_signal_add(struct loop *l, struct loop_signal *s, const sigset_t *set)
{
	int fd;
	int r;

	if (sigprocmask(SIG_BLOCK, set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	s->w.fn = signal_fired;
	r = loop_fd_add(l, &s->w, fd, EPOLLIN);
	if (r < 0)
		(void)close(fd);
	return r;
}

void loop_signal_done(struct loop_signal *s)
{
	watcher_close(&s->w);
}
