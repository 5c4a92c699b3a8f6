#include "log_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "agent_log.h"

/* The two of the log, and as many that were rotated away while they were read. */
#define FILES_MAX  4u
#define IN_MAX     32768u
#define STAMP_LEN  30u   /* "2026-01-02T03:04:05.000000006Z" */
#define LINES_TURN 4096u /* looked at before others get their turn */
/* Of files that were rotated away so much is kept for who has not read it yet. */
#define BACKLOG_MAX 1048576u

struct log_reader {
	LIST_ENTRY(log_reader) link;
	struct agent_log *live; /* NULL: what is there, then the end */
	void (*wake)(void *user);
	void *user;

	int fds[FILES_MAX]; /* oldest first */
	size_t nfds;
	/* What comes before fds[0]: read from its predecessors when they were too many. */
	char *backlog;
	size_t backlog_pos;
	size_t backlog_len;
	bool behind;
	bool ended;

	/* What is wanted. */
	bool everything;
	bool want[2];
	char since[STAMP_LEN + 1]; /* "": no bound */
	char until[STAMP_LEN + 1];
	uint64_t skip; /* so many that match are before the tail */

	/* The first time through, to know how many match. */
	bool counting;
	int64_t tail;
	size_t count_files;
	uint64_t count_size; /* of the last of them */

	/* Where it is. */
	size_t file;
	uint64_t offset; /* behind what is in `in` */
	char in[IN_MAX];
	size_t pos; /* read up to here */
	size_t len;
	size_t approved; /* bytes at pos that are on their way out */
};

