#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include <base/kerr.h>

/*
 * A small epoll loop. One thread owns a loop: every call is
 * made from it. Watchers are embedded in their owner and must outlive
 * their registration; removing any watcher, also from inside any
 * callback, is safe, and its callback is not called again afterwards.
 */
struct loop;

/* events: EPOLLIN, EPOLLOUT, EPOLLHUP, … as epoll_ctl(2) reports them. */
struct loop_fd {
	void (*fn)(struct loop_fd *w, uint32_t events);
	int fd;          /* owned by the caller; -1 when not registered */
	uint32_t events; /* what is asked for at the moment */
	struct loop *loop;
};

/* One-shot or periodic, on CLOCK_MONOTONIC, by timerfd(2). */
struct loop_timer {
	void (*fn)(struct loop_timer *t);
	struct loop_fd w;
};

/* A child (or any process) by pidfd(2); fires once when it has ended. */
struct loop_pid {
	void (*fn)(struct loop_pid *p);
	struct loop_fd w; /* w.fd is the pidfd, owned by the watcher */
};

/* Signals by signalfd(2); the set is blocked in the calling thread. */
struct loop_signal {
	void (*fn)(struct loop_signal *s, int signo);
	struct loop_fd w;
};

int loop_new(struct loop **ret, struct kerr *e);
void loop_free(struct loop *l);

/* Runs until loop_quit; returns the code given there, or -errno. */
int loop_run(struct loop *l, struct kerr *e);

/* Handles what is ready, waiting at most timeout_ms (-1: for ever). 0 or -errno. */
int loop_step(struct loop *l, int timeout_ms, struct kerr *e);
void loop_quit(struct loop *l, int code);

/* w->fn is set by the caller; w->fd, events and loop are filled in here. */
int loop_fd_add(struct loop *l, struct loop_fd *w, int fd, uint32_t events);
int loop_fd_mod(struct loop_fd *w, uint32_t events);
void loop_fd_del(struct loop_fd *w); /* no-op when not registered; does not close */

/*
 * first_ns = 0 disarms. interval_ns = 0 means one shot. Starts or re-arms; of one that
 * loop_timer_add has made, without a new descriptor.
 */
int loop_timer_add(struct loop *l, struct loop_timer *t);
int loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t first_ns, uint64_t interval_ns);
void loop_timer_done(struct loop_timer *t);

/* pidfd becomes the watcher's on success. Waiting for the status is the callback's. */
int loop_pid_add(struct loop *l, struct loop_pid *p, int pidfd);
void loop_pid_done(struct loop_pid *p);

int loop_signal_add(struct loop *l, struct loop_signal *s, const sigset_t *set);
void loop_signal_done(struct loop_signal *s);

/* Initial values for watchers that may be cleaned up before they were added. */
#define LOOP_FD_INIT                                                                               \
	{                                                                                          \
		.fd = -1                                                                           \
	}
#define LOOP_TIMER_INIT                                                                            \
	{                                                                                          \
		.w = {.fd = -1 }                                                                   \
	}
#define LOOP_PID_INIT                                                                              \
	{                                                                                          \
		.w = {.fd = -1 }                                                                   \
	}
#define LOOP_SIGNAL_INIT                                                                           \
	{                                                                                          \
		.w = {.fd = -1 }                                                                   \
	}
