/*
 * The guest that stand_in_vmm plays, as wire/guest_proto.h has it: boots,
 * dials the host again and again, says where it is, and ends in order when it
 * is told to. Its process is named after its host name, for whoever looks at
 * /proc from outside.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <wire/guest_proto.h>

#include "chan.h"
#include "stand_in.h"

#define TICK_MS     10u
#define BOOT_MS     60u /* at most */
#define REDIAL_MS   200u
#define REDIAL_MAX  2000u
#define SRC_CONTROL 1000u
#define SRC_LOG     1001u
#define GRACE_MS    5000u
#define BYE_MS      300u
#define NEVER       UINT64_MAX

enum stage { SERVING, AGENT_ENDS, LOG_LEAVES, SAID_BYE };

struct dialler {
	uint32_t port;
	uint32_t src;
	uint64_t next; /* when; NEVER: not wanted, or asked and not answered */
	uint64_t pause_ms;
};

static struct guest {
	struct loop *loop;
	struct loop_timer tick;
	struct chan control;
	struct dialler to_control, to_log;
	enum guest_phase phase;
	enum stage stage;
	uint64_t stage_ends;
	bool configured;
	bool hung;
	uint32_t tag;      /* of this boot, in every line of the log */
	uint64_t start_at; /* the agent's */
	int code;          /* of its end, or -1 and the signal */
	int signal;
} g = {
	.control = { .fd = -1 },
	.to_control = { GUEST_PORT_CONTROL, SRC_CONTROL, NEVER, REDIAL_MS },
	.to_log = { GUEST_PORT_LOG, SRC_LOG, NEVER, REDIAL_MS },
};

/* Up to max_ms: so that nothing happens always at the same distance. */
static uint64_t jitter_ns(uint64_t max_ms)
{
	return (uint64_t)random() % (max_ms + 1) * CLOCK_NS_PER_MS;
}

bool guest_stands_still(void)
{
	return g.hung || vmm_paused();
}

void guest_hang(void)
{
	g.hung = true;
}

/* ---- the control stream ---- */

static void send_made(const uint8_t *frame, int len)
{
	if (chan_is_open(&g.control))
		(void)chan_send_made(&g.control, frame, len);
}

static void put_end(struct guest_writer *w)
{
	if (g.code >= 0)
		guest_put_u32(w, GUEST_F_CODE, (uint32_t)g.code);
	else
		guest_put_u32(w, GUEST_F_SIGNAL, (uint32_t)g.signal);
}

static void say_hello(void)
{
	uint8_t buf[256];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_HELLO);
	guest_put_u32(&w, GUEST_F_PROTO_VERSION, GUEST_PROTO_VERSION);
	guest_put_text(&w, GUEST_F_KERNEL, "stand-in");
	guest_put_u32(&w, GUEST_F_PHASE, g.phase);
	if (g.phase == GUEST_PHASE_RUNS)
		guest_put_u32(&w, GUEST_F_PID, 100);
	else if (g.phase == GUEST_PHASE_ENDED)
		put_end(&w);
	send_made(buf, guest_writer_end(&w));
}

void guest_agent_ended(int code, int signo)
{
	uint8_t buf[GUEST_SMALL_FRAME];
	struct guest_writer w;

	g.code = code;
	g.signal = signo;
	g.phase = GUEST_PHASE_ENDED;
	guest_writer_begin(&w, buf, sizeof(buf), GUEST_EXITED);
	put_end(&w);
	send_made(buf, guest_writer_end(&w));
}

static int take_config(const uint8_t *payload, size_t len)
{
	bool program = true;
	struct guest_value v;
	size_t pos = 0;
	int r;

	if (g.configured)
		return -EPROTO;
	while ((r = guest_field_next(payload, len, &pos, &v)) == 1) {
		_cleanup_free_ char *text = NULL;

		if (v.field != GUEST_F_ARGV && v.field != GUEST_F_HOSTNAME)
			continue;
		r = guest_value_text(&v, &text);
		if (r < 0)
			return r;
		if (v.field == GUEST_F_HOSTNAME)
			(void)prctl(PR_SET_NAME, text);
		else if (program)
			program = false;
		else
			agent_word(text);
	}
	if (r < 0)
		return r;
	g.configured = true;
	g.start_at = clock_mono_ns() + jitter_ns(20);
	g.to_log.next = 0;
	return 0;
}

static uint32_t number_of(const uint8_t *payload, size_t len, enum guest_field f, uint32_t fallback)
{
	struct guest_value v;
	uint32_t n = fallback;
	size_t pos = 0;

	while (guest_field_next(payload, len, &pos, &v) == 1) {
		if (v.field == f)
			(void)guest_value_u32(&v, &n);
	}
	return n;
}

static void shut_down(uint32_t grace_ms)
{
	if (g.stage != SERVING)
		return;
	g.stage = AGENT_ENDS;
	agent_ask_to_end(clock_mono_ns(), grace_ms * CLOCK_NS_PER_MS);
}

