#include "session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "frames.h"
#include "safe.h"
#include "term.h"

#define STDIN_CHUNK 16384u

struct session {
	const struct session_config *c;
	struct frames *f;
	struct keys keys;
	struct safe out, err; /* where they stand, for a terminal */
	int signals;          /* signalfd(2) */
	bool stdin_open;
	int code; /* -1 until it is over */
	char *text;
};

static int send_frame(struct session *s, const uint8_t *frame, int len)
{
	return len < 0 ? len : io_write_full(s->c->fd, frame, (size_t)len);
}

static int send_size(struct session *s)
{
	uint8_t frame[GUEST_SMALL_FRAME];
	uint32_t rows, cols;

	term_size(&rows, &cols);
	return send_frame(s, frame, guest_make_winsize(frame, rows, cols));
}

static int send_stdin(struct session *s)
{
	uint8_t typed[STDIN_CHUNK];
	uint8_t data[STDIN_CHUNK + KEYS_MAX];
	ssize_t n = read(STDIN_FILENO, typed, sizeof(typed));
	size_t len;
	bool leave;
	int r;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0) {
		s->stdin_open = false;
		return frames_send_raw(s->f, GUEST_STDIN, NULL, 0);
	}
	leave = keys_filter(&s->keys, typed, (size_t)n, data, &len);
	r = len > 0 ? frames_send_raw(s->f, GUEST_STDIN, data, len) : 0;
	if (leave)
		s->code = SESSION_DETACHED;
	return r;
}

/* Gives the terminal back while this process is stopped. */
static int stop_myself(struct session *s)
{
	int r;

	term_restore();
	(void)kill(getpid(), SIGSTOP);
	r = term_raw();
	return r < 0 ? r : send_size(s);
}

static int take_signal(struct session *s)
{
	uint8_t frame[GUEST_SMALL_FRAME];
	struct signalfd_siginfo si;

	if (read(s->signals, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return 0;
	switch ((int)si.ssi_signo) {
	case SIGWINCH:
		return send_size(s);
	case SIGTSTP:
		return stop_myself(s);
	case SIGCONT:
		return term_raw() < 0 ? -EIO : send_size(s);
	case SIGHUP:
		/* Our terminal is gone; closing the stream tells the guest. */
		if (s->c->raw) {
			s->code = 128 + SIGHUP;
			return 0;
		}
		break;
	default:
		break;
	}
	if (!s->c->signals) {
		s->code = 128 + (int)si.ssi_signo;
		return 0;
	}
	return send_frame(s, frame, guest_make_signal(frame, si.ssi_signo));
}

static int print(struct session *s, int fd, struct safe *safe, uint8_t *data, size_t len)
{
	if (!s->c->tty)
		safe_for_terminal(safe, fd, data, len);
	return io_write_full(fd, data, len);
}

static int take_frame(struct session *s, const struct guest_frame_hdr *h, uint8_t *payload)
{
	int r;

	switch (h->type) {
	case GUEST_STDOUT:
		r = print(s, STDOUT_FILENO, &s->out, payload, h->len);
		break;
	case GUEST_STDERR:
		r = print(s, STDERR_FILENO, &s->err, payload, h->len);
		break;
	default:
		return frames_end(h, payload, &s->code, &s->text);
	}
	/* Ours, not the guest's. */
	return r == -EPIPE || r == -ECONNRESET ? -EIO : r;
}

static int read_guest(struct session *s)
{
	struct guest_frame_hdr h;
	uint8_t *payload;
	int r = frames_read(s->f);

	while (r == 0 && s->code < 0) {
		r = frames_next(s->f, &h, &payload);
		if (r <= 0)
			break;
		r = take_frame(s, &h, payload);
	}
	return r;
}

/*
 * There is input: it is sent when the stream has room. What the guest sends
 * meanwhile goes first, so that two writers never wait for each other.
 */
static int feed(struct session *s)
{
	struct pollfd p[2] = {
		{ .fd = s->c->fd, .events = POLLIN | POLLOUT },
		{ .fd = s->signals, .events = POLLIN },
	};

	if (poll(p, 2, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	if (p[1].revents)
		return take_signal(s);
	return (p[0].revents & POLLIN) ? read_guest(s) : send_stdin(s);
}

static int attend(struct session *s)
{
	int r = 0;

	while (s->code < 0 && r == 0) {
		struct pollfd p[3] = {
			{ .fd = s->c->fd, .events = POLLIN },
			{ .fd = s->signals, .events = POLLIN },
			{ .fd = s->stdin_open ? STDIN_FILENO : -1, .events = POLLIN },
		};

		if (poll(p, 3, -1) < 0) {
			r = errno == EINTR ? 0 : -errno;
			continue;
		}
		if (p[1].revents)
			r = take_signal(s);
		else if (p[0].revents)
			r = read_guest(s);
		else if (p[2].revents)
			r = feed(s);
		/* What it said before it closed comes first. */
		if (r == -EPIPE) {
			s->stdin_open = false;
			r = 0;
		}
	}
	return r;
}

static int hold_signals(struct session *s, struct kerr *e)
{
	sigset_t set;

	sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	if (s->c->raw) {
		(void)sigaddset(&set, SIGQUIT);
		(void)sigaddset(&set, SIGWINCH);
		(void)sigaddset(&set, SIGTSTP);
		(void)sigaddset(&set, SIGCONT);
	}
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals < 0 ? kerr_errno(e, errno, "signalfd") : 0;
}

static int begin(struct session *s, struct kerr *e)
{
	int r = hold_signals(s, e);

	if (r < 0)
		return r;
	if (s->c->raw) {
		r = term_raw();
		if (r == 0)
			r = send_size(s);
		if (r < 0 && r != -EPIPE)
			return kerr_errno(e, -r, "terminal");
	}
	if (!s->c->input && s->c->end_input) {
		r = frames_send_raw(s->f, GUEST_STDIN, NULL, 0);
		if (r < 0 && r != -EPIPE)
			return kerr_errno(e, -r, "stream");
	}
	return 0;
}

int session_run(const struct session_config *c, char **ret_text, struct kerr *e)
{
	struct session s = {
		.c = c,
		.keys = c->detach,
		.signals = -1,
		.stdin_open = c->input,
		.code = -1,
	};
	int r;

	s.f = frames_new(c->fd);
	r = begin(&s, e);
	if (r == 0)
		r = frames_explain(attend(&s), c->what, e);
	term_restore();
	close_fd(&s.signals);
	frames_free(s.f);
	*ret_text = s.text;
	return r < 0 ? r : s.code;
}
