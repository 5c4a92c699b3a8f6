#include "http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "http_private.h"
#include "sup.h"

/* Headers and target of one request; a body is kept apart. */
#define HEADERS_MAX 131072u
/* What is ready is looked at so often before others get their turn. */
#define RUNS_A_TURN 8u

/* ---- turns ---- */

static void turn(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;
	uint64_t ns = 1;

	/* A run sends one block to each. */
	for (unsigned i = 0; i < RUNS_A_TURN && ns == 1; i++) {
		h->resumed = false;
		(void)MHD_run(h->mhd);
		if (h->resumed)
			ns = 1;
		else if (MHD_get_timeout(h->mhd, &ms) == MHD_YES)
			ns = ms > 0 ? (uint64_t)ms * CLOCK_NS_PER_MS : 1;
		else
			ns = 0;
	}
	(void)loop_timer_set(h->sup->loop, &h->again, ns, 0);
}

static void events_ready(struct loop_fd *w, uint32_t events)
{
	(void)events;
	turn(container_of(w, struct http, events));
}

static void again(struct loop_timer *t)
{
	turn(container_of(t, struct http, again));
}

/* ---- connections ---- */

/* What is said to one whom libmicrohttpd has nothing to say to (any more). */
static char *raw_answer(int status, int code, const char *message)
{
	json_t *error = http_error(code, message);
	_cleanup_free_ char *body = error ? json_dumps(error, JSON_COMPACT) : NULL;
	char *text = NULL;

	json_decref(error);
	if (!body ||
		asprintf(&text,
			"HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: application/json\r\n"
			"Content-Length: %zu\r\n\r\n%s\n",
			status, MHD_get_reason_phrase_for((unsigned)status), strlen(body) + 1,
			body) < 0)
		return NULL;
	return text;
}

