/*
 * The exec service that stand_in_vmm plays: the frames of wire/guest_proto.h,
 * with programs of this host as their processes. They die with the machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>
#include <wire/guest_proto.h>

#include "chan.h"
#include "command.h"
#include "stand_in.h"

#define LINGER_MS 2000u
#define READ_MAX  4096u

struct exec;

/* One pipe from the program. */
struct output {
	struct loop_fd w;
	struct exec *exec;
	int fd;
	enum guest_frame_type type;
};

struct exec {
	LIST_ENTRY(exec) link;
	struct loop *loop;
	struct chan chan;
	struct output out[2];
	struct loop_fd in_w; /* waits for room in the program's input */
	int in;
	size_t in_done; /* of the held frame */
	struct loop_pid pidw;
	struct loop_timer linger;
	pid_t pid;
	int status;
	bool spawned, ended, finished;
};

static LIST_HEAD(exec_list, exec) execs = LIST_HEAD_INITIALIZER(execs);

static void output_done(struct output *o)
{
	loop_fd_del(&o->w);
	close_fd(&o->fd);
}

static void input_done(struct exec *x)
{
	loop_fd_del(&x->in_w);
	close_fd(&x->in);
}

static void exec_free(struct exec *x)
{
	LIST_REMOVE(x, link);
	for (int i = 0; i < 2; i++)
		output_done(&x->out[i]);
	input_done(x);
	loop_pid_done(&x->pidw);
	loop_timer_done(&x->linger);
	chan_done(&x->chan);
	free(x);
}

static void finish(struct exec *x, const uint8_t *frame, int len)
{
	if (chan_send_made(&x->chan, frame, len) < 0)
		return; /* space comes */
	x->finished = true;
	chan_finish(&x->chan);
	(void)loop_timer_set(x->loop, &x->linger, LINGER_MS * CLOCK_NS_PER_MS, 0);
}

static void refuse(struct exec *x, uint32_t code, const char *why)
{
	uint8_t buf[512];
	struct guest_writer w;

	guest_writer_begin(&w, buf, sizeof(buf), GUEST_ERROR);
	guest_put_u32(&w, GUEST_F_CODE, code);
	guest_put_text(&w, GUEST_F_TEXT, why);
	finish(x, buf, guest_writer_end(&w));
}

/* After anything that happened; may free x. */
static void advance(struct exec *x)
{
	uint8_t buf[GUEST_SMALL_FRAME];

	if (!chan_is_open(&x->chan)) {
		if (!x->spawned || x->ended)
			exec_free(x);
		return;
	}
	if (!x->ended || x->finished || x->out[0].fd >= 0 || x->out[1].fd >= 0)
		return;
	if (WIFEXITED(x->status))
		finish(x, buf,
			guest_make_u32(
				buf, GUEST_EXITED, GUEST_F_CODE, (uint32_t)WEXITSTATUS(x->status)));
	else
		finish(x, buf,
			guest_make_u32(
				buf, GUEST_EXITED, GUEST_F_SIGNAL, (uint32_t)WTERMSIG(x->status)));
}

static void output_ready(struct loop_fd *w, uint32_t events)
{
	struct output *o = container_of(w, struct output, w);
	struct exec *x = o->exec;
	char buf[READ_MAX];
	ssize_t n;

	(void)events;
	if (chan_is_open(&x->chan) && (guest_stands_still() || chan_room(&x->chan) < sizeof(buf))) {
		loop_fd_del(&o->w); /* until space, or RESUME */
		return;
	}
	n = read(o->fd, buf, sizeof(buf));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		output_done(o);
	else if (chan_is_open(&x->chan))
		(void)chan_send(&x->chan, o->type, buf, (size_t)n);
	advance(x);
}

static void outputs_go_on(struct exec *x)
{
	for (int i = 0; i < 2; i++) {
		struct output *o = &x->out[i];

		if (o->fd >= 0 && !o->w.loop)
			(void)loop_fd_add(x->loop, &o->w, o->fd, EPOLLIN);
	}
}

static void process_ended(struct loop_pid *p)
{
	struct exec *x = container_of(p, struct exec, pidw);

	while (waitpid(x->pid, &x->status, 0) < 0 && errno == EINTR)
		;
	loop_pid_done(p);
	x->ended = true;
	input_done(x);
	chan_resume(&x->chan); /* input that nobody takes any more */
	advance(x);
}

