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
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>
#include <wire/api_proto.h>

#define CHUNK 4096u

struct stream {
	size_t sent, got;
};

/* Differs between streams and between places in a stream. */
static uint8_t pattern(size_t stream, size_t at)
{
	return (uint8_t)((stream * 2654435761u + at * 40503u + (at >> 8)) >> 7);
}

static int ask(
	const struct api_paths *paths, const char *name, unsigned port, int *ret_fd, struct kerr *e)
{
	_cleanup_close_ int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	json_t *msg = json_pack("{s:i, s:s, s:s, s:i}", "api", API_VERSION, "verb", "connect",
		"name", name, "port", (int)port);
	size_t nfds = 0;
	int r;

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%.100s", paths->socket);
	if (connect(sock, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		r = kerr_errno(e, errno, "%s", paths->socket);
	else
		r = api_send(sock, msg, NULL, 0, e);
	json_decref(msg);
	if (r < 0)
		return r;
	msg = NULL;
	r = api_recv(sock, &msg, ret_fd, 1, &nfds, e);
	if (r == 1 && nfds != 1) {
		const json_t *error = json_object_get(msg, "error");

		r = kerr_set(e, EPROTO, "%s",
			json_is_object(error) ? json_string_value(json_object_get(error, "message"))
					      : "kosvmd gave no stream");
	} else if (r == 0) {
		r = kerr_set(e, EPROTO, "kosvmd ended");
	}
	json_decref(msg);
	return r < 0 ? r : io_set_nonblock(*ret_fd, 1);
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
	struct api_paths paths;
	struct kerr e = { 0 };
	size_t count = argc == 5 ? strtoul(argv[3], NULL, 10) : 0;

	if (count == 0) {
		(void)fputs("usage: many-streams NAME PORT COUNT BYTES\n", stderr);
		return 2;
	}
	(void)setrlimit(RLIMIT_NOFILE, &files);
	p = calloc(count, sizeof(*p));
	s = calloc(count, sizeof(*s));
	if (!p || !s || api_paths_get(&paths, &e) < 0)
		return 1;
	for (size_t i = 0; i < count; i++) {
		p[i].events = POLLIN | POLLOUT;
		if (ask(&paths, argv[1], (unsigned)strtoul(argv[2], NULL, 10), &p[i].fd, &e) < 0) {
			(void)fprintf(stderr, "stream %zu: %s\n", i, e.msg);
			return 1;
		}
	}
	return converse(p, s, count, strtoul(argv[4], NULL, 10)) < 0;
}
