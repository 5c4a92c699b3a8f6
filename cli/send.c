#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>
#include <base/units.h>

#include "call.h"
#include "safe.h"
#include "verbs.h"

#define RETRY_NS (100 * CLOCK_NS_PER_MS)

/* An agent that has just been started may not listen yet: refusals are tried again. */
static int open_stream(const char *name, uint64_t port, uint64_t wait_ns, int *ret, struct kerr *e)
{
	const struct timespec pause = { .tv_nsec = RETRY_NS };
	uint64_t deadline = clock_mono_ns() + wait_ns;

	for (;;) {
		int r = call_stream(url_agent(name, "connect"),
			json_pack("{s:I}", "port", (json_int_t)port), ret, e);

		if (r != -ECONNREFUSED || clock_mono_ns() >= deadline)
			return r;
		(void)nanosleep(&pause, NULL);
	}
}

static int read_line(int fd, struct kerr *e)
{
	struct safe safe = { 0 };
	char c;

	/* Byte by byte: what follows belongs to the next line. */
	for (;;) {
		ssize_t n = read(fd, &c, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return kerr_set(
				e, ECONNRESET, "the agent closed the stream before it answered");
		safe_for_terminal(&safe, STDOUT_FILENO, &c, 1);
		(void)putchar(c);
		if (c == '\n')
			return fflush(stdout) == 0 ? 0 : kerr_errno(e, errno, "standard output");
	}
}

static int ask_lines(int fd, char **lines, int count, struct kerr *e)
{
	for (int i = 0; i < count; i++) {
		int r = io_write_full(fd, lines[i], strlen(lines[i]));

		if (r == 0)
			r = io_write_full(fd, "\n", 1);
		if (r < 0)
			return kerr_errno(e, -r, "send");
		r = read_line(fd, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A half of the conversation that waits for room; the other half goes on meanwhile. */
struct half {
	int from, to;
	char buf[65536];
	size_t len, pos;
	bool eof;
	bool done;
	struct safe safe;
};

static int half_step(struct half *h, short from_ev, short to_ev)
{
	if (h->len == h->pos && !h->eof && from_ev) {
		ssize_t n = read(h->from, h->buf, sizeof(h->buf));

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		h->pos = 0;
		h->len = n > 0 ? (size_t)n : 0;
		h->eof = n == 0;
		if (h->to == STDOUT_FILENO)
			safe_for_terminal(&h->safe, h->to, h->buf, h->len);
	} else if (h->len > h->pos && to_ev) {
		ssize_t n = write(h->to, h->buf + h->pos, h->len - h->pos);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		h->pos += n > 0 ? (size_t)n : 0;
	}
	if (h->eof && !h->done) {
		h->done = true;
		(void)shutdown(h->to, SHUT_WR);
	}
	return 0;
}

static int converse(int fd, struct kerr *e)
{
	static struct half out, in;

	out.from = STDIN_FILENO;
	out.to = fd;
	in.from = fd;
	in.to = STDOUT_FILENO;
	(void)io_set_nonblock(fd, 1);
	while (!in.done) {
		bool out_wants = out.len > out.pos;
		bool in_wants = in.len > in.pos;
		struct pollfd p[3] = {
			{ .fd = out.done || out_wants ? -1 : STDIN_FILENO, .events = POLLIN },
			{ .fd = fd,
				.events = (short)((in_wants ? 0 : POLLIN) |
					(out_wants ? POLLOUT : 0)) },
			{ .fd = in_wants ? STDOUT_FILENO : -1, .events = POLLOUT },
		};
		int r;

		if (p[1].events == 0)
			p[1].fd = -1;
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			return kerr_errno(e, errno, "poll");
		r = half_step(&out, p[0].revents, p[1].revents & (POLLOUT | POLLERR));
		if (r == 0)
			r = half_step(
				&in, p[1].revents & (POLLIN | POLLHUP | POLLERR), p[2].revents);
		if (r < 0)
			return kerr_errno(e, -r, "stream");
	}
	return 0;
}

static int send_to(const struct cmd *c, int argc, char **argv)
{
	_cleanup_close_ int fd = -1;
	struct kerr err = { 0 };
	uint64_t port = 5000;
	uint64_t wait_ns = 10 * CLOCK_NS_PER_S;
	json_t *name;
	int o;
	int r;

	while ((o = cli_opt(c, argc, argv)) > 0) {
		if (o == 'p' && units_parse_u64(optarg, UINT32_MAX - 1, &port) < 0)
			return cli_usage(c, "--port %s: expected a number", optarg);
		if (o == OPT_LONG && units_parse_duration(optarg, &wait_ns) < 0)
			return cli_usage(c, "--wait %s: expected a duration such as 10s", optarg);
	}
	if (o != -1)
		return CLI_OPT_EXIT(o);
	if (optind >= argc)
		return cli_usage(c, "expected the name of an agent");
	name = call_string("the name", argv[optind], &err);
	json_decref(name);
	if (!name)
		return cli_fail(c, &err);
	r = open_stream(argv[optind], port, wait_ns, &fd, &err);
	if (r == 0)
		r = optind + 1 < argc ? ask_lines(fd, argv + optind + 1, argc - optind - 1, &err)
				      : converse(fd, &err);
	return r < 0 ? cli_fail(c, &err) : 0;
}

const struct cmd cmd_send = {
	.name = "send",
	.args = "[-p PORT] [--wait TIME] NAME [LINE...]",
	.summary = "talk to an agent over vsock",
	.more = "Opens a vsock stream to the agent. With LINE arguments each is sent with a\n"
		"newline and one line of answer is printed for it. Without, standard input goes to\n"
		"the agent and what it sends to standard output, until both have ended.\n",
	.opts = (const struct opt[]){ { "port", 'p', "PORT",
					      "the agent's vsock port (default 5000; above 1026)" },
		{ "wait", OPT_LONG, "TIME", "try again while nobody listens there (default 10s)" },
		{ 0 } },
	.fn = send_to,
	.rest = true,
	.words = WORDS_AGENTS,
};