static _Noreturn void become(char *const *argv, const char *cwd, const int fds[3], pid_t parent)
{
	static char path[] = "PATH=/usr/local/bin:/usr/bin:/bin";
	char *env[] = { path, NULL };
	sigset_t none;

	/* The machine's end is the end of all in it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(126);
	(void)setsid();
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	for (int i = 0; i < 3; i++)
		(void)dup2(fds[i], i);
	(void)syscall(SYS_close_range, 3U, ~0U, 0U);
	environ = env;
	if (!cwd || chdir(cwd) == 0)
		(void)execvp(argv[0], argv);
	_exit(errno == ENOENT ? 127 : 126);
}

static int watch(struct exec *x, int in, const int outs[2])
{
	int pidfd = (int)syscall(SYS_pidfd_open, x->pid, 0);

	x->in = in;
	x->out[0].fd = outs[0];
	x->out[1].fd = outs[1];
	for (int i = 0; i < 2; i++)
		(void)io_set_nonblock(outs[i], 1);
	(void)io_set_nonblock(in, 1);
	outputs_go_on(x);
	x->pidw.fn = process_ended;
	return pidfd < 0 ? -errno : loop_pid_add(x->loop, &x->pidw, pidfd);
}

static int spawn(struct exec *x, const struct command *c)
{
	pid_t parent = getpid();
	int p[3][2];

	for (int i = 0; i < 3; i++) {
		if (pipe2(p[i], O_CLOEXEC) < 0) {
			vmm_end(VMM_END_ERROR, "no pipe");
			return -errno;
		}
	}
	x->pid = fork();
	if (x->pid == 0)
		become(c->argv.v, c->cwd, (int[]){ p[0][0], p[1][1], p[2][1] }, parent);
	(void)close(p[0][0]);
	(void)close(p[1][1]);
	(void)close(p[2][1]);
	if (x->pid < 0) {
		(void)close(p[0][1]);
		(void)close(p[1][0]);
		(void)close(p[2][0]);
		return -EAGAIN;
	}
	x->spawned = true;
	return watch(x, p[0][1], (int[]){ p[1][0], p[2][0] });
}

static int take_exec(struct exec *x, const uint8_t *payload, size_t len)
{
	struct command c = { 0 };
	struct kerr e = { 0 };
	int r;

	if (x->spawned)
		return -EPROTO;
	r = command_decode(&c, payload, len, &e);
	if (r == 0)
		r = spawn(x, &c);
	if (r < 0)
		refuse(x, 126, e.code ? e.msg : strerror(-r));
	command_done(&c);
	return 0;
}

static void input_ready(struct loop_fd *w, uint32_t events)
{
	struct exec *x = container_of(w, struct exec, in_w);

	(void)events;
	loop_fd_del(w);
	chan_resume(&x->chan);
}

static int take_stdin(struct exec *x, const uint8_t *payload, size_t len)
{
	if (!x->spawned)
		return -EPROTO;
	if (len == 0)
		input_done(x);
	while (x->in >= 0 && x->in_done < len) {
		ssize_t n = write(x->in, payload + x->in_done, len - x->in_done);

		if (n > 0) {
			x->in_done += (size_t)n;
		} else if (errno == EAGAIN) {
			x->in_w.fn = input_ready;
			if (!x->in_w.loop)
				(void)loop_fd_add(x->loop, &x->in_w, x->in, EPOLLOUT);
			return CHAN_HOLD;
		} else if (errno != EINTR) {
			input_done(x);
		}
	}
	x->in_done = 0;
	return 0;
}

static int exec_frame(struct chan *c, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	struct exec *x = container_of(c, struct exec, chan);
	struct guest_value v;
	uint32_t signo = 0;
	size_t pos = 0;

	if (guest_stands_still())
		return CHAN_HOLD;
	switch (h->type) {
	case GUEST_EXEC:
		return take_exec(x, payload, h->len);
	case GUEST_STDIN:
		return take_stdin(x, payload, h->len);
	case GUEST_SIGNAL:
		if (!x->spawned || guest_field_next(payload, h->len, &pos, &v) != 1 ||
			guest_value_u32(&v, &signo) < 0)
			return -EPROTO;
		if (!x->ended)
			(void)kill(-x->pid, (int)signo);
		return 0;
	default:
		refuse(x, 126, "the stand-in for a guest runs programs only");
		return 0;
	}
}

static void exec_space(struct chan *c)
{
	struct exec *x = container_of(c, struct exec, chan);

	outputs_go_on(x);
	chan_resume(c);
	advance(x);
}

static void exec_closed(struct chan *c, int err)
{
	struct exec *x = container_of(c, struct exec, chan);

	(void)err;
	if (x->spawned && !x->ended)
		(void)kill(-x->pid, SIGKILL);
	outputs_go_on(x);
	advance(x);
}

static const struct chan_ops exec_ops = {
	.frame = exec_frame,
	.space = exec_space,
	.closed = exec_closed,
};

static void linger_over(struct loop_timer *t)
{
	struct exec *x = container_of(t, struct exec, linger);

	chan_done(&x->chan);
	advance(x);
}

int exec_take(struct loop *loop, int fd)
{
	struct exec *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return -ENOMEM;
	x->loop = loop;
	x->chan.fd = x->in = -1;
	x->in_w = x->pidw.w = x->linger.w = (struct loop_fd)LOOP_FD_INIT;
	x->linger.fn = linger_over;
	for (int i = 0; i < 2; i++)
		x->out[i] = (struct output){
			.w = { .fn = output_ready, .fd = -1 },
			.exec = x,
			.fd = -1,
			.type = i ? GUEST_STDERR : GUEST_STDOUT,
		};
	r = chan_open(&x->chan, loop, fd, &exec_ops);
	if (r < 0) {
		free(x);
		return r;
	}
	LIST_INSERT_HEAD(&execs, x, link);
	return 0;
}

void exec_resumed(void)
{
	struct exec *x;

	LIST_FOREACH(x, &execs, link)
	{
		outputs_go_on(x);
		chan_resume(&x->chan);
	}
}
