#include "output.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/log.h>

/* Gives the stream what it has room for. */
static void output_pump(struct output *o)
{
	enum guest_frame_type type;
	size_t len;

	while (chan_is_open(&o->chan) && (len = backlog_next(&o->backlog, &type)) > 0) {
		uint8_t *place = chan_reserve(&o->chan, len);

		if (!place)
			break; /* space comes */
		backlog_give(&o->backlog, place);
		chan_commit(&o->chan, type, len);
	}
}

static int output_frame(struct chan *c, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	struct output *o = container_of(c, struct output, chan);
	struct guest_value v;
	uint64_t bytes = 0;
	size_t pos = 0;
	int r;

	if (h->type != GUEST_ACK)
		return -EPROTO;
	while ((r = guest_field_next(payload, h->len, &pos, &v)) > 0) {
		if (v.field == GUEST_F_BYTES && guest_value_u64(&v, &bytes) < 0)
			return -EPROTO;
	}
	if (r == 0)
		r = backlog_ack(&o->backlog, bytes);
	if (r < 0)
		return r;
	dial_good(&o->dial);
	o->moved(o);
	return 0;
}

static void output_space(struct chan *c)
{
	struct output *o = container_of(c, struct output, chan);

	output_pump(o);
	o->moved(o);
}

static void output_closed(struct chan *c, int err)
{
	struct output *o = container_of(c, struct output, chan);

	if (!o->ending) {
		log_warn("log stream lost (%s); dialling again",
			err ? strerror(-err) : "closed by the host");
		dial_again(&o->dial);
	}
	o->moved(o);
}

static const struct chan_ops output_ops = {
	.frame = output_frame,
	.space = output_space,
	.closed = output_closed,
};

static void output_connected(struct dial *d, int fd)
{
	struct output *o = container_of(d, struct output, dial);

	if (chan_open(&o->chan, d->loop, fd, &output_ops) < 0) {
		(void)close(fd);
		dial_again(d);
		return;
	}
	backlog_rewind(&o->backlog);
	output_pump(o);
}

/* ---- as a sink ---- */

static bool sink_keeps(const struct sink *s)
{
	(void)s;
	return true;
}

static size_t sink_room(const struct sink *s)
{
	const struct output *o = container_of(s, struct output, sink);
	size_t room = backlog_room(&o->backlog);
	size_t copies = o->copy_room ? o->copy_room(o) : room;

	room = copies < room ? copies : room;
	return room < sizeof(o->bounce) ? room : sizeof(o->bounce);
}

static uint8_t *sink_reserve(struct sink *s, size_t len)
{
	struct output *o = container_of(s, struct output, sink);

	return len <= sizeof(o->bounce) ? o->bounce : NULL;
}

static void sink_commit(struct sink *s, enum guest_frame_type type, size_t len)
{
	struct output *o = container_of(s, struct output, sink);

	backlog_add(&o->backlog, type, o->bounce, len);
	output_pump(o);
	if (o->copy)
		o->copy(o, type, o->bounce, len);
}

void output_init(struct output *o, struct loop *loop, int (*open)(uint32_t port),
	void (*moved)(struct output *o))
{
	o->sink = (struct sink){
		.keeps = sink_keeps,
		.room = sink_room,
		.reserve = sink_reserve,
		.commit = sink_commit,
	};
	o->backlog.head = o->backlog.len = 0;
	backlog_rewind(&o->backlog);
	o->chan.fd = -1;
	o->ending = false;
	o->moved = moved;
	o->copy_room = NULL;
	o->copy = NULL;
	dial_init(&o->dial, loop, GUEST_PORT_LOG, open, output_connected);
}

void output_start(struct output *o)
{
	dial_start(&o->dial);
}

bool output_has_left(const struct output *o)
{
	if (!chan_is_open(&o->chan))
		return o->backlog.len == 0;
	return backlog_all_given(&o->backlog) && o->chan.out_len == 0;
}

void output_end(struct output *o)
{
	o->ending = true;
	dial_done(&o->dial);
	if (chan_is_open(&o->chan))
		(void)shutdown(o->chan.fd, SHUT_WR);
}

void output_done(struct output *o)
{
	dial_done(&o->dial);
	chan_done(&o->chan);
}
