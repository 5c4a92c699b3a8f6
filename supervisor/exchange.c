#include "exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/fdpass.h>
#include <base/hex.h>
#include <wire/api_proto.h>

#include "http_private.h"
#include "listener.h"
#include "sup.h"

#define TOKEN_NS (30 * CLOCK_NS_PER_S)

/* One connection. */
struct xclient {
	LIST_ENTRY(xclient) link;
	struct exchange *x;
	struct loop_fd w;
	int sock;
};

struct token {
	LIST_ENTRY(token) link;
	char text[EXCHANGE_TOKEN_LEN + 1];
	int fd;
	uint64_t deadline_ns;
	const struct xclient *giver; /* NULL: kosvmd */
};

struct exchange {
	struct sup *sup;
	struct listener listener;
	struct refusals refusals;
	struct loop_timer sweep;
	unsigned nclients;
	unsigned ntokens;
	LIST_HEAD(xclient_list, xclient) clients;
	LIST_HEAD(token_list, token) tokens;
};

static void token_free(struct exchange *x, struct token *t)
{
	close_fd(&t->fd);
	LIST_REMOVE(t, link);
	x->ntokens--;
	free(t);
}

static int put(struct exchange *x, const struct xclient *giver, int fd,
	char out[static EXCHANGE_TOKEN_LEN + 1], struct kerr *e)
{
	uint8_t bits[EXCHANGE_TOKEN_LEN / 2];
	struct token *t;

	if (x->ntokens == EXCHANGE_TOKENS_MAX)
		return kerr_set(e, EUSERS, "%u descriptors wait to be taken already: try again",
			EXCHANGE_TOKENS_MAX);
	t = calloc(1, sizeof(*t));
	if (!t)
		return kerr_errno(e, ENOMEM, "token");
	if (getrandom(bits, sizeof(bits), 0) != sizeof(bits)) {
		free(t);
		return kerr_errno(e, EIO, "random numbers");
	}
	hex_encode(bits, sizeof(bits), t->text);
	t->fd = fd;
	t->giver = giver;
	t->deadline_ns = clock_mono_ns() + TOKEN_NS;
	LIST_INSERT_HEAD(&x->tokens, t, link);
	x->ntokens++;
	memcpy(out, t->text, sizeof(t->text));
	return 0;
}

int exchange_put(
	struct exchange *x, int fd, char token[static EXCHANGE_TOKEN_LEN + 1], struct kerr *e)
{
	return put(x, NULL, fd, token, e);
}

int exchange_take(struct exchange *x, const char *token, struct kerr *e)
{
	struct token *t;

	LIST_FOREACH(t, &x->tokens, link)
	{
		if (strcmp(t->text, token) == 0) {
			int fd = steal_fd(&t->fd);

			token_free(x, t);
			return fd;
		}
	}
	return kerr_set(e, ENOENT, "no such token: each is good for one use within 30 seconds");
}

/* Takes the giver's word back: what is still there of it is closed. */
static void forget(struct exchange *x, const struct xclient *giver)
{
	struct token *next;

	for (struct token *t = LIST_FIRST(&x->tokens); t; t = next) {
		next = LIST_NEXT(t, link);
		if (t->giver == giver)
			token_free(x, t);
	}
}

static void xclient_free(struct xclient *c)
{
	struct exchange *x = c->x;

	forget(x, c);
	loop_fd_del(&c->w);
	close_fd(&c->sock);
	LIST_REMOVE(c, link);
	x->nclients--;
	free(c);
}

static json_t *give(struct xclient *c, const json_t *count, int *fds, size_t nfds, struct kerr *e)
{
	json_t *tokens = json_array();
	char text[EXCHANGE_TOKEN_LEN + 1];

	if (json_integer_value(count) != (json_int_t)nfds || nfds == 0) {
		(void)kerr_set(e, EINVAL, "give: expected as many descriptors as it says, 1 to %d",
			FDPASS_MAX_FDS);
		goto fail;
	}
	if (nfds > EXCHANGE_TOKENS_MAX - c->x->ntokens) {
		(void)kerr_set(e, EUSERS, "too many descriptors wait to be taken: try again");
		goto fail;
	}
	for (size_t i = 0; i < nfds; i++) {
		if (put(c->x, c, fds[i], text, e) < 0)
			goto fail;
		fds[i] = -1;
		if (json_array_append_new(tokens, json_string(text)) < 0) {
			(void)kerr_errno(e, ENOMEM, "give");
			goto fail;
		}
	}
	return json_pack("{s:{s:o}}", "ok", "tokens", tokens);
fail:
	json_decref(tokens);
	return NULL;
}

