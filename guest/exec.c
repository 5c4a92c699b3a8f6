#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>

#include "chan.h"
#include "feed.h"
#include "forward.h"
#include "vsock.h"

/* In one turn of the loop. */
#define EXEC_ACCEPTS 16

struct exec {
	struct exec *next;
	struct exec_service *service;
	struct child child;
	struct forward out, err;
	struct loop_timer timer;
	struct feed in;
	bool spawned, ended, finished;
	struct chan chan;
};

static void exec_free(struct exec *x)
{
	struct exec_service *s = x->service;

	for (struct exec **p = &s->list; *p; p = &(*p)->next) {
		if (*p == x) {
			*p = x->next;
			break;
		}
	}
	s->count--;
	s->running -= x->spawned;
	loop_timer_done(&x->timer);
	feed_done(&x->in);
	forward_done(&x->out);
	forward_done(&x->err);
	chan_done(&x->chan);
	free(x);
}

static void exec_timer(struct exec *x, unsigned ms)
{
	(void)loop_timer_set(x->service->loop, &x->timer, ms * CLOCK_NS_PER_MS, 0);
}

/* The last frame was sent. */
static void exec_finish(struct exec *x)
{
	x->finished = true;
	feed_done(&x->in);
	forward_done(&x->out);
	forward_done(&x->err);
	chan_finish(&x->chan);
	exec_timer(x, EXEC_LINGER_MS);
}

static void exec_refuse(struct exec *x, uint32_t code, const char *why)
{
	uint8_t buf[1024];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_ERROR);
	guest_put_u32(&w, GUEST_F_CODE, code);
	guest_put_text(&w, GUEST_F_TEXT, why);
	(void)chan_send_made(&x->chan, buf, guest_writer_end(&w));
	exec_finish(x);
}

/* Moves on after anything that happened. Frees x only when its stream is closed. */
static void exec_advance(struct exec *x)
{
	uint8_t buf[64];
	int len;

	if (!chan_is_open(&x->chan)) {
		if (x->ended || !x->spawned)
			exec_free(x);
		return;
	}
	if (!x->ended || x->finished || !forward_settled(&x->out) || !forward_settled(&x->err))
		return;
	len = child_exited_frame(buf, sizeof(buf), x->child.status);
	if (chan_send_made(&x->chan, buf, len) < 0)
		return; /* space comes */
	exec_finish(x);
}

static void out_moved(struct forward *f)
{
	exec_advance(container_of(f, struct exec, out));
}

static void err_moved(struct forward *f)
{
	exec_advance(container_of(f, struct exec, err));
}

static void in_ready(struct feed *f)
{
	chan_resume(&container_of(f, struct exec, in)->chan);
}

static void exec_started(struct child *c, int code, const char *why)
{
	struct exec *x = container_of(c, struct exec, child);

	if (!chan_is_open(&x->chan))
		return; /* the timer is the hang-up's */
	loop_timer_done(&x->timer);
	if (code)
		exec_refuse(x, (uint32_t)code, why);
}

static void exec_ended(struct child *c)
{
	struct exec *x = container_of(c, struct exec, child);

	x->ended = true;
	feed_done(&x->in);
	forward_settle(&x->out);
	forward_settle(&x->err);
	/* Input that nobody takes any more must not keep a held frame. */
	chan_resume(&x->chan);
	exec_advance(x);
}

/* A pipe: *ours for the service (moved into place), *theirs for the program. */
static int exec_pipe(int *ours, int *theirs, bool ours_reads)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	*ours = p[ours_reads ? 0 : 1];
	*theirs = p[ours_reads ? 1 : 0];
	return 0;
}

static int exec_pipes(struct exec *x, int child_fds[3])
{
	struct loop *loop = x->service->loop;
	_cleanup_close_ int in = -1;
	_cleanup_close_ int out = -1;
	_cleanup_close_ int err = -1;
	int r;

	r = exec_pipe(&in, &child_fds[0], false);
	if (r == 0)
		r = exec_pipe(&out, &child_fds[1], true);
	if (r == 0)
		r = exec_pipe(&err, &child_fds[2], true);
	if (r == 0)
		r = feed_open(&x->in, loop, in, in_ready);
	if (r < 0)
		return r;
	(void)steal_fd(&in);
	r = forward_open(&x->out, loop, out, &x->chan.sink, GUEST_STDOUT, out_moved);
	if (r < 0)
		return r;
	(void)steal_fd(&out);
	r = forward_open(&x->err, loop, err, &x->chan.sink, GUEST_STDERR, err_moved);
	if (r == 0)
		(void)steal_fd(&err);
	return r;
}

static int exec_spawn(struct exec *x, const struct command *cmd, struct kerr *e)
{
	const struct exec_service *s = x->service;
	const char *who = cmd->user ? cmd->user : s->agent->user;
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct words env = { 0 };
	struct user user;
	struct child_spec spec = { .argv = cmd->argv.v, .user = &user, .fds = { -1, -1, -1 } };
	int r;

	if (root < 0)
		return kerr_errno(e, errno, "/");
	/* root only by the host's own word; the agent's user is never root. */
	r = user_resolve_at(root, who ? who : "", cmd->user != NULL, &user, e);
	if (r < 0)
		return r;
	spec.cwd = cmd->cwd ? cmd->cwd : s->agent->cwd ? s->agent->cwd : "/";
	r = command_environ(cmd, s->agent, &user, user_home(&user, s->has_state), &env);
	if (r == 0)
		r = exec_pipes(x, spec.fds);
	if (r < 0)
		(void)kerr_errno(e, -r, "%s", cmd->argv.v[0]);
	spec.envp = env.v;
	if (r == 0)
		r = child_spawn(&x->child, s->loop, s->reaper, &spec, e);
	for (int i = 0; i < 3; i++)
		close_fd(&spec.fds[i]);
	words_done(&env);
	return r;
}