static int control_frame(struct chan *c, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	if (guest_stands_still())
		return CHAN_HOLD;
	switch (h->type) {
	case GUEST_CONFIG:
		return take_config(payload, h->len);
	case GUEST_WELCOME:
		return g.phase == GUEST_PHASE_WANTS_CONFIG ? -EPROTO : 0;
	case GUEST_PING:
		return chan_send(c, GUEST_PONG, payload, h->len) < 0 ? CHAN_HOLD : 0;
	case GUEST_PONG:
		return 0;
	case GUEST_SIGNAL:
		agent_signal((int)number_of(payload, h->len, GUEST_F_SIGNAL, 0));
		return 0;
	case GUEST_SHUTDOWN:
		shut_down(number_of(payload, h->len, GUEST_F_GRACE_MS, GRACE_MS));
		return 0;
	default:
		return -EPROTO;
	}
}

static void control_space(struct chan *c)
{
	chan_resume(c);
}

static void control_closed(struct chan *c, int err)
{
	(void)c;
	vmm_console("control stream lost: %s", err ? strerror(-err) : "closed by the host");
	g.to_control.next = g.stage == SAID_BYE ? NEVER : 0;
}

static const struct chan_ops control_ops = {
	.frame = control_frame,
	.space = control_space,
	.closed = control_closed,
};

/* ---- dialling ---- */

static void dial_if_due(struct dialler *d, uint64_t now)
{
	if (now < d->next)
		return;
	d->next = NEVER;
	vmm_dial(d->port, d->src);
}

void guest_dialled(uint32_t port, int fd)
{
	struct dialler *d = port == GUEST_PORT_CONTROL ? &g.to_control : &g.to_log;

	if (fd < 0) {
		d->next = clock_mono_ns() + d->pause_ms * CLOCK_NS_PER_MS;
		d->pause_ms = d->pause_ms * 2 < REDIAL_MAX ? d->pause_ms * 2 : REDIAL_MAX;
		return;
	}
	d->pause_ms = REDIAL_MS;
	if (port == GUEST_PORT_LOG)
		guest_log_dialled(fd);
	else if (chan_open(&g.control, g.loop, fd, &control_ops) < 0)
		(void)close(fd);
	else
		say_hello();
}

void guest_log_lost(void)
{
	g.to_log.next = 0;
}

int guest_connect(uint32_t port, int fd)
{
	if (g.hung)
		return -ETIMEDOUT;
	/* Nobody listens before there is an agent, and for anything but programs. */
	if (port != GUEST_PORT_EXEC || g.phase == GUEST_PHASE_WANTS_CONFIG || g.stage != SERVING)
		return -ECONNRESET;
	return exec_take(g.loop, fd);
}

/* ---- time passes ---- */

static void start_agent(void)
{
	uint8_t buf[GUEST_SMALL_FRAME];

	g.phase = GUEST_PHASE_RUNS;
	agent_start(g.tag);
	vmm_console("agent %08x runs", g.tag);
	send_made(buf, guest_make_u32(buf, GUEST_READY, GUEST_F_PID, 100));
}

/* The agent ends, its log leaves, BYE is said, the machine is off. */
static void go_down(uint64_t now)
{
	if (g.stage == AGENT_ENDS && g.phase != GUEST_PHASE_RUNS) {
		g.stage = LOG_LEAVES;
	} else if (g.stage == LOG_LEAVES && guest_log_is_done()) {
		guest_log_close();
		g.to_log.next = NEVER;
		if (chan_is_open(&g.control))
			(void)chan_send(&g.control, GUEST_BYE, NULL, 0);
		g.stage = SAID_BYE;
		g.stage_ends = now + BYE_MS * CLOCK_NS_PER_MS;
	} else if (g.stage == SAID_BYE && (!chan_is_open(&g.control) || now >= g.stage_ends)) {
		vmm_end(VMM_END_POWEROFF, "");
	}
}

static void guest_tick(struct loop_timer *t)
{
	uint64_t now = clock_mono_ns();

	(void)t;
	if (guest_stands_still())
		return;
	dial_if_due(&g.to_control, now);
	dial_if_due(&g.to_log, now);
	if (g.configured && g.phase == GUEST_PHASE_WANTS_CONFIG && now >= g.start_at)
		start_agent();
	agent_tick(now);
	go_down(now);
}

void guest_power_on(struct loop *loop)
{
	unsigned seed = 0;

	(void)!getrandom(&seed, sizeof(seed), 0);
	srandom(seed);
	g.loop = loop;
	g.tag = (uint32_t)random();
	guest_log_init(loop, g.tag);
	vmm_console("stand-in: booting");
	g.to_control.next = clock_mono_ns() + jitter_ns(BOOT_MS);
	g.tick.fn = guest_tick;
	g.tick.w = (struct loop_fd)LOOP_FD_INIT;
	if (loop_timer_set(loop, &g.tick, 1, TICK_MS * CLOCK_NS_PER_MS) < 0)
		vmm_end(VMM_END_ERROR, "no timer");
}

void guest_resumed(void)
{
	chan_resume(&g.control);
	guest_log_resumed();
	exec_resumed();
}
