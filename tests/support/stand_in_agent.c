/*
 * The agent that stand_in_vmm plays. It follows the words behind its
 * program's name:
 *   chatter MS       a numbered line each MS milliseconds, some to standard error
 *   burst N          N numbered lines as fast as they are taken
 *   exit CODE MS     ends by itself MS after its start
 *   signal N MS      the same by a signal
 *   hang MS          from then on no instruction is executed: no PONG, no end
 *   hang-once MS     the same in the first life of its state disk only
 *   poweroff MS, reset MS, crash MS   the machine ends: in order, as by a panic, by SIGABRT
 *   stubborn         waits for the whole grace when asked to end
 * A line is "TAG out N …" or "TAG err N …": TAG is the boot's, N counts from 1
 * without a gap. The last line of standard output is "TAG end N".
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "stand_in.h"

#define BURST_A_TICK 200u
#define ORDERS_MAX   8
#define END_MS       20

enum order_type {
	EXIT,
	SIGNALLED,
	HANG,
	HANG_ONCE,
	POWEROFF,
	RESET,
	CRASH,
	CHATTER,
	BURST,
	STUBBORN
};

static const struct {
	const char *name;
	unsigned words;
} kinds[] = {
	[EXIT] = { "exit", 2 },
	[SIGNALLED] = { "signal", 2 },
	[HANG] = { "hang", 1 },
	[HANG_ONCE] = { "hang-once", 1 },
	[POWEROFF] = { "poweroff", 1 },
	[RESET] = { "reset", 1 },
	[CRASH] = { "crash", 1 },
	[CHATTER] = { "chatter", 1 },
	[BURST] = { "burst", 1 },
	[STUBBORN] = { "stubborn", 0 },
};

struct order {
	enum order_type type;
	unsigned long words[2];
	unsigned given;
	bool done;
};

static struct agent {
	struct order orders[ORDERS_MAX];
	size_t count;
	uint32_t tag;
	uint64_t started; /* 0: not yet, or ended */
	uint64_t end_at;  /* 0: not asked to */
	int end_signal;
	uint64_t chatter_ns, chatter_next;
	unsigned long burst;
	uint32_t lines[2];
	bool stubborn;
} agent;

void agent_word(const char *word)
{
	struct order *last = agent.count ? &agent.orders[agent.count - 1] : NULL;

	if (last && last->given < kinds[last->type].words) {
		last->words[last->given++] = strtoul(word, NULL, 10);
		return;
	}
	for (size_t i = 0; i < array_size(kinds) && agent.count < ORDERS_MAX; i++) {
		if (strcmp(word, kinds[i].name) == 0)
			agent.orders[agent.count++] = (struct order){ .type = (enum order_type)i };
	}
}

static void write_line(void)
{
	uint32_t total = agent.lines[0] + agent.lines[1];
	bool err = total % 7 == 6;
	uint32_t number = ++agent.lines[err];
	char text[160];

	(void)snprintf(text, sizeof(text), "%08x %s %u %.*s\n", agent.tag, err ? "err" : "out",
		number, (int)(total % 64),
		"----------------------------------------------------------------");
	guest_log_line(err, number, total % 10 == 9, text);
}

static void ends(int code, int signo)
{
	char text[64];

	if (!agent.started)
		return;
	agent.started = 0;
	(void)snprintf(text, sizeof(text), "%08x end %u\n", agent.tag, agent.lines[0] + 1);
	guest_log_line(false, ++agent.lines[0], false, text);
	guest_agent_ended(code, signo);
}

void agent_start(uint32_t tag)
{
	agent.tag = tag;
	agent.started = clock_mono_ns();
	for (size_t i = 0; i < agent.count; i++) {
		const struct order *o = &agent.orders[i];

		if (o->type == CHATTER)
			agent.chatter_ns = o->words[0] * CLOCK_NS_PER_MS;
		else if (o->type == BURST)
			agent.burst = o->words[0];
		else if (o->type == STUBBORN)
			agent.stubborn = true;
	}
	agent.chatter_next = agent.started;
}

void agent_ask_to_end(uint64_t now, uint64_t grace_ns)
{
	uint64_t after = (uint64_t)random() % END_MS * CLOCK_NS_PER_MS;

	agent.end_signal = agent.stubborn ? SIGKILL : SIGTERM;
	agent.end_at = now + (agent.stubborn || after > grace_ns ? grace_ns : after);
}

void agent_signal(int signo)
{
	ends(-1, signo);
}

static void follow(struct order *o)
{
	o->done = true;
	switch (o->type) {
	case EXIT:
		ends((int)o->words[0], 0);
		break;
	case SIGNALLED:
		ends(-1, (int)o->words[0]);
		break;
	case HANG:
		guest_hang();
		break;
	case HANG_ONCE:
		if (!vmm_disk_mark())
			guest_hang();
		break;
	case POWEROFF:
		vmm_end(VMM_END_POWEROFF, "");
		break;
	case RESET:
		vmm_end(VMM_END_RESET, "");
		break;
	case CRASH:
		abort();
	default:
		break;
	}
}

void agent_tick(uint64_t now)
{
	if (!agent.started)
		return;
	for (unsigned n = 0; agent.burst && n < BURST_A_TICK && guest_log_has_room(); n++) {
		agent.burst--;
		write_line();
	}
	while (agent.chatter_ns && agent.chatter_next <= now && guest_log_has_room()) {
		agent.chatter_next += agent.chatter_ns;
		write_line();
	}
	for (size_t i = 0; i < agent.count && agent.started; i++) {
		struct order *o = &agent.orders[i];
		unsigned words = kinds[o->type].words;

		if (!o->done && words && o->type <= CRASH &&
			now - agent.started >= o->words[words - 1] * CLOCK_NS_PER_MS)
			follow(o);
	}
	if (agent.end_at && now >= agent.end_at)
		ends(-1, agent.end_signal);
}
