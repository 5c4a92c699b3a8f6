#include "http_lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>

struct http_lines {
	struct http_source src;
	char *buf; /* waits from `start` to `end` */
	size_t start;
	size_t end;
	size_t cap;
	bool ended;
	bool broken;
	int (*more)(void *user); /* NULL: all that there is was put */
	void (*gone)(void *user);
	void *user;
};

static ssize_t lines_read(struct http_source *src, char *buf, size_t max)
{
	struct http_lines *l = container_of(src, struct http_lines, src);
	size_t n;

	while (l->end == l->start && l->more && !l->broken) {
		if (l->more(l->user) == 0)
			l->more = NULL;
	}
	n = l->end - l->start;
	if (l->broken)
		return -ENOBUFS;
	if (n == 0)
		return l->ended ? -ENODATA : -EAGAIN;
	if (n > max)
		n = max;
	memcpy(buf, l->buf + l->start, n);
	l->start += n;
	return (ssize_t)n;
}

static void lines_free(struct http_source *src)
{
	struct http_lines *l = container_of(src, struct http_lines, src);

	if (l->gone)
		l->gone(l->user);
	free(l->buf);
	free(l);
}

int http_lines_open(struct http_lines **ret, struct http_request *q, const char *type,
	void (*gone)(void *user), void *user, struct kerr *e)
{
	struct http_lines *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return kerr_errno(e, ENOMEM, "stream");
	l->src.read = lines_read;
	l->src.free = lines_free;
	r = http_stream(q, type, &l->src, e);
	if (r < 0)
		return r;
	/* From here on only: a failure is told by the return alone. */
	l->gone = gone;
	l->user = user;
	*ret = l;
	return 0;
}

static bool make_room(struct http_lines *l, size_t len)
{
	size_t waits = l->end - l->start;
	size_t cap = l->cap ? l->cap : 4096;
	char *buf;

	if (len > HTTP_LINES_MAX || waits > HTTP_LINES_MAX - len)
		return false;
	if (l->start > 0) {
		memmove(l->buf, l->buf + l->start, waits);
		l->start = 0;
		l->end = waits;
	}
	while (cap < waits + len)
		cap *= 2;
	if (cap == l->cap)
		return true;
	buf = realloc(l->buf, cap);
	if (!buf)
		return false;
	l->buf = buf;
	l->cap = cap;
	return true;
}

int http_lines_put(struct http_lines *l, const char *text, size_t len, bool cut)
{
	int r = 0;

	if (l->ended || l->broken)
		return -EPIPE;
	if (make_room(l, len)) {
		memcpy(l->buf + l->end, text, len);
		l->end += len;
	} else {
		l->broken = cut;
		r = -ENOBUFS;
	}
	http_wake(&l->src);
	return r;
}

int http_lines_json(struct http_lines *l, json_t *line, bool cut)
{
	_cleanup_free_ char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
	size_t len;

	json_decref(line);
	if (!text) {
		l->broken = l->broken || cut;
		http_wake(&l->src);
		return -ENOMEM;
	}
	len = strlen(text);
	text[len++] = '\n';
	return http_lines_put(l, text, len, cut);
}

void http_lines_refill(struct http_lines *l, int (*more)(void *user))
{
	l->more = more;
	http_wake(&l->src);
}

void http_lines_end(struct http_lines *l)
{
	l->ended = true;
	http_wake(&l->src);
}

void http_lines_cut(struct http_lines *l)
{
	l->broken = true;
	http_wake(&l->src);
}

size_t http_lines_waiting(const struct http_lines *l)
{
	return l->end - l->start;
}
