#include "guest_log.h"

#include <errno.h>

#include <base/cleanup.h>
#include <base/clock.h>

/* Text of an unfinished line waits so long for its end before it is written and acknowledged. */
#define SETTLE_NS    (1 * CLOCK_NS_PER_S)
#define SETTLE_BYTES 32768u

static int log_frame(
	struct guest_stream *s, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	struct guest_log *l = container_of(s, struct guest_log, stream);

	if (h->type != GUEST_STDOUT && h->type != GUEST_STDERR)
		return -EPROTO;
	agent_log_append(l->to, h->type == GUEST_STDOUT ? AGENT_LOG_STDOUT : AGENT_LOG_STDERR,
		payload, h->len);
	l->taken += h->len;
	return 0;
}

/* Tells the guest what it need not keep any more; when it does not listen, in a later turn. */
static void log_ack(struct guest_log *l)
{
	uint8_t buf[GUEST_SMALL_FRAME];
	int r;

	if (l->taken == l->acked)
		return;
	r = guest_stream_send(
		&l->stream, buf, guest_make_u64(buf, GUEST_ACK, GUEST_F_BYTES, l->taken));
	if (r == 0)
		l->acked = l->taken;
	if (l->stream.fd >= 0)
		(void)loop_fd_mod(&l->stream.w, r == -EAGAIN ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* What is only in our memory would be lost with us: it is not acknowledged. */
static void log_turn(struct guest_stream *s)
{
	struct guest_log *l = container_of(s, struct guest_log, stream);

	if (l->taken - l->acked >= SETTLE_BYTES)
		agent_log_settle(l->to);
	if (!agent_log_unsettled(l->to))
		log_ack(l);
	else if (l->settle.w.fd < 0)
		(void)loop_timer_set(l->loop, &l->settle, SETTLE_NS, 0);
}

static void settle_due(struct loop_timer *t)
{
	struct guest_log *l = container_of(t, struct guest_log, settle);

	loop_timer_done(t);
	agent_log_settle(l->to);
	log_ack(l);
}

static void log_ended(struct guest_stream *s, int err)
{
	struct guest_log *l = container_of(s, struct guest_log, stream);

	if (err == -EPROTO)
		l->broken(l);
}

void guest_log_init(struct guest_log *l, struct loop *loop, struct agent_log *to,
	void (*broken)(struct guest_log *l))
{
	*l = (struct guest_log){
		.stream = { .w = LOOP_FD_INIT,
			.fd = -1,
			.frame = log_frame,
			.turn = log_turn,
			.ended = log_ended },
		.loop = loop,
		.to = to,
		.settle = { .fn = settle_due, .w = { .fd = -1 } },
		.broken = broken,
	};
}

void guest_log_restart(struct guest_log *l)
{
	l->taken = l->acked = 0;
}

void guest_log_done(struct guest_log *l)
{
	loop_timer_done(&l->settle);
	guest_stream_close(&l->stream);
}
