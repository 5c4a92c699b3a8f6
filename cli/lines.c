#include "lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int add(struct lines *l, const char *data, size_t len)
{
	if (len > l->cap - l->len) {
		size_t cap = l->cap ? l->cap : 4096;
		char *bigger;

		while (cap - l->len < len)
			cap *= 2;
		bigger = cap > LINES_MAX ? NULL : realloc(l->buf, cap);
		if (!bigger)
			return -EMSGSIZE;
		l->buf = bigger;
		l->cap = cap;
	}
	memcpy(l->buf + l->len, data, len);
	l->len += len;
	return 0;
}

int lines_feed(struct lines *l, const char *data, size_t len,
	int (*fn)(void *user, const char *line, size_t len), void *user)
{
	while (len > 0) {
		const char *nl = memchr(data, '\n', len);
		size_t n = nl ? (size_t)(nl - data) : len;
		int r = len > LINES_MAX ? -EMSGSIZE : add(l, data, n);

		if (r < 0)
			return r;
		if (!nl)
			return 0;
		n++;
		data += n;
		len -= n;
		n = l->len;
		if (n > 0 && l->buf[n - 1] == '\r')
			n--;
		l->len = 0;
		r = fn(user, l->buf ? l->buf : "", n);
		if (r != 0)
			return r;
	}
	return 0;
}

void lines_done(struct lines *l)
{
	free(l->buf);
	*l = (struct lines){ 0 };
}