static void stamp_of(uint64_t ns, char out[static STAMP_LEN + 1])
{
	time_t s = (time_t)(ns / CLOCK_NS_PER_S);
	struct tm tm;
	size_t n;

	(void)gmtime_r(&s, &tm);
	n = strftime(out, STAMP_LEN + 1, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(out + n, STAMP_LEN + 1 - n, ".%09uZ", (unsigned)(ns % CLOCK_NS_PER_S));
}

static int open_files(struct log_reader *r, int dirfd, struct kerr *e)
{
	static const char *const names[] = { AGENT_LOG_NAME_OLD, AGENT_LOG_NAME };

	for (size_t i = 0; i < array_size(names); i++) {
		int fd = openat(dirfd, names[i], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

		if (fd >= 0)
			r->fds[r->nfds++] = fd;
		else if (errno != ENOENT)
			return kerr_errno(e, errno, "%s: open", names[i]);
	}
	return 0;
}

int log_reader_new(struct log_reader **ret, int dirfd, struct agent_log *live,
	const struct log_filter *f, void (*wake)(void *user), void *user, struct kerr *e)
{
	struct log_reader *r = calloc(1, sizeof(*r));
	struct stat st;
	int rc;

	if (!r)
		return kerr_errno(e, ENOMEM, "logs");
	r->wake = wake;
	r->user = user;
	r->want[AGENT_LOG_STDOUT] = f->out;
	r->want[AGENT_LOG_STDERR] = f->err;
	r->tail = f->tail;
	r->counting = f->tail >= 0;
	r->everything = f->since_ns == 0 && f->until_ns == 0 && f->out && f->err;
	if (f->since_ns)
		stamp_of(f->since_ns, r->since);
	if (f->until_ns)
		stamp_of(f->until_ns, r->until);
	rc = open_files(r, dirfd, e);
	if (rc < 0) {
		log_reader_free(r);
		return rc;
	}
	r->count_files = r->nfds;
	if (r->nfds > 0 && fstat(r->fds[r->nfds - 1], &st) == 0)
		r->count_size = (uint64_t)st.st_size;
	if (live) {
		r->live = live;
		LIST_INSERT_HEAD(agent_log_readers(live), r, link);
	}
	*ret = r;
	return 0;
}

void log_reader_free(struct log_reader *r)
{
	if (!r)
		return;
	if (r->live)
		LIST_REMOVE(r, link);
	for (size_t i = 0; i < r->nfds; i++)
		close_fd(&r->fds[i]);
	free(r->backlog);
	free(r);
}

/* ---- records ---- */

/* "STAMP stdout F text": wanted? */
static bool matches(struct log_reader *r, const char *line, size_t len)
{
	const char *stream = line + STAMP_LEN + 1;

	if (r->everything)
		return true;
	if (len < STAMP_LEN + sizeof(" stdout F ") - 1 || line[STAMP_LEN] != ' ')
		return false;
	if (r->since[0] && memcmp(line, r->since, STAMP_LEN) < 0)
		return false;
	if (r->until[0] && memcmp(line, r->until, STAMP_LEN) > 0) {
		/* What comes now comes later still. */
		r->ended = r->ended || (r->live && !r->counting && r->file + 1 == r->nfds);
		return false;
	}
	return r->want[memcmp(stream, "stderr", 6) == 0 ? AGENT_LOG_STDERR : AGENT_LOG_STDOUT];
}

static void drop_first(struct log_reader *r)
{
	close_fd(&r->fds[0]);
	memmove(r->fds, r->fds + 1, (r->nfds - 1) * sizeof(r->fds[0]));
	r->nfds--;
	r->offset = 0;
}

/* The file was read to its end: on to the next. False: there is none. */
static bool next_file(struct log_reader *r)
{
	if (r->file + 1 >= r->nfds)
		return false;
	if (r->counting) {
		r->offset = 0;
		r->file++;
	} else {
		drop_first(r);
	}
	return true;
}

/* More into `in`: 1, 0 at the end of all, -errno. */
static int fill(struct log_reader *r)
{
	ssize_t n;

	if (r->pos > 0) {
		memmove(r->in, r->in + r->pos, r->len - r->pos);
		r->len -= r->pos;
		r->pos = 0;
	}
	if (r->backlog_pos < r->backlog_len) {
		n = (ssize_t)(r->backlog_len - r->backlog_pos);
		if ((size_t)n > IN_MAX - r->len)
			n = (ssize_t)(IN_MAX - r->len);
		memcpy(r->in + r->len, r->backlog + r->backlog_pos, (size_t)n);
		r->backlog_pos += (size_t)n;
		r->len += (size_t)n;
		return 1;
	}
	do {
		size_t room = IN_MAX - r->len;

		if (r->nfds == 0)
			return 0;
		if (r->counting && r->file + 1 == r->count_files) {
			if (r->offset >= r->count_size)
				return 0;
			if (room > r->count_size - r->offset)
				room = (size_t)(r->count_size - r->offset);
		}
		n = pread(r->fds[r->file], r->in + r->len, room, (off_t)r->offset);
		if (n < 0)
			return -errno;
	} while (n == 0 && next_file(r));
	r->len += (size_t)n;
	r->offset += (uint64_t)n;
	return n > 0;
}

/* A whole record at pos: its length with the line end. 0: not there. A full buffer is one. */
static size_t record(const struct log_reader *r)
{
	const char *nl = memchr(r->in + r->pos, '\n', r->len - r->pos);

	if (nl)
		return (size_t)(nl - (r->in + r->pos)) + 1;
	return r->len - r->pos == IN_MAX ? IN_MAX : 0;
}

/* 1: go on, 0: all were counted. */
static int count(struct log_reader *r)
{
	for (unsigned i = 0; i < LINES_TURN; i++) {
		size_t n = record(r);
		int rc = n > 0 ? 1 : fill(r);

		if (rc < 0)
			return rc;
		if (rc == 0)
			return 0;
		if (n > 0)
			r->skip += matches(r, r->in + r->pos, n);
		r->pos += n;
	}
	return 1;
}

static int count_turn(struct log_reader *r)
{
	int rc = count(r);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	/* From the beginning again, past those that are too many. */
	r->counting = false;
	r->skip = r->skip > (uint64_t)r->tail ? r->skip - (uint64_t)r->tail : 0;
	r->file = 0;
	r->offset = 0;
	r->pos = r->len = 0;
	return 0;
}

/* Finds the next bytes that go out: 1, 0 not yet, -errno as log_reader_read. */
static int approve(struct log_reader *r)
{
	for (unsigned i = 0; i < LINES_TURN; i++) {
		size_t n = record(r);
		int rc;

		if (r->ended)
			return -ENODATA;
		if (n == 0) {
			rc = fill(r);
			if (rc < 0)
				return rc;
			if (rc == 1)
				continue;
			if (r->live)
				return -EAGAIN;
			/* The last line of a log that was cut off. */
			n = r->len - r->pos;
			if (n == 0)
				return -ENODATA;
		}
		if (matches(r, r->in + r->pos, n)) {
			if (r->skip == 0) {
				r->approved = n;
				return 1;
			}
			r->skip--;
		}
		r->pos += n;
	}
	return 0;
}

ssize_t log_reader_read(struct log_reader *r, char *buf, size_t max)
{
	size_t done = 0;
	int rc = 0;

	if (r->behind)
		return -EPIPE;
	if (r->counting)
		return count_turn(r);
	while (done < max) {
		size_t n = max - done;

		rc = r->approved > 0 ? 1 : approve(r);
		if (rc != 1)
			break;
		if (n > r->approved)
			n = r->approved;
		memcpy(buf + done, r->in + r->pos, n);
		r->pos += n;
		r->approved -= n;
		done += n;
	}
	return done > 0 ? (ssize_t)done : rc;
}

/* ---- what the log tells ---- */

/* One file less to hold, nothing less to read. */
static int take_first(struct log_reader *r)
{
	size_t waits = r->backlog_len - r->backlog_pos;
	struct stat st;
	size_t size;
	char *all;
	ssize_t n;

	while (r->counting) {
		int rc = count_turn(r);

		if (rc < 0)
			return rc;
	}
	if (fstat(r->fds[0], &st) < 0)
		return -errno;
	size = (uint64_t)st.st_size > r->offset ? (size_t)((uint64_t)st.st_size - r->offset) : 0;
	if (size > BACKLOG_MAX || waits > BACKLOG_MAX - size)
		return -EPIPE;
	all = malloc(waits + size + 1);
	if (!all)
		return -ENOMEM;
	if (waits > 0)
		memcpy(all, r->backlog + r->backlog_pos, waits);
	n = pread(r->fds[0], all + waits, size, (off_t)r->offset);
	if (n < 0) {
		free(all);
		return -EIO;
	}
	free(r->backlog);
	r->backlog = all;
	r->backlog_pos = 0;
	r->backlog_len = waits + (size_t)n;
	drop_first(r);
	return 0;
}

void log_readers_rotated(struct log_reader_list *list, int fd)
{
	struct log_reader *r;

	LIST_FOREACH(r, list, link)
	{
		int copy = -1;

		if (!r->behind && (r->nfds < FILES_MAX || take_first(r) == 0))
			copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (copy >= 0)
			r->fds[r->nfds++] = copy;
		else
			r->behind = true;
	}
}

void log_readers_wake(struct log_reader_list *list)
{
	struct log_reader *r;

	LIST_FOREACH(r, list, link)
	{
		r->wake(r->user);
	}
}

void log_readers_end(struct log_reader_list *list)
{
	struct log_reader *r;

	while ((r = LIST_FIRST(list))) {
		LIST_REMOVE(r, link);
		r->live = NULL;
		r->wake(r->user);
	}
}
