#include "serial_log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

int serial_log_init(struct serial_log *l, int fd, uint64_t max_bytes)
{
	int r = fd >= 0 ? io_set_nonblock(fd, 1) : 0;

	if (r < 0)
		return r;
	*l = (struct serial_log){ .fd = fd, .max_bytes = max_bytes };
	return 0;
}

/* How many bytes went out: fewer when the reader is slow or gone, or the disk full. */
static size_t write_some(int fd, const char *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

/* A gap in the log is never silent: the next thing that can be written says so. */
static bool report_lost(struct serial_log *l)
{
	char note[96];
	int n;

	if (!l->lost)
		return true;
	n = snprintf(note, sizeof(note),
		"\n[kosvm: %" PRIu64 " bytes of console output could not be written]\n", l->lost);
	if (write_some(l->fd, note, (size_t)n) != (size_t)n)
		return false;
	l->lost = 0;
	return true;
}

static void flush(struct serial_log *l)
{
	uint32_t len = l->line_len;

	l->line_len = 0;
	if (l->fd < 0 || !len)
		return;
	if (!report_lost(l)) {
		l->lost += len;
		return;
	}
	l->lost += len - write_some(l->fd, l->line, len);
}

void serial_log_done(struct serial_log *l)
{
	flush(l);
	if (l->fd >= 0)
		(void)report_lost(l);
	close_fd(&l->fd);
}

static void put_limited(struct serial_log *l, char c)
{
	char note[96];
	int n;

	if (l->fd < 0 || l->taken > l->max_bytes)
		return;
	if (l->taken++ < l->max_bytes) {
		l->line[l->line_len++] = c;
		if (c == '\n' || l->line_len == SERIAL_LINE)
			flush(l);
		return;
	}
	/* The first byte too many, once. */
	flush(l);
	n = snprintf(note, sizeof(note),
		"\n[kosvm: the console log ends here, at its limit of %" PRIu64 " bytes]\n",
		l->max_bytes);
	(void)write_some(l->fd, note, (size_t)n);
}

void serial_log_put(struct serial_log *l, char c)
{
	l->tail[l->tail_at] = c;
	l->tail_at = (l->tail_at + 1) % SERIAL_TAIL;
	if (l->tail_len < SERIAL_TAIL)
		l->tail_len++;
	put_limited(l, c);
}

size_t serial_log_tail(const struct serial_log *l, char *buf, size_t len)
{
	size_t n = l->tail_len;

	if (!len)
		return 0;
	if (n > len - 1)
		n = len - 1;
	for (size_t i = 0; i < n; i++)
		buf[i] = l->tail[(l->tail_at + SERIAL_TAIL - n + i) % SERIAL_TAIL];
	buf[n] = '\0';
	return n;
}
