#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>
#include <base/log.h>

#include "client.h"
#include "exchange.h"
#include "http.h"

/* Progress is dropped when so many replies wait. */
#define PROGRESS_QUEUE 16u
/* Nobody is accepted for so long when descriptors ran out. */
/* What is on its way to clients at kosvmd's end gets so long. */
#define API_PATIENCE_MS 2000
#define PAUSE_NS        (200 * CLOCK_NS_PER_MS)

static void reply_free(struct client *c, struct reply *q)
{
	STAILQ_REMOVE_HEAD(&c->queue, link);
	c->queued--;
	json_decref(q->msg);
	close_fd(&q->fd);
	free(q);
}

static void client_free(struct client *c)
{
	while (!STAILQ_EMPTY(&c->queue))
		reply_free(c, STAILQ_FIRST(&c->queue));
	agent_unwatch(&c->watcher);
	if (c->stream)
		agent_connect_cancel(c->stream);
	worker_cancel(c->import, verbs_host_import_gone, c->sup);
	json_decref(c->exec);
	loop_fd_del(&c->w);
	close_fd(&c->sock);
	LIST_REMOVE(c, link);
	c->sup->client_count--;
	free(c);
}

/* Sends what the socket takes. -errno: the client is of no more use. */
static int flush(struct client *c)
{
	struct reply *q;

	while ((q = STAILQ_FIRST(&c->queue))) {
		int r = api_send(c->sock, q->msg, &q->fd, q->fd >= 0 ? 1 : 0, NULL);

		if (r == -EAGAIN)
			return loop_fd_mod(&c->w, EPOLLIN | EPOLLOUT);
		if (r < 0) {
			/* Both sides notice: a reply that is lost is an end, not a silence. */
			(void)shutdown(c->sock, SHUT_RDWR);
			return r;
		}
		reply_free(c, q);
	}
	return loop_fd_mod(&c->w, EPOLLIN);
}

void client_send(struct client *c, json_t *msg, int fd)
{
	struct reply *q = msg ? malloc(sizeof(*q)) : NULL;

	if (!q) {
		json_decref(msg);
		if (fd >= 0)
			(void)close(fd);
		(void)shutdown(c->sock, SHUT_RDWR);
		return;
	}
	*q = (struct reply){ .msg = msg, .fd = fd };
	STAILQ_INSERT_TAIL(&c->queue, q, link);
	c->queued++;
	/* What is broken is noticed by the loop: a client is never freed in the middle of a verb.
	 */
	(void)flush(c);
}

void client_data(struct client *c, json_t *data)
{
	client_send(c, json_pack("{s:o}", "data", data), -1);
}

void client_ok_fd(struct client *c, json_t *ok, int fd)
{
	c->done = true;
	client_send(c, json_pack("{s:o}", "ok", ok ? ok : json_object()), fd);
}

void client_ok(struct client *c, json_t *ok)
{
	client_ok_fd(c, ok, -1);
}

void client_fail(struct client *c, int code, const char *message)
{
	c->done = true;
	client_send(c,
		json_pack("{s:{s:i, s:o}}", "error", "code", code < 0 ? -code : code, "message",
			api_text(message)),
		-1);
}

void client_progress(struct client *c, const char *text)
{
	if (c->queued < PROGRESS_QUEUE)
		client_send(c, json_pack("{s:o}", "progress", api_text(text)), -1);
}

int request_string(const struct request *q, const char *key, const char **ret, struct kerr *e)
{
	const char *s = json_string_value(json_object_get(q->args, key));

	if (!s)
		return kerr_set(e, EINVAL, "request has no text \"%s\"", key);
	*ret = s;
	return 0;
}

int request_read(const struct request *q, size_t i, const char *what, size_t max, char **ret,
	size_t *ret_len, struct kerr *e)
{
	struct stat st;

	if (fstat(q->fds[i], &st) < 0)
		return kerr_errno(e, errno, "%s", what);
	if (!S_ISREG(st.st_mode))
		return kerr_set(e, EINVAL, "%s: expected a regular file", what);
	return io_read_all(q->fds[i], max, what, ret, ret_len, e);
}

static const struct verb *find_verb(const char *name)
{
	const struct verb *const tables[] = { agent_verbs, host_verbs };

	for (size_t i = 0; i < array_size(tables); i++) {
		for (const struct verb *v = tables[i]; v->name; v++) {
			if (strcmp(v->name, name) == 0)
				return v;
		}
	}
	return NULL;
}

