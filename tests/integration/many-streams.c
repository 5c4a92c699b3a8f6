/*
 * many-streams NAME PORT COUNT BYTES: COUNT streams to an agent that sends
 * everything back, all open at once; BYTES of a pattern of its own go
 * through each. Code 0 when every byte came back where it belongs.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "call.h"

#define CHUNK 4096u

struct stream {
	size_t sent, got;
};

/* Differs between streams and between places in a stream. */
static uint8_t pattern(size_t stream, size_t at)
{
	return (uint8_t)((stream * 2654435761u + at * 40503u + (at >> 8)) >> 7);
}

static bool step(size_t index, struct stream *s, struct pollfd *p, size_t bytes)
{
	uint8_t buf[CHUNK];
	ssize_t n;

	if (p->revents & POLLOUT) {
		size_t len = bytes - s->sent < CHUNK ? bytes - s->sent : CHUNK;

		for (size_t i = 0; i < len; i++)
			buf[i] = pattern(index, s->sent + i);
		n = write(p->fd, buf, len);
		if (n < 0 && errno != EAGAIN)
			return false;
		s->sent += n > 0 ? (size_t)n : 0;
		if (s->sent == bytes)
			p->events = POLLIN;
	}
	if (!(p->revents & (POLLIN | POLLHUP | POLLERR)))
		return true;
	n = read(p->fd, buf, CHUNK);
	if (n < 0)
		return errno == EAGAIN;
	if (n == 0 || s->got + (size_t)n > bytes)
		return false;
	for (size_t i = 0; i < (size_t)n; i++) {
		if (buf[i] != pattern(index, s->got + i)) {
			(void)fprintf(
				stderr, "stream %zu: another byte at %zu\n", index, s->got + i);
			return false;
		}
	}
	s->got += (size_t)n;
	return true;
}

/* Nobody is closed before all are through. */
static int converse(struct pollfd *p, struct stream *s, size_t count, size_t bytes)
{
	size_t left = count;

	while (left > 0) {
		if (poll(p, count, -1) < 0)
			return -errno;
		for (size_t i = 0; i < count; i++) {
			if (!p[i].revents)
				continue;
			if (!step(i, &s[i], &p[i], bytes)) {
				(void)fprintf(stderr, "stream %zu broke: %zu sent, %zu back\n", i,
					s[i].sent, s[i].got);
				return -EIO;
			}
			if (s[i].got == bytes && p[i].events) {
				p[i].events = 0;
				left--;
			}
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit files = { 4096, 4096 };
	_cleanup_free_ struct pollfd *p = NULL;
	_cleanup_free_ struct stream *s = NULL;
	struct kerr e = { 0 };
	size_t count = argc == 5 ? strtoul(argv[3], NULL, 10) : 0;

	if (count == 0) {
		(void)fputs("usage: many-streams NAME PORT COUNT BYTES\n", stderr);
		return 2;
	}
	(void)setrlimit(RLIMIT_NOFILE, &files);
	p = calloc(count, sizeof(*p));
	s = calloc(count, sizeof(*s));
	if (!p || !s)
		return 1;
	for (size_t i = 0; i < count; i++) {
		p[i].events = POLLIN | POLLOUT;
		if (call_stream(url_agent(argv[1], "connect"),
			    json_pack("{s:i}", "port", (int)strtoul(argv[2], NULL, 10)), &p[i].fd,
			    &e) < 0 ||
			io_set_nonblock(p[i].fd, 1) < 0) {
			(void)fprintf(stderr, "stream %zu: %s\n", i, e.msg);
			return 1;
		}
	}
	return converse(p, s, count, strtoul(argv[4], NULL, 10)) < 0;
}
