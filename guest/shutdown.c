#include "shutdown.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>
#include <wire/guest_proto.h>

static int kill_everybody(int signo)
{
	/* All but PID 1 and the caller, which are the same here. */
	return getpid() == 1 ? kill(-1, signo) : -1;
}

static void shutdown_timer(struct loop_timer *t)
{
	struct shutdown *s = container_of(t, struct shutdown, timer);

	if (s->phase == SHUTDOWN_TERM) {
		s->phase = SHUTDOWN_KILL;
		(void)s->kill_all(SIGKILL);
		(void)loop_timer_set(s->loop, &s->timer, SHUTDOWN_KILL_MS * CLOCK_NS_PER_MS, 0);
	} else {
		log_warn("some process does not end even by SIGKILL");
		loop_quit(s->loop, 0);
	}
}

void shutdown_init(struct shutdown *s, struct loop *loop, struct reaper *reaper)
{
	*s = (struct shutdown){
		.loop = loop,
		.reaper = reaper,
		.timer = { .fn = shutdown_timer, .w = { .fd = -1 } },
		.kill_all = kill_everybody,
	};
}

void shutdown_begin(struct shutdown *s, uint32_t grace_ms)
{
	/* 0 would disarm the timer. */
	uint64_t ns = grace_ms ? grace_ms * CLOCK_NS_PER_MS : 1;

	if (s->phase == SHUTDOWN_KILL)
		return;
	if (s->phase == SHUTDOWN_NOT) {
		s->phase = SHUTDOWN_TERM;
		(void)s->kill_all(SIGTERM);
		(void)s->kill_all(SIGCONT);
	}
	(void)loop_timer_set(s->loop, &s->timer, ns, 0);
	if (reaper_collect(s->reaper))
		loop_quit(s->loop, 0);
}

void shutdown_childless(struct shutdown *s)
{
	if (s->phase != SHUTDOWN_NOT)
		loop_quit(s->loop, 0);
}

void shutdown_power_off(void)
{
	sync();
	for (;;) {
		(void)reboot(RB_POWER_OFF);
		/* Without power-off the kernel halts; not even that: the host's deadline ends us.
		 */
		(void)sleep(1);
	}
}

/* ---- the last resort ---- */

static const int *fault_control;
static uint8_t fault_frame[160];
static size_t fault_len;

static void fault(int signo, siginfo_t *si, void *context)
{
	static const char text[] = "kosvm-init[error]: crashed; powering off\n";

	(void)context;
	/* Root in the guest may send what the kernel sends: that is no crash of ours. */
	if (si->si_code <= 0 && si->si_pid != getpid())
		return;
	(void)signal(signo, SIG_DFL);
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	if (fault_control && *fault_control >= 0)
		(void)send(*fault_control, fault_frame, fault_len, MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown_power_off();
}

int shutdown_catch_faults(const int *control_fd)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS };
	struct sigaction sa = { .sa_sigaction = fault, .sa_flags = SA_SIGINFO };
	struct guest_writer w;
	int len;

	guest_writer_begin(&w, fault_frame, sizeof(fault_frame), GUEST_ERROR);
	guest_put_text(&w, GUEST_F_TEXT, "kosvm-init crashed");
	len = guest_writer_end(&w);
	if (len < 0)
		return len;
	fault_len = (size_t)len;
	fault_control = control_fd;
	for (size_t i = 0; i < array_size(signals); i++) {
		if (sigaction(signals[i], &sa, NULL) < 0)
			return -errno;
	}
	return 0;
}