static void handle(struct client *c, struct request *q)
{
	const char *name = json_string_value(json_object_get(q->args, "verb"));
	struct kerr err = { 0 };
	int r;

	if (json_integer_value(json_object_get(q->args, "api")) != API_VERSION) {
		client_fail(c, EPROTO,
			"kosvm and kosvmd are of different versions: stop kosvmd "
			"and try again");
		return;
	}
	c->verb = name ? find_verb(name) : NULL;
	if (!c->verb) {
		client_fail(c, EINVAL, "unknown verb");
		return;
	}
	r = c->verb->fn(c, q, &err);
	if (r < 0)
		client_fail(c, r, err.msg);
}

static void client_ready(struct loop_fd *w, uint32_t events)
{
	struct client *c = container_of(w, struct client, w);
	int fds[FDPASS_MAX_FDS];
	struct request q = { .fds = fds };
	struct kerr err = { 0 };
	bool again;
	int r;

	if ((events & EPOLLOUT) && flush(c) < 0)
		goto gone;
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	r = api_recv(c->sock, &q.args, fds, FDPASS_MAX_FDS, &q.nfds, &err);
	if (r == -EAGAIN)
		return;
	if (r == 0 || (r < 0 && c->asked))
		goto gone;
	if (r < 0) {
		c->asked = true;
		client_fail(c, r, err.msg);
		return;
	}
	again = c->asked;
	c->asked = true;
	if (!again)
		handle(c, &q);
	for (size_t i = 0; i < q.nfds; i++)
		close_fd(&fds[i]);
	json_decref(q.args);
	if (!again)
		return;
gone: /* left, or broke the rule of one request a connection */
	client_free(c);
}

static bool peer_allowed(int sock)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	return cred.uid == 0 || cred.uid == geteuid();
}

static void listener_resume(struct loop_timer *t)
{
	struct sup *s = container_of(t, struct sup, listener_pause);

	(void)loop_fd_mod(&s->listener, EPOLLIN);
}

static void listener_pause(struct sup *s)
{
	log_warn("a request has to wait: %s", strerror(errno));
	s->listener_pause.fn = listener_resume;
	if (loop_timer_set(s->loop, &s->listener_pause, PAUSE_NS, 0) == 0)
		(void)loop_fd_mod(&s->listener, 0);
}

static void listener_ready(struct loop_fd *w, uint32_t events)
{
	struct sup *s = container_of(w, struct sup, listener);
	struct client *c;
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0) {
		/* Out of descriptors: the one who waits stays, and would wake us for ever. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
			listener_pause(s);
		return;
	}
	if (s->client_count >= SUP_MAX_CLIENTS || !peer_allowed(fd)) {
		(void)close(fd);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		(void)close(fd);
		return;
	}
	c->sup = s;
	c->sock = fd;
	STAILQ_INIT(&c->queue);
	c->w = (struct loop_fd){ .fn = client_ready, .fd = -1 };
	LIST_INSERT_HEAD(&s->clients, c, link);
	s->client_count++;
	if (loop_fd_add(s->loop, &c->w, fd, EPOLLIN) < 0)
		client_free(c);
}

int api_listen(struct sup *s, struct kerr *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char path[300];
	int r;

	if (strlen(s->paths.socket) >= sizeof(sa.sun_path))
		return kerr_set(e, ENAMETOOLONG,
			"%s: longer than the %zu bytes of a unix socket: choose a shorter KOSVM_RUN",
			s->paths.socket, sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, s->paths.socket, strlen(s->paths.socket));
	s->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd < 0)
		return kerr_errno(e, errno, "socket");
	/* The lock says that no other kosvmd uses it. */
	(void)unlink(s->paths.socket);
	if (bind(s->listen_fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
		chmod(s->paths.socket, 0600) < 0 || listen(s->listen_fd, 64) < 0)
		return kerr_errno(e, errno, "%s: listen", s->paths.socket);
	s->listener.fn = listener_ready;
	r = loop_fd_add(s->loop, &s->listener, s->listen_fd, EPOLLIN);
	if (r < 0)
		return kerr_errno(e, -r, "%s: watch", s->paths.socket);
	(void)snprintf(path, sizeof(path), "%s/kosvmd.http", s->paths.run_dir);
	r = http_open(&s->http, s, path, e);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%s/kosvmd.fds", s->paths.run_dir);
	return exchange_open(&s->exchange, s, path, e);
}

void api_done(struct sup *s)
{
	struct client *c;

	loop_fd_del(&s->listener);
	loop_timer_done(&s->listener_pause);
	if (s->listen_fd >= 0)
		(void)unlink(s->paths.socket);
	close_fd(&s->listen_fd);
	while ((c = LIST_FIRST(&s->clients)))
		client_free(c);
	http_close(s->http, API_PATIENCE_MS);
	exchange_close(s->exchange);
	s->http = NULL;
	s->exchange = NULL;
}
