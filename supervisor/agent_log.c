#include "agent_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>
#include <base/log.h>

#include "log_reader.h"

#define FOLLOW_CHUNK 16384
#define FOLLOW_BATCH 16 /* chunks before others get their turn */
#define OUT_MAX      32768
#define PREFIX_MAX   48 /* "2026-01-02T03:04:05.000000006Z stdout F " and a NUL */

struct line_buf {
	char data[AGENT_LOG_LINE_MAX];
	size_t len;
};

/* One reader: copies the files as they are to a socket. */
struct follower {
	LIST_ENTRY(follower) link;
	struct agent_log *live; /* NULL: what is there, then the end */
	struct loop_fd w;
	int sock;
	int dirfd; /* a copy */
	int fd;    /* file being copied, -1: none yet */
	uint64_t offset;
	uint64_t generation; /* of fd */
	uint64_t newest;     /* of the log, as last told */
};

struct agent_log {
	int dirfd;
	int fd;
	uint64_t size;
	uint64_t half; /* rotate when a file would pass this */
	uint64_t generation;
	bool complained;
	size_t line_max; /* text in one record */
	struct line_buf lines[2];
	char stamp[40];
	/* Whole records on their way to the file. */
	char out[OUT_MAX];
	size_t out_len;
	size_t out_max; /* a file holds that much */
	LIST_HEAD(follower_list, follower) followers;
	struct log_reader_list readers;
};

