#include "attach.h"

#include <errno.h>
#include <stdlib.h>

#include <base/cleanup.h>

#include "agent.h"
#include "backlog.h"
#include "pty.h"
#include "service.h"

/* What the agent's output leaves of the stream's buffer: for our own last word. */
#define ATTACH_LAST_WORD 256u

struct attach {
	struct conn *conn;
	struct agent *agent;
	struct agent_tap tap;
	bool stalled; /* the timer counts until the reader has taken something */
	bool ending;  /* the agent has ended: EXITED when all was given */
	int status;
	struct backlog backlog;
};

static void attach_leave(struct attach *t)
{
	if (!t->agent)
		return;
	t->conn->service->attached--;
	agent_untap(t->agent, &t->tap);
	t->agent = NULL;
}

/* Gives the stream what it has room for, and in the end the end. */
static void attach_pump(struct attach *t)
{
	struct chan *ch = &t->conn->chan;
	enum guest_frame_type type;
	uint8_t buf[GUEST_SMALL_FRAME];
	size_t len;

	while (chan_is_open(ch) && !t->conn->finished &&
		(len = backlog_next(&t->backlog, &type)) > 0) {
		uint8_t *place =
			chan_room(ch) < len + ATTACH_LAST_WORD ? NULL : chan_reserve(ch, len);

		if (!place)
			return; /* space comes */
		backlog_give(&t->backlog, place);
		(void)backlog_ack(&t->backlog, t->backlog.given);
		chan_commit(ch, type, len);
	}
	if (!t->ending || t->conn->finished)
		return;
	if (chan_send_made(ch, buf, child_exited_frame(buf, sizeof(buf), t->status)) < 0)
		return; /* space comes */
	attach_leave(t);
	conn_finish(t->conn);
}

/* ---- what the agent does ---- */

static size_t tap_room(struct agent_tap *tap)
{
	struct attach *t = container_of(tap, struct attach, tap);
	size_t room = backlog_room(&t->backlog);

	if (room < AGENT_TAP_LEAST && !t->stalled) {
		t->stalled = true;
		conn_timer(t->conn, GUEST_ATTACH_STALL_MS);
	}
	return room;
}

static void tap_take(
	struct agent_tap *tap, enum guest_frame_type type, const uint8_t *data, size_t len)
{
	struct attach *t = container_of(tap, struct attach, tap);

	backlog_add(&t->backlog, type, data, len);
	attach_pump(t);
}

static void tap_input(struct agent_tap *tap)
{
	chan_resume(&container_of(tap, struct attach, tap)->conn->chan);
}

static void tap_ended(struct agent_tap *tap, int status)
{
	struct attach *t = container_of(tap, struct attach, tap);

	t->ending = true;
	t->status = status;
	attach_pump(t);
	/* Input that nobody takes any more must not keep a held frame. */
	chan_resume(&t->conn->chan);
}

static const struct agent_tap_ops tap_ops = {
	.room = tap_room,
	.take = tap_take,
	.input = tap_input,
	.ended = tap_ended,
};

/* ---- what the host does ---- */

static int attach_resize(struct attach *t, const uint8_t *payload, size_t len)
{
	uint32_t rows;
	uint32_t cols;
	int r = pty_size_decode(payload, len, &rows, &cols);

	if (r == 0 && t->agent)
		agent_resize(t->agent, rows, cols);
	return r;
}

static int attach_frame(struct conn *c, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	struct attach *t = c->data;
	uint32_t signo;

	switch (h->type) {
	case GUEST_STDIN:
		return t->agent ? agent_feed(t->agent, &t->tap, payload, h->len) : 0;
	case GUEST_WINSIZE:
		return attach_resize(t, payload, h->len);
	case GUEST_SIGNAL:
		if (child_signal_decode(payload, h->len, &signo) < 0)
			return -EPROTO;
		if (t->agent)
			agent_signal(t->agent, (int)signo);
		return 0;
	default:
		return -EPROTO;
	}
}

static void attach_space(struct conn *c)
{
	struct attach *t = c->data;

	if (c->finished)
		return;
	if (t->stalled) {
		t->stalled = false;
		conn_timer(c, 0);
	}
	attach_pump(t);
	if (t->agent)
		agent_resume(t->agent);
}

static void attach_closed(struct conn *c)
{
	struct attach *t = c->data;

	attach_leave(t);
	free(t);
	conn_free(c);
}

static void attach_timeout(struct conn *c)
{
	struct attach *t = c->data;

	attach_leave(t);
	conn_refuse(c, 1, "detached: the agent's output was not read in time");
}

static const struct conn_ops attach_ops = {
	.frame = attach_frame,
	.space = attach_space,
	.closed = attach_closed,
	.timeout = attach_timeout,
};

int attach_begin(struct conn *c, const uint8_t *payload, size_t len)
{
	struct agent *a = c->service->agent;
	struct attach *t;
	uint32_t rows;
	uint32_t cols;
	int r = pty_size_decode(payload, len, &rows, &cols);

	if (r < 0)
		return r;
	if (!agent_was_started(a)) {
		conn_refuse(c, 126, "the agent was not started");
		return 0;
	}
	t = c->service->attached < ATTACH_MAX ? calloc(1, sizeof(*t)) : NULL;
	if (!t) {
		conn_refuse(c, 126, "8 are attached already, the most there may be");
		return 0;
	}
	t->conn = c;
	t->agent = a;
	t->tap.ops = &tap_ops;
	c->data = t;
	c->ops = &attach_ops;
	c->service->attached++;
	conn_timer(c, 0);
	agent_resize(a, rows, cols);
	agent_tap(a, &t->tap);
	return 0;
}
