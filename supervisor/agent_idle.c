/*
 * An agent that has nothing to do, as the host sees it: next to no processor
 * time, no bytes over vsock but the heartbeat's own, no block I/O, and nobody
 * connected. What the guest says of itself plays no part.
 */
#include <stdio.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>
#include <base/units.h>

#include "agent.h"
#include "proc_usage.h"

#define SAMPLES     5u /* in the window */
#define SAMPLE_MAX  (10 * CLOCK_NS_PER_S)
#define CPU_PERCENT 3u  /* timers and housekeeping of a guest that waits */
#define BEAT_BYTES  64u /* a ping and its answer */
#define OWN_STREAMS 2u  /* control and log */

static void act(struct agent *a)
{
	struct kerr err = { 0 };
	char limit[24];
	char text[96];

	switch (a->manifest.idle_action) {
	case MANIFEST_IDLE_NONE:
		return;
	/* Until there is sleep, it stands still: nothing is lost either way. */
	case MANIFEST_IDLE_SLEEP:
		log_info("agent %s is idle: paused", a->row.name);
		agent_pause(a, "idle");
		return;
	case MANIFEST_IDLE_STOP:
		units_format_duration(a->manifest.idle_after_ns, limit, sizeof(limit));
		(void)snprintf(text, sizeof(text), "it was idle for %s (idle-after)", limit);
		if (agent_move(a, AGENT_EV_STOP, text, &err) == 0)
			agent_ask_to_end(a, 0);
		else
			log_error("agent %s: %s: %s", a->row.name, text, err.msg);
		return;
	}
}

/* The figures of now against those of the last time. */
static bool was_idle(struct agent *a, uint64_t now, uint64_t cpu_ns, const struct vmm_stats *s)
{
	struct idle *i = &a->idle;
	uint64_t vsock = s->vsock_rx_bytes + s->vsock_tx_bytes;
	uint64_t blk = s->blk_read_bytes + s->blk_write_bytes;
	uint64_t beats = a->health.beats;
	bool idle = i->known && cpu_ns - i->cpu_ns <= (now - i->sampled_ns) / 100 * CPU_PERCENT &&
		vsock - i->vsock_bytes <= (beats - i->beats + 1) * BEAT_BYTES &&
		blk == i->blk_bytes && s->vsock_open <= OWN_STREAMS;

	i->known = true;
	i->cpu_ns = cpu_ns;
	i->vsock_bytes = vsock;
	i->blk_bytes = blk;
	i->beats = beats;
	i->sampled_ns = now;
	return idle;
}

static void sampled(void *user, int result, const struct vmm_reply *reply)
{
	struct agent *a = user;
	struct idle *i = &a->idle;
	struct proc_usage usage;
	uint64_t now = clock_mono_ns();

	if (result < 0 || a->state != AGENT_RUNNING || a->broken || *a->row.paused)
		return;
	if (proc_usage_read(vmm_proc_pid(a->vmm), &usage) < 0)
		return;
	if (!was_idle(a, now, usage.cpu_ns, &reply->stats))
		i->busy_ns = now;
	else if (now > i->busy_ns && now - i->busy_ns >= a->manifest.idle_after_ns)
		act(a);
}

static void sample_due(struct loop_timer *t)
{
	struct agent *a = container_of(t, struct agent, idle.sample);

	if (a->state == AGENT_RUNNING && !*a->row.paused && a->vmm)
		(void)vmm_proc_request(a->vmm, VMM_MSG_STATS, sampled, a);
}

void agent_idle_start(struct agent *a)
{
	uint64_t every = a->manifest.idle_after_ns / SAMPLES;
	struct idle *i = &a->idle;

	if (every == 0 || a->manifest.idle_action == MANIFEST_IDLE_NONE)
		return;
	i->known = false;
	i->busy_ns = clock_mono_ns();
	i->sample.fn = sample_due;
	if (every > SAMPLE_MAX)
		every = SAMPLE_MAX;
	if (loop_timer_set(a->sup->loop, &i->sample, every, every) < 0)
		log_error("agent %s: no timer for idleness", a->row.name);
}

void agent_idle_stop(struct agent *a)
{
	loop_timer_done(&a->idle.sample);
}
