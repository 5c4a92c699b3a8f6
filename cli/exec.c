#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <wire/guest_proto.h>

#include "cli.h"
#include "safe.h"

static const char help[] =
	"Standard input, output and error are the command's; the interrupt key reaches it\n"
	"as a signal. The exit code is the command's, 125 when kosvm failed, 126 when the\n"
	"command cannot be run, 127 when it is not there. A terminal is shown control\n"
	"characters as '?'; a pipe or file gets every byte.\n\n"
	"  -e, --env NAME=VALUE   add a variable (may be repeated)\n"
	"  -u, --user USER        name, uid or uid:gid (default: the agent's user)\n"
	"  -w, --workdir DIR      working directory\n";

#define EXEC_FAILED 125
#define FRAME_BUF   (GUEST_FRAME_HDR_LEN + GUEST_FRAME_MAX)
#define STDIN_CHUNK 16384u

struct session {
	int fd;
	uint8_t *in; /* frames from the guest, FRAME_BUF */
	size_t in_len;
	struct safe out, err; /* where they stand, for a terminal */
	sigset_t waiting;     /* blocked while it waits; else the signals to pass on are, too */
	bool stdin_open;
	int code; /* -1 until the command ended */
};

static volatile sig_atomic_t pending_signal;

static void on_signal(int signo)
{
	pending_signal = signo;
}

static int send_frame(struct session *s, struct guest_writer *w)
{
	int len = guest_writer_end(w);

	return len < 0 ? len : io_write_full(s->fd, w->buf, (size_t)len);
}

static int send_stdin(struct session *s)
{
	uint8_t frame[GUEST_FRAME_HDR_LEN + STDIN_CHUNK];
	char data[STDIN_CHUNK];
	struct guest_writer w;
	ssize_t n = read(STDIN_FILENO, data, sizeof(data));

	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0) {
		s->stdin_open = false;
		n = 0;
	}
	guest_writer_begin(&w, frame, sizeof(frame), GUEST_STDIN);
	guest_put_raw(&w, data, (size_t)n);
	return send_frame(s, &w);
}

static int send_signal(struct session *s, int signo)
{
	uint8_t frame[64];
	struct guest_writer w;

	guest_writer_begin(&w, frame, sizeof(frame), GUEST_SIGNAL);
	guest_put_u32(&w, GUEST_F_SIGNAL, (uint32_t)signo);
	return send_frame(s, &w);
}

static int take_end(struct session *s, const struct guest_frame_hdr *h, const uint8_t *payload)
{
	struct guest_value v;
	_cleanup_free_ char *text = NULL;
	uint32_t n = 0;
	size_t pos = 0;
	int r;

	while ((r = guest_field_next(payload, h->len, &pos, &v)) == 1) {
		if (v.field == GUEST_F_CODE && guest_value_u32(&v, &n) == 0)
			s->code = (int)(n & 255);
		else if (v.field == GUEST_F_SIGNAL && guest_value_u32(&v, &n) == 0)
			s->code = 128 + (int)(n & 127);
		else if (v.field == GUEST_F_TEXT && !text)
			(void)guest_value_text(&v, &text);
	}
	if (r < 0 || s->code < 0)
		return -EPROTO;
	if (h->type == GUEST_ERROR) {
		struct kerr e;

		(void)kerr_set(&e, EIO, "%s", text ? text : "the command could not be run");
		(void)cli_fail("exec", &e);
	}
	return 0;
}

static int take_frame(struct session *s, const struct guest_frame_hdr *h, uint8_t *payload)
{
	switch (h->type) {
	case GUEST_STDOUT:
		safe_for_terminal(&s->out, STDOUT_FILENO, payload, h->len);
		return io_write_full(STDOUT_FILENO, payload, h->len);
	case GUEST_STDERR:
		safe_for_terminal(&s->err, STDERR_FILENO, payload, h->len);
		return io_write_full(STDERR_FILENO, payload, h->len);
	case GUEST_EXITED:
	case GUEST_ERROR:
		return take_end(s, h, payload);
	default:
		return -EPROTO;
	}
}

static int read_guest(struct session *s)
{
	ssize_t n = recv(s->fd, s->in + s->in_len, FRAME_BUF - s->in_len, 0);
	size_t pos = 0;

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	s->in_len += (size_t)n;
	while (s->in_len - pos >= GUEST_FRAME_HDR_LEN && s->code < 0) {
		struct guest_frame_hdr h;
		int r = guest_hdr_decode(s->in + pos, &h);

		if (r < 0)
			return r;
		if (s->in_len - pos - GUEST_FRAME_HDR_LEN < h.len)
			break;
		r = take_frame(s, &h, s->in + pos + GUEST_FRAME_HDR_LEN);
		if (r < 0)
			return r;
		pos += GUEST_FRAME_HDR_LEN + h.len;
	}
	memmove(s->in, s->in + pos, s->in_len - pos);
	s->in_len -= pos;
	return 0;
}

