#include "service.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>

#include "attach.h"
#include "exec.h"
#include "vsock.h"

/* In one turn of the loop. */
#define SERVICE_ACCEPTS 16

void conn_free(struct conn *c)
{
	struct service *s = c->service;

	for (struct conn **p = &s->list; *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	s->count--;
	loop_timer_done(&c->timer);
	chan_done(&c->chan);
	free(c);
}

void conn_timer(struct conn *c, unsigned ms)
{
	(void)loop_timer_set(c->service->loop, &c->timer, ms * CLOCK_NS_PER_MS, 0);
}

void conn_finish(struct conn *c)
{
	c->finished = true;
	chan_finish(&c->chan);
	conn_timer(c, SERVICE_LINGER_MS);
}

void conn_refuse(struct conn *c, uint32_t code, const char *why)
{
	uint8_t buf[1024];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_ERROR);
	guest_put_u32(&w, GUEST_F_CODE, code);
	guest_put_text(&w, GUEST_F_TEXT, why);
	(void)chan_send_made(&c->chan, buf, guest_writer_end(&w));
	conn_finish(c);
}

static int first_frame(struct conn *c, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	switch (h->type) {
	case GUEST_EXEC:
	case GUEST_COPY_IN:
	case GUEST_COPY_OUT:
		break;
	case GUEST_ATTACH:
		break;
	default:
		return -EPROTO;
	}
	if (c->service->stopping) {
		conn_refuse(c, 126, "the guest is shutting down");
		return 0;
	}
	return h->type == GUEST_ATTACH ? attach_begin(c, payload, h->len)
				       : exec_begin(c, h->type, payload, h->len);
}

static int conn_frame(struct chan *ch, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	struct conn *c = container_of(ch, struct conn, chan);

	return c->ops ? c->ops->frame(c, h, payload) : first_frame(c, h, payload);
}

static void conn_space(struct chan *ch)
{
	struct conn *c = container_of(ch, struct conn, chan);

	if (c->ops)
		c->ops->space(c);
}

static void conn_gone(struct conn *c)
{
	if (c->ops)
		c->ops->closed(c);
	else
		conn_free(c);
}

static void conn_closed(struct chan *ch, int err)
{
	struct conn *c = container_of(ch, struct conn, chan);

	if (err == -EPROTO)
		log_warn("service stream: the host sent a frame that does not belong there");
	conn_gone(c);
}

static void conn_timeout(struct loop_timer *t)
{
	struct conn *c = container_of(t, struct conn, timer);

	if (c->finished && chan_is_open(&c->chan)) {
		/* The host does not close: so be it. */
		chan_done(&c->chan);
		conn_gone(c);
	} else if (c->ops) {
		c->ops->timeout(c);
	} else {
		conn_refuse(c, 126, "no request came in time");
	}
}

static const struct chan_ops conn_chan_ops = {
	.frame = conn_frame,
	.space = conn_space,
	.closed = conn_closed,
};

void service_take(struct service *s, int fd)
{
	struct conn *c = s->count < SERVICE_STREAMS_MAX ? calloc(1, sizeof(*c)) : NULL;

	if (!c) {
		(void)close(fd);
		return;
	}
	c->service = s;
	c->chan.fd = -1;
	c->timer = (struct loop_timer){ .fn = conn_timeout, .w = { .fd = -1 } };
	c->next = s->list;
	s->list = c;
	s->count++;
	if (chan_open(&c->chan, s->loop, fd, &conn_chan_ops) < 0) {
		(void)close(fd);
		conn_free(c);
		return;
	}
	conn_timer(c, SERVICE_START_MS);
}

static void listener_ready(struct loop_fd *w, uint32_t events)
{
	struct service *s = container_of(w, struct service, listener);

	(void)events;
	for (int i = 0; i < SERVICE_ACCEPTS; i++) {
		int fd = vsock_accept_host(s->listen_fd);

		if (fd >= 0)
			service_take(s, fd);
		else if (fd != -EACCES)
			break;
	}
}

void service_init(struct service *s, struct loop *loop, struct reaper *reaper,
	const struct command *command, struct agent *agent)
{
	*s = (struct service){
		.loop = loop,
		.reaper = reaper,
		.command = command,
		.agent = agent,
		.listener = { .fn = listener_ready, .fd = -1 },
		.listen_fd = -1,
	};
}

int service_listen(struct service *s, int listen_fd)
{
	int r = loop_fd_add(s->loop, &s->listener, listen_fd, EPOLLIN);

	s->listen_fd = listen_fd;
	return r;
}

void service_done(struct service *s)
{
	loop_fd_del(&s->listener);
	close_fd(&s->listen_fd);
	for (struct conn *c = s->list, *next; c; c = next) {
		next = c->next;
		chan_done(&c->chan);
		conn_gone(c);
	}
}
