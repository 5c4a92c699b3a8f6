/*
 * The agent's log on its way to the host: kept until the host acknowledges
 * it, and sent again on the next stream (wire/guest_proto.h). What was
 * acknowledged is noted on the console: a word on the host's disk that does
 * not come from kosvmd.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include <base/clock.h>
#include <wire/guest_proto.h>

#include "chan.h"
#include "stand_in.h"

#define KEPT_MAX (256u << 10)
#define ACK_MS   3000u /* a host that never acknowledges anything is waited for so long */

struct record {
	STAILQ_ENTRY(record) link;
	bool err;
	uint32_t number; /* of the line that it ends; 0: of none */
	size_t len;
	char text[];
};

static struct stand_in_log {
	struct loop *loop;
	struct chan chan;
	uint32_t tag;
	STAILQ_HEAD(record_list, record) kept;
	size_t kept_bytes;
	struct record *next; /* to be sent on this stream; NULL: all are */
	uint64_t begun;      /* payload of this stream up to the first kept record */
	uint32_t acked[2];   /* last line, standard output and error */
	uint64_t quiet_since;
} lg = { .chan = { .fd = -1 } };

static void forget_first(void)
{
	struct record *r = STAILQ_FIRST(&lg.kept);

	if (r->number)
		lg.acked[r->err] = r->number;
	lg.begun += r->len;
	lg.kept_bytes -= r->len;
	STAILQ_REMOVE_HEAD(&lg.kept, link);
	free(r);
}

static int take_ack(uint64_t bytes)
{
	uint32_t before[2] = { lg.acked[0], lg.acked[1] };
	struct record *r;

	while ((r = STAILQ_FIRST(&lg.kept)) && r != lg.next && lg.begun + r->len <= bytes)
		forget_first();
	if (bytes < lg.begun || (lg.begun < bytes && STAILQ_EMPTY(&lg.kept)))
		return -EPROTO; /* more than there was, or taken back */
	lg.quiet_since = clock_mono_ns();
	if (before[0] != lg.acked[0] || before[1] != lg.acked[1])
		vmm_console("acked %08x %u %u", lg.tag, lg.acked[0], lg.acked[1]);
	return 0;
}

static int log_frame(struct chan *c, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	struct guest_value v;
	uint64_t bytes;
	size_t pos = 0;

	(void)c;
	if (guest_stands_still())
		return CHAN_HOLD;
	if (h->type != GUEST_ACK || guest_field_next(payload, h->len, &pos, &v) != 1 ||
		v.field != GUEST_F_BYTES || guest_value_u64(&v, &bytes) < 0)
		return -EPROTO;
	return take_ack(bytes);
}

static void send_more(struct chan *c)
{
	while (lg.next && !guest_stands_still() && chan_is_open(c)) {
		struct record *r = lg.next;

		if (chan_send(c, r->err ? GUEST_STDERR : GUEST_STDOUT, r->text, r->len) < 0)
			return;
		lg.next = STAILQ_NEXT(r, link);
	}
}

static void log_closed(struct chan *c, int err)
{
	(void)c;
	vmm_console("log stream lost: %s", err ? strerror(-err) : "closed by the host");
	guest_log_lost();
}

static const struct chan_ops log_ops = {
	.frame = log_frame,
	.space = send_more,
	.closed = log_closed,
};

void guest_log_init(struct loop *loop, uint32_t tag)
{
	lg.loop = loop;
	lg.tag = tag;
	STAILQ_INIT(&lg.kept);
}

void guest_log_dialled(int fd)
{
	if (chan_open(&lg.chan, lg.loop, fd, &log_ops) < 0) {
		(void)close(fd);
		guest_log_lost();
		return;
	}
	lg.begun = 0;
	lg.next = STAILQ_FIRST(&lg.kept);
	lg.quiet_since = clock_mono_ns();
	send_more(&lg.chan);
}

bool guest_log_has_room(void)
{
	return lg.kept_bytes < KEPT_MAX;
}

static void keep(bool err, uint32_t number, const char *text, size_t len)
{
	struct record *r = malloc(sizeof(*r) + len);

	if (!r) {
		vmm_end(VMM_END_ERROR, "no memory for the log");
		return;
	}
	*r = (struct record){ .err = err, .number = number, .len = len };
	memcpy(r->text, text, len);
	STAILQ_INSERT_TAIL(&lg.kept, r, link);
	lg.kept_bytes += len;
	if (!lg.next)
		lg.next = r;
}

void guest_log_line(bool err, uint32_t number, bool cut, const char *text)
{
	size_t len = strlen(text);
	size_t half = cut ? len / 2 : 0;

	if (half)
		keep(err, 0, text, half);
	keep(err, number, text + half, len - half);
	send_more(&lg.chan);
}

bool guest_log_is_done(void)
{
	/* The clock is for a host that does not come back, or knows no ACK. */
	return STAILQ_EMPTY(&lg.kept) ||
		clock_mono_ns() - lg.quiet_since > ACK_MS * CLOCK_NS_PER_MS;
}

void guest_log_close(void)
{
	(void)chan_flush_wait(&lg.chan, 300);
	chan_done(&lg.chan);
}

void guest_log_resumed(void)
{
	if (!chan_is_open(&lg.chan))
		return;
	chan_resume(&lg.chan);
	send_more(&lg.chan);
}