/*
 * There is input: it is sent when the stream has room. What the guest sends
 * meanwhile goes first, so that two writers never wait for each other.
 */
static int feed(struct session *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN | POLLOUT };

	if (ppoll(&p, 1, NULL, &s->waiting) < 0)
		return errno == EINTR ? 0 : -errno;
	return (p.revents & POLLIN) ? read_guest(s) : send_stdin(s);
}

static int attend(struct session *s, struct kerr *e)
{
	int r = 0;

	while (s->code < 0 && r == 0) {
		struct pollfd p[2] = {
			{ .fd = s->fd, .events = POLLIN },
			{ .fd = s->stdin_open ? STDIN_FILENO : -1, .events = POLLIN },
		};

		if (pending_signal) {
			r = send_signal(s, pending_signal);
			pending_signal = 0;
		}
		if (ppoll(p, 2, NULL, &s->waiting) < 0) {
			if (errno == EINTR)
				continue;
			return kerr_errno(e, errno, "poll");
		}
		if (p[0].revents)
			r = read_guest(s);
		else if (p[1].revents)
			r = feed(s);
	}
	if (r == -ECONNRESET)
		return kerr_set(e, ECONNRESET, "the agent's VM ended before the command did");
	if (r == -EPROTO)
		return kerr_set(e, EPROTO, "the guest broke the protocol");
	return r < 0 ? kerr_errno(e, -r, "stream") : 0;
}

static int run_session(int fd, struct kerr *e)
{
	static const int passed_on[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = on_signal };
	sigset_t set;
	_cleanup_free_ uint8_t *buf = malloc(FRAME_BUF);
	struct session s = { .fd = fd, .in = buf, .stdin_open = true, .code = -1 };
	int r;

	if (!buf)
		return kerr_errno(e, ENOMEM, "exec");
	sigemptyset(&set);
	for (size_t i = 0; i < array_size(passed_on); i++) {
		(void)sigaction(passed_on[i], &sa, NULL);
		(void)sigaddset(&set, passed_on[i]);
	}
	/* They come while it waits only: one that came just before would be forgotten. */
	(void)sigprocmask(SIG_BLOCK, &set, &s.waiting);
	r = attend(&s, e);
	return r < 0 ? r : s.code;
}

static int exec_usage(const char *text)
{
	(void)cli_usage("exec", "%s", text);
	return EXEC_FAILED;
}

int cmd_exec(int argc, char **argv)
{
	static const struct option options[] = {
		{ "env", required_argument, NULL, 'e' },
		{ "user", required_argument, NULL, 'u' },
		{ "workdir", required_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct call call = CALL_INIT;
	struct kerr err = { 0 };
	json_t *request = json_pack("{s:[], s:[]}", "env", "argv");
	int c;
	int r;

	if (!request)
		return EXEC_FAILED;
	while ((c = getopt_long(argc, argv, "+e:u:w:h", options, NULL)) != -1) {
		if (c == 'e')
			r = json_array_append_new(
				json_object_get(request, "env"), json_string(optarg));
		else if (c == 'u')
			r = json_object_set_new(request, "user", json_string(optarg));
		else if (c == 'w')
			r = json_object_set_new(request, "cwd", json_string(optarg));
		else {
			json_decref(request);
			return c == 'h' ? cli_help("exec", help) : exec_usage("see above");
		}
		if (r < 0) {
			json_decref(request);
			return exec_usage("an option is no valid UTF-8 text");
		}
	}
	if (argc - optind < 2) {
		json_decref(request);
		return exec_usage("expected the name of an agent and a command");
	}
	if (json_object_set_new(request, "name", json_string(argv[optind++])) < 0) {
		json_decref(request);
		return exec_usage("the name is no valid UTF-8 text");
	}
	if (strcmp(argv[optind], "--") == 0 && optind + 1 < argc)
		optind++;
	for (int i = optind; i < argc; i++) {
		if (json_array_append_new(json_object_get(request, "argv"), json_string(argv[i])) <
			0) {
			json_decref(request);
			return exec_usage("the command is no valid UTF-8 text");
		}
	}
	r = call_kosvmd("exec", request, NULL, 0, NULL, NULL, &call, &err);
	if (r == 0 && call.fd < 0)
		r = kerr_set(&err, EPROTO, "kosvmd gave no stream");
	if (r == 0)
		r = run_session(call.fd, &err);
	call_done(&call);
	if (r < 0) {
		(void)cli_fail("exec", &err);
		return EXEC_FAILED;
	}
	return r;
}
