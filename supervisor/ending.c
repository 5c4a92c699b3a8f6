#include "ending.h"

#include <signal.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>

#include "agent.h"

static bool any_live(struct sup *s)
{
	struct agent *a;

	LIST_FOREACH(a, &s->agents, link)
	{
		if (agent_state_live(a->state))
			return true;
	}
	return false;
}

static void poll_agents(struct loop_timer *t)
{
	struct ending *en = container_of(t, struct ending, poll);

	if (!any_live(en->s))
		loop_quit(en->s->loop, 0);
}

static void stop_all(struct sup *s)
{
	struct agent *next;
	struct kerr err = { 0 };

	for (struct agent *a = LIST_FIRST(&s->agents); a; a = next) {
		next = LIST_NEXT(a, link);
		/* One that cannot be stopped in order (a full disk) must not keep kosvmd. */
		if (agent_state_live(a->state) && a->state != AGENT_STOPPING &&
			agent_stop(a, 0, &err) < 0)
			agent_break(a, "kosvmd ended: %s", err.msg);
	}
}

static void signal_came(struct loop_signal *ls, int signo)
{
	struct ending *en = container_of(ls, struct ending, sig);
	struct sup *s = en->s;

	if (s->ending) {
		log_warn("signal %d again: ending at once", signo);
		loop_quit(s->loop, 0);
		return;
	}
	s->ending = true;
	if (signo == SIGTERM) {
		log_info("signal %d: ending; VMs live on", signo);
		notify_stopping(&s->notify, "VMs live on");
		loop_quit(s->loop, 0);
		return;
	}
	log_info("signal %d: stopping all agents", signo);
	notify_stopping(&s->notify, "stopping all agents");
	en->kill = true;
	stop_all(s);
	en->poll.fn = poll_agents;
	if (loop_timer_set(s->loop, &en->poll, 1, 50 * CLOCK_NS_PER_MS) < 0)
		loop_quit(s->loop, 1);
}

int ending_init(struct ending *en, struct sup *s, struct kerr *e)
{
	sigset_t set;
	int r;

	*en = (struct ending){ .sig = LOOP_SIGNAL_INIT, .poll = LOOP_TIMER_INIT, .s = s };
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	en->sig.fn = signal_came;
	r = loop_signal_add(s->loop, &en->sig, &set);
	return r < 0 ? kerr_errno(e, -r, "signals") : 0;
}

void ending_done(struct ending *en)
{
	if (en->kill)
		agents_done(en->s);
	else
		agents_detach(en->s);
	loop_timer_done(&en->poll);
	loop_signal_done(&en->sig);
}
