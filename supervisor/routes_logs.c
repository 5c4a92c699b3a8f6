/* What an agent wrote, and what its boot console says. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "log_reader.h"
#include "routes.h"

#define TEXT_TYPE   "text/plain; charset=utf-8"
#define CONSOLE_MAX 67108864u

struct logs {
	struct http_source src;
	struct log_reader *reader;
};

static ssize_t logs_read(struct http_source *src, char *buf, size_t max)
{
	return log_reader_read(container_of(src, struct logs, src)->reader, buf, max);
}

static void logs_free(struct http_source *src)
{
	struct logs *l = container_of(src, struct logs, src);

	log_reader_free(l->reader);
	free(l);
}

static void logs_wake(void *user)
{
	struct logs *l = user;

	http_wake(&l->src);
}

static int logs(struct http_request *q, struct kerr *e)
{
	const struct http_target *t = &q->target;
	const struct log_filter f = {
		.since_ns = (uint64_t)http_query_int(t, "since", 0),
		.until_ns = (uint64_t)http_query_int(t, "until", 0),
		.tail = http_query_int(t, "tail", -1),
		.out = http_query_bool(t, "stdout", true),
		.err = http_query_bool(t, "stderr", true),
	};
	struct agent *a;
	struct logs *l;
	int r = route_agent(q, &a, e);

	if (r < 0)
		return r;
	l = calloc(1, sizeof(*l));
	if (!l)
		return kerr_errno(e, ENOMEM, "logs");
	l->src.read = logs_read;
	l->src.free = logs_free;
	r = log_reader_new(&l->reader, a->dirfd,
		http_query_bool(t, "follow", false) ? a->log : NULL, &f, logs_wake, l, e);
	if (r < 0) {
		free(l);
		return r;
	}
	return http_stream(q, TEXT_TYPE, &l->src, e);
}

/* ---- console ---- */

struct console {
	struct http_source src;
	int fd;
	uint64_t left; /* what was there when it was asked for */
};

static ssize_t console_read(struct http_source *src, char *buf, size_t max)
{
	struct console *c = container_of(src, struct console, src);
	ssize_t n;

	if (max > c->left)
		max = (size_t)c->left;
	n = max > 0 ? read(c->fd, buf, max) : 0;
	if (n <= 0)
		return n < 0 ? -errno : -ENODATA;
	c->left -= (uint64_t)n;
	return n;
}

static void console_free(struct http_source *src)
{
	struct console *c = container_of(src, struct console, src);

	close_fd(&c->fd);
	free(c);
}

static int console(struct http_request *q, struct kerr *e)
{
	struct console *c;
	struct agent *a;
	int fd;
	int r = route_agent(q, &a, e);

	if (r < 0)
		return r;
	fd = openat(a->dirfd, "console.log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return kerr_set(
			e, errno, "agent %s has no console log: it never booted", a->row.name);
	c = calloc(1, sizeof(*c));
	if (!c) {
		(void)close(fd);
		return kerr_errno(e, ENOMEM, "console");
	}
	c->fd = fd;
	c->left = CONSOLE_MAX;
	c->src.read = console_read;
	c->src.free = console_free;
	return http_stream(q, TEXT_TYPE, &c->src, e);
}

static const struct http_field logs_query[] = {
	{ .key = "follow", .kind = HTTP_BOOL },
	{ .key = "since", .kind = HTTP_INT, .max = INT64_MAX },
	{ .key = "until", .kind = HTTP_INT, .max = INT64_MAX },
	{ .key = "tail", .kind = HTTP_INT, .max = 1000000000 },
	{ .key = "stdout", .kind = HTTP_BOOL },
	{ .key = "stderr", .kind = HTTP_BOOL },
	{ 0 },
};

const struct route log_routes[] = {
	{ .method = "GET", .path = "/v1/agents/{ref}/logs", .fn = logs, .query = logs_query },
	{ .method = "GET", .path = "/v1/agents/{ref}/console", .fn = console },
	{ 0 },
};