static int take_exec(struct exec *x, const uint8_t *payload, size_t len)
{
	struct command cmd = { 0 };
	struct kerr e = { 0 };
	int r;

	if (x->spawned)
		return -EPROTO;
	if (x->service->stopping) {
		r = kerr_set(&e, ESHUTDOWN, "the guest is shutting down");
	} else if (x->service->running >= EXEC_MAX) {
		r = kerr_set(&e, EAGAIN, "%u programs of exec run already, the most there may be",
			EXEC_MAX);
	} else {
		r = command_decode(&cmd, payload, len, &e);
		if (r == 0)
			r = exec_spawn(x, &cmd, &e);
	}
	command_done(&cmd);
	if (r < 0) {
		exec_refuse(x, 126, e.msg);
		return 0;
	}
	x->spawned = true;
	x->service->running++;
	return 0;
}

static int take_signal(struct exec *x, const uint8_t *payload, size_t len)
{
	uint32_t signo;

	if (!x->spawned || child_signal_decode(payload, len, &signo) < 0)
		return -EPROTO;
	child_kill(&x->child, (int)signo);
	return 0;
}

static int exec_frame(struct chan *c, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	struct exec *x = container_of(c, struct exec, chan);

	switch (h->type) {
	case GUEST_EXEC:
		return take_exec(x, payload, h->len);
	case GUEST_STDIN:
		return x->spawned ? feed_take(&x->in, payload, h->len) : -EPROTO;
	case GUEST_SIGNAL:
		return take_signal(x, payload, h->len);
	default:
		return -EPROTO;
	}
}

static void exec_space(struct chan *c)
{
	struct exec *x = container_of(c, struct exec, chan);

	forward_resume(&x->out);
	forward_resume(&x->err);
	exec_advance(x);
}

static void exec_hangup(struct exec *x)
{
	child_kill(&x->child, SIGHUP);
	child_kill(&x->child, SIGCONT);
	(void)loop_timer_set(x->service->loop, &x->timer, EXEC_HANGUP_MS * CLOCK_NS_PER_MS, 0);
}

static void exec_closed(struct chan *c, int err)
{
	struct exec *x = container_of(c, struct exec, chan);

	if (err == -EPROTO)
		log_warn("exec stream: the host sent a frame that does not belong there");
	feed_done(&x->in);
	if (x->spawned && !x->ended)
		exec_hangup(x);
	forward_resume(&x->out);
	forward_resume(&x->err);
	exec_advance(x);
}

static void exec_timeout(struct loop_timer *t)
{
	struct exec *x = container_of(t, struct exec, timer);

	if (x->finished && chan_is_open(&x->chan)) {
		/* The host does not close: so be it. */
		chan_done(&x->chan);
		exec_advance(x);
	} else if (x->spawned) {
		child_kill(&x->child, SIGKILL);
	} else {
		exec_refuse(x, 126, "no EXEC frame came in time");
	}
}

static const struct chan_ops exec_ops = {
	.frame = exec_frame,
	.space = exec_space,
	.closed = exec_closed,
};

void exec_service_take(struct exec_service *s, int fd)
{
	struct exec *x;

	x = s->count < EXEC_STREAMS_MAX ? calloc(1, sizeof(*x)) : NULL;
	if (!x) {
		(void)close(fd);
		return;
	}
	x->service = s;
	x->child = (struct child){
		.report_fd = -1,
		.started = exec_started,
		.ended = exec_ended,
	};
	x->out.fd = x->err.fd = x->in.fd = x->chan.fd = -1;
	x->timer = (struct loop_timer){ .fn = exec_timeout, .w = { .fd = -1 } };
	x->next = s->list;
	s->list = x;
	s->count++;
	if (chan_open(&x->chan, s->loop, fd, &exec_ops) < 0) {
		(void)close(fd);
		exec_free(x);
		return;
	}
	exec_timer(x, EXEC_START_MS);
}

static void listener_ready(struct loop_fd *w, uint32_t events)
{
	struct exec_service *s = container_of(w, struct exec_service, listener);

	(void)events;
	for (int i = 0; i < EXEC_ACCEPTS; i++) {
		int fd = vsock_accept_host(s->listen_fd);

		if (fd >= 0)
			exec_service_take(s, fd);
		else if (fd != -EACCES)
			break;
	}
}

void exec_service_init(struct exec_service *s, struct loop *loop, struct reaper *reaper,
	const struct command *agent, bool has_state)
{
	*s = (struct exec_service){
		.loop = loop,
		.reaper = reaper,
		.agent = agent,
		.has_state = has_state,
		.listener = { .fn = listener_ready, .fd = -1 },
		.listen_fd = -1,
	};
}

int exec_service_listen(struct exec_service *s, int listen_fd)
{
	int r = loop_fd_add(s->loop, &s->listener, listen_fd, EPOLLIN);

	s->listen_fd = listen_fd;
	return r;
}

void exec_service_done(struct exec_service *s)
{
	loop_fd_del(&s->listener);
	close_fd(&s->listen_fd);
	for (struct exec *x = s->list, *next; x; x = next) {
		next = x->next;
		chan_done(&x->chan);
		if (x->ended || !x->spawned)
			exec_free(x);
	}
}