static int open_file(int dirfd, const char *name, int flags)
{
	int fd = openat(dirfd, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? -errno : fd;
}

/* What was begun before a crash must not run into the first new record. */
static int end_last_line(struct agent_log *l)
{
	struct stat st;
	char last = '\n';

	if (fstat(l->fd, &st) < 0)
		return -errno;
	l->size = (uint64_t)st.st_size;
	if (l->size > 0 && pread(l->fd, &last, 1, st.st_size - 1) != 1)
		return -EIO;
	if (last != '\n' && io_write_full(l->fd, "\n", 1) == 0)
		l->size++;
	return 0;
}

int agent_log_open(struct agent_log **ret, int dirfd, uint64_t max_bytes, struct kerr *e)
{
	struct agent_log *l;
	int r;

	if (max_bytes < AGENT_LOG_MIN)
		return kerr_set(e, EINVAL, "log of %llu bytes: the least is %u",
			(unsigned long long)max_bytes, AGENT_LOG_MIN);
	l = calloc(1, sizeof(*l));
	if (!l)
		return kerr_errno(e, ENOMEM, "agent log");
	LIST_INIT(&l->followers);
	LIST_INIT(&l->readers);
	l->dirfd = dirfd;
	l->generation = 1;
	l->half = max_bytes / 2;
	l->out_max = l->half < sizeof(l->out) ? (size_t)l->half : sizeof(l->out);
	l->line_max = l->out_max - PREFIX_MAX - 1;
	if (l->line_max > AGENT_LOG_LINE_MAX)
		l->line_max = AGENT_LOG_LINE_MAX;
	l->fd = open_file(dirfd, AGENT_LOG_NAME, O_RDWR | O_CREAT | O_APPEND);
	r = l->fd < 0 ? l->fd : end_last_line(l);
	if (r < 0) {
		close_fd(&l->fd);
		free(l);
		return kerr_errno(e, -r, "%s: open", AGENT_LOG_NAME);
	}
	*ret = l;
	return 0;
}

static void follower_free(struct follower *f)
{
	if (f->live)
		LIST_REMOVE(f, link);
	loop_fd_del(&f->w);
	close_fd(&f->sock);
	close_fd(&f->fd);
	close_fd(&f->dirfd);
	free(f);
}

static int rotate(struct agent_log *l)
{
	int fd;

	/* -ENOENT: the rename was done and the new file could not be made then. */
	if (renameat(l->dirfd, AGENT_LOG_NAME, l->dirfd, AGENT_LOG_NAME_OLD) < 0 && errno != ENOENT)
		return -errno;
	fd = open_file(l->dirfd, AGENT_LOG_NAME, O_RDWR | O_CREAT | O_APPEND);
	if (fd < 0)
		return fd;
	close_fd(&l->fd);
	l->fd = fd;
	l->size = 0;
	l->generation++;
	log_readers_rotated(&l->readers, fd);
	return 0;
}

/* Writes the records that were put together; the bound holds whatever happens. */
static void flush_out(struct agent_log *l)
{
	int r = 0;

	if (l->out_len == 0)
		return;
	if (l->size + l->out_len > l->half)
		r = rotate(l);
	if (r == 0)
		r = io_write_full(l->fd, l->out, l->out_len);
	if (r == 0) {
		l->size += l->out_len;
	} else {
		if (!l->complained)
			log_error("agent log: records are lost: %s", strerror(-r));
		/* A half record must not run into the next one. */
		if (ftruncate(l->fd, (off_t)l->size) < 0)
			log_debug("agent log: ftruncate: %s", strerror(errno));
	}
	l->complained = r < 0;
	l->out_len = 0;
}

/*
 * One system call an append, not one a record: a guest that writes nothing
 * but line ends costs no more than another.
 */
static void add_record(
	struct agent_log *l, enum agent_log_stream s, bool full, const char *text, size_t len)
{
	if (l->out_len + PREFIX_MAX + len + 1 > l->out_max)
		flush_out(l);
	l->out_len += (size_t)snprintf(l->out + l->out_len, PREFIX_MAX, "%s %s %c ", l->stamp,
		s == AGENT_LOG_STDOUT ? "stdout" : "stderr", full ? 'F' : 'P');
	memcpy(l->out + l->out_len, text, len);
	l->out_len += len;
	l->out[l->out_len++] = '\n';
}

static void stamp_now(struct agent_log *l)
{
	struct timespec ts;
	struct tm tm;
	size_t n;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	(void)gmtime_r(&ts.tv_sec, &tm);
	n = strftime(l->stamp, sizeof(l->stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(l->stamp + n, sizeof(l->stamp) - n, ".%09ldZ", ts.tv_nsec);
}

static void wake_followers(struct agent_log *l)
{
	struct follower *f;

	LIST_FOREACH(f, &l->followers, link)
	{
		f->newest = l->generation;
		(void)loop_fd_mod(&f->w, EPOLLOUT);
	}
	log_readers_wake(&l->readers);
}

struct log_reader_list *agent_log_readers(struct agent_log *l)
{
	return &l->readers;
}

void agent_log_append(struct agent_log *l, enum agent_log_stream s, const void *data, size_t len)
{
	struct line_buf *b = &l->lines[s];
	const char *p = data;

	stamp_now(l);
	while (len > 0) {
		const char *nl = memchr(p, '\n', len);
		size_t part = nl ? (size_t)(nl - p) : len;
		size_t room = l->line_max - b->len;

		if (part > room) {
			memcpy(b->data + b->len, p, room);
			add_record(l, s, false, b->data, l->line_max);
			b->len = 0;
			p += room;
			len -= room;
			continue;
		}
		memcpy(b->data + b->len, p, part);
		b->len += part;
		p += part;
		len -= part;
		if (nl) {
			add_record(l, s, true, b->data, b->len);
			b->len = 0;
			p++;
			len--;
		}
	}
	flush_out(l);
	wake_followers(l);
}

bool agent_log_unsettled(const struct agent_log *l)
{
	return l->lines[0].len > 0 || l->lines[1].len > 0;
}

void agent_log_settle(struct agent_log *l)
{
	stamp_now(l);
	for (int s = 0; s < 2; s++) {
		struct line_buf *b = &l->lines[s];

		if (b->len > 0)
			add_record(l, (enum agent_log_stream)s, false, b->data, b->len);
		b->len = 0;
	}
	flush_out(l);
	wake_followers(l);
}

void agent_log_close(struct agent_log *l)
{
	struct follower *f;

	if (!l)
		return;
	agent_log_settle(l);
	while ((f = LIST_FIRST(&l->followers))) {
		/* From here on it sends what is there, then ends. */
		LIST_REMOVE(f, link);
		f->live = NULL;
	}
	log_readers_end(&l->readers);
	close_fd(&l->fd);
	free(l);
}

/*
 * Opens the next file to copy: 1 opened, 0 there is none, -errno. The
 * newest generation is agent.log, the one before it agent.log.1, older ones
 * are gone.
 */
static int follower_next(struct follower *f)
{
	uint64_t next = f->generation + 1;

	if (f->generation == f->newest)
		return 0;
	if (next + 1 < f->newest)
		next = f->newest - 1;
	close_fd(&f->fd);
	f->offset = 0;
	f->generation = next;
	f->fd = open_file(
		f->dirfd, next == f->newest ? AGENT_LOG_NAME : AGENT_LOG_NAME_OLD, O_RDONLY);
	if (f->fd < 0 && f->fd != -ENOENT)
		return f->fd;
	return 1;
}

static void follower_ready(struct loop_fd *w, uint32_t events)
{
	struct follower *f = container_of(w, struct follower, w);
	char buf[FOLLOW_CHUNK];

	if (events & (EPOLLERR | EPOLLHUP)) {
		follower_free(f);
		return;
	}
	for (int i = 0; i < FOLLOW_BATCH; i++) {
		ssize_t n = f->fd < 0 ? 0 : pread(f->fd, buf, sizeof(buf), (off_t)f->offset);
		ssize_t sent;

		if (n < 0)
			goto end;
		if (n == 0) {
			int r = follower_next(f);

			if (r == 1)
				continue;
			if (r == 0 && f->live) {
				(void)loop_fd_mod(&f->w, 0); /* until more comes */
				return;
			}
			goto end;
		}
		sent = send(f->sock, buf, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0) {
			if (errno == EAGAIN)
				return;
			goto end;
		}
		f->offset += (uint64_t)sent;
	}
	return; /* called again at once: the socket is still writable */
end:
	follower_free(f);
}

int agent_log_stream(struct loop *loop, int dirfd, struct agent_log *live, int sock, struct kerr *e)
{
	struct follower *f = calloc(1, sizeof(*f));
	int r;

	if (!f) {
		(void)close(sock);
		return kerr_errno(e, ENOMEM, "logs");
	}
	f->sock = sock;
	f->fd = -1;
	f->newest = live ? live->generation : 1;
	f->generation = f->newest - 2; /* wraps for the first, and + 1 is right again */
	f->w = (struct loop_fd){ .fn = follower_ready, .fd = -1 };
	f->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
	if (f->dirfd < 0) {
		r = kerr_errno(e, errno, "logs");
		follower_free(f);
		return r;
	}
	r = loop_fd_add(loop, &f->w, sock, EPOLLOUT);
	if (r < 0) {
		follower_free(f);
		return kerr_errno(e, -r, "logs");
	}
	if (live) {
		f->live = live;
		LIST_INSERT_HEAD(&live->followers, f, link);
	}
	return 0;
}