void http_cut(struct http_conn *c, int status, int code, const char *message)
{
	_cleanup_free_ char *text = message ? raw_answer(status, code, message) : NULL;

	c->cut = true;
	c->deadline_ns = 0;
	if (text) {
		c->http->counts.answers[status / 100]++;
		(void)send(c->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	/* libmicrohttpd notices, and closes it. */
	(void)shutdown(c->fd, SHUT_RDWR);
	http_resume(c);
}

static void hung_up(struct loop_fd *w, uint32_t events)
{
	struct http_conn *c = container_of(w, struct http_conn, hangup);

	(void)events;
	/* It would be told for ever. */
	loop_fd_del(w);
	c->cut = true;
	http_request_release(c);
	http_resume(c);
}

static void on_connection(
	void *cls, struct MHD_Connection *mhd, void **ctx, enum MHD_ConnectionNotificationCode what)
{
	struct http *h = cls;
	struct http_conn *c = *ctx;
	const union MHD_ConnectionInfo *info;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (!c)
			return;
		loop_fd_del(&c->hangup);
		LIST_REMOVE(c, link);
		h->counts.clients--;
		free(c);
		return;
	}
	info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	c = calloc(1, sizeof(*c));
	if (!c || !info || loop_fd_add(h->sup->loop, &c->hangup, info->connect_fd, 0) < 0) {
		if (info)
			(void)shutdown(info->connect_fd, SHUT_RDWR);
		free(c);
		return;
	}
	c->http = h;
	c->mhd = mhd;
	c->fd = info->connect_fd;
	c->hangup.fn = hung_up;
	c->deadline_ns = clock_mono_ns() + HTTP_REQUEST_NS;
	LIST_INSERT_HEAD(&h->conns, c, link);
	h->counts.clients++;
	*ctx = c;
}

static void sweep(struct loop_timer *t)
{
	struct http *h = container_of(t, struct http, sweep);
	uint64_t now = clock_mono_ns();
	struct http_conn *c;

	LIST_FOREACH(c, &h->conns, link)
	{
		if (c->deadline_ns == 0 || now < c->deadline_ns)
			continue;
		/* One that has said nothing at all is closed without a word. */
		http_cut(c, MHD_HTTP_REQUEST_TIMEOUT, ETIMEDOUT,
			c->q && !c->queued ? "the request did not arrive within ten seconds"
					   : NULL);
	}
}

static void refuse(struct http *h, int fd, int status, int code, const char *message)
{
	_cleanup_free_ char *text = raw_answer(status, code, message);

	h->counts.refused++;
	refusal_send(&h->refusals, fd, text ? text : "");
}

static void accepted(struct listener *l, int fd)
{
	struct http *h = container_of(l, struct http, listener);
	struct sockaddr peer = { .sa_family = AF_UNIX };

	h->counts.connections++;
	if (!listener_peer_allowed(fd)) {
		refuse(h, fd, MHD_HTTP_FORBIDDEN, EACCES,
			"only root and the user that kosvmd runs as are served");
		return;
	}
	if (h->counts.clients >= HTTP_CLIENTS_MAX) {
		refuse(h, fd, MHD_HTTP_SERVICE_UNAVAILABLE, EBUSY,
			"kosvmd has 256 clients already: try again when one has left");
		return;
	}
	/* It closes fd also when it fails. */
	(void)MHD_add_connection(h->mhd, fd, &peer, sizeof(peer));
	turn(h);
}

int http_open(struct http **ret, struct sup *s, const char *path, struct kerr *e)
{
	const union MHD_DaemonInfo *info;
	struct http *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return kerr_errno(e, ENOMEM, "http");
	h->sup = s;
	h->listener = (struct listener)LISTENER_INIT;
	h->refusals.loop = s->loop;
	h->events = (struct loop_fd){ .fn = events_ready, .fd = -1 };
	h->again = (struct loop_timer){ .fn = again, .w = { .fd = -1 } };
	h->sweep = (struct loop_timer){ .fn = sweep, .w = { .fd = -1 } };
	LIST_INIT(&h->conns);
	h->mhd = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		http_on_request, h, MHD_OPTION_CONNECTION_LIMIT, HTTP_CLIENTS_MAX + 8,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS_MAX,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED, http_on_done, h,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_URI_LOG_CALLBACK,
		http_on_target, h, MHD_OPTION_END);
	info = h->mhd ? MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info) {
		r = kerr_set(e, EIO, "libmicrohttpd does not start");
		goto fail;
	}
	r = loop_fd_add(s->loop, &h->events, info->epoll_fd, EPOLLIN);
	if (r == 0)
		r = loop_timer_set(s->loop, &h->sweep, CLOCK_NS_PER_S, CLOCK_NS_PER_S);
	if (r < 0) {
		r = kerr_errno(e, -r, "http");
		goto fail;
	}
	r = listener_open(&h->listener, s->loop, path, SOCK_STREAM, accepted, e);
	if (r < 0)
		goto fail;
	*ret = h;
	return 0;
fail:
	http_close(h, 0);
	return r;
}

void http_close(struct http *h, unsigned ms)
{
	uint64_t end = clock_mono_ns() + ms * CLOCK_NS_PER_MS;
	struct http_conn *c;

	if (!h)
		return;
	h->closing = true;
	listener_close(&h->listener);
	/* Who waits for something that will not come is told so. */
	LIST_FOREACH(c, &h->conns, link)
	{
		if (c->q && c->dispatched && !c->answered)
			http_fail(c->q, ESHUTDOWN, "kosvmd is ending");
		else if (!c->dispatched)
			http_cut(c, 0, 0, NULL);
		else if (c->source)
			http_resume(c);
	}
	while (!LIST_EMPTY(&h->conns) && clock_mono_ns() < end) {
		if (loop_step(h->sup->loop, 20, NULL) < 0)
			break;
	}
	LIST_FOREACH(c, &h->conns, link)
	{
		http_request_release(c);
		http_cut(c, 0, 0, NULL);
	}
	refusals_done(&h->refusals);
	loop_timer_done(&h->again);
	loop_timer_done(&h->sweep);
	loop_fd_del(&h->events);
	if (h->mhd)
		MHD_stop_daemon(h->mhd);
	free(h);
}

void http_counts(const struct http *h, struct http_counts *ret)
{
	*ret = h->counts;
}