/* The answer, and in *fd what goes with it. */
static json_t *answer(struct xclient *c, const json_t *msg, int *fds, size_t nfds, int *fd)
{
	const json_t *take = json_object_get(msg, "take");
	const json_t *given = json_object_get(msg, "give");
	struct kerr err = { 0 };
	json_t *reply = NULL;

	if (json_object_size(msg) == 1 && json_is_string(take) && nfds == 0) {
		*fd = exchange_take(c->x, json_string_value(take), &err);
		reply = *fd < 0 ? NULL : json_pack("{s:{}}", "ok");
	} else if (json_object_size(msg) == 1 && json_is_integer(given)) {
		reply = give(c, given, fds, nfds, &err);
	} else {
		(void)kerr_set(&err, EINVAL,
			"expected {\"take\": TOKEN}, or {\"give\": N} with N descriptors");
	}
	return reply ? reply : http_error(err.code ? err.code : ENOMEM, err.msg);
}

static void xclient_ready(struct loop_fd *w, uint32_t events)
{
	struct xclient *c = container_of(w, struct xclient, w);
	int fds[FDPASS_MAX_FDS];
	_cleanup_close_ int fd = -1;
	struct kerr err = { 0 };
	json_t *msg = NULL;
	json_t *reply;
	size_t nfds = 0;
	int r;

	(void)events;
	r = api_recv(c->sock, &msg, fds, FDPASS_MAX_FDS, &nfds, &err);
	if (r == -EAGAIN)
		return;
	if (r == 0 || (r < 0 && r != -EPROTO && r != -EMSGSIZE)) {
		xclient_free(c);
		return;
	}
	reply = r == 1 ? answer(c, msg, fds, nfds, &fd) : http_error(-r, err.msg);
	/* Who does not read his answers is not answered. */
	if (!reply || api_send(c->sock, reply, &fd, fd >= 0 ? 1 : 0, NULL) < 0)
		xclient_free(c);
	for (size_t i = 0; i < nfds; i++)
		close_fd(&fds[i]);
	json_decref(reply);
	json_decref(msg);
}

static void turn_away(struct exchange *x, int fd, int code, const char *message)
{
	json_t *error = http_error(code, message);
	_cleanup_free_ char *text = error ? json_dumps(error, JSON_COMPACT) : NULL;

	json_decref(error);
	refusal_send(&x->refusals, fd, text ? text : "{}");
}

static void accepted(struct listener *l, int fd)
{
	struct exchange *x = container_of(l, struct exchange, listener);
	struct xclient *c;

	if (!listener_peer_allowed(fd)) {
		turn_away(x, fd, EACCES, "only root and the user that kosvmd runs as are served");
		return;
	}
	c = x->nclients < EXCHANGE_CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		turn_away(
			x, fd, EUSERS, "kosvmd has too many clients: try again when one has left");
		return;
	}
	c->x = x;
	c->sock = fd;
	c->w = (struct loop_fd){ .fn = xclient_ready, .fd = -1 };
	LIST_INSERT_HEAD(&x->clients, c, link);
	x->nclients++;
	if (loop_fd_add(x->sup->loop, &c->w, fd, EPOLLIN) < 0)
		xclient_free(c);
}

static void sweep(struct loop_timer *t)
{
	struct exchange *x = container_of(t, struct exchange, sweep);
	uint64_t now = clock_mono_ns();
	struct token *next;

	for (struct token *k = LIST_FIRST(&x->tokens); k; k = next) {
		next = LIST_NEXT(k, link);
		if (now >= k->deadline_ns)
			token_free(x, k);
	}
}

int exchange_open(struct exchange **ret, struct sup *s, const char *path, struct kerr *e)
{
	struct exchange *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return kerr_errno(e, ENOMEM, "exchange");
	x->sup = s;
	x->refusals.loop = s->loop;
	x->listener = (struct listener)LISTENER_INIT;
	x->sweep = (struct loop_timer){ .fn = sweep, .w = { .fd = -1 } };
	LIST_INIT(&x->clients);
	LIST_INIT(&x->tokens);
	r = loop_timer_set(s->loop, &x->sweep, CLOCK_NS_PER_S, CLOCK_NS_PER_S);
	if (r < 0)
		r = kerr_errno(e, -r, "exchange");
	else
		r = listener_open(&x->listener, s->loop, path, SOCK_SEQPACKET, accepted, e);
	if (r < 0) {
		exchange_close(x);
		return r;
	}
	*ret = x;
	return 0;
}

void exchange_close(struct exchange *x)
{
	struct token *t;
	struct xclient *c;

	if (!x)
		return;
	listener_close(&x->listener);
	while ((c = LIST_FIRST(&x->clients)))
		xclient_free(c);
	while ((t = LIST_FIRST(&x->tokens)))
		token_free(x, t);
	refusals_done(&x->refusals);
	loop_timer_done(&x->sweep);
	free(x);
}
