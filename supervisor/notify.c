#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>
#include <base/units.h>

#define STATUS_MAX 256u

/* Nobody waits for an answer, and kosvmd does not wait for a reader. */
static void say(struct notify *n, const char *text)
{
	if (n->fd < 0)
		return;
	if (send(n->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_warn("NOTIFY_SOCKET: %s", strerror(errno));
}

static int notify_connect(struct notify *n, const char *path, struct kerr *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t len = strlen(path);

	if ((path[0] != '/' && path[0] != '@') || len < 2 || len >= sizeof(sa.sun_path))
		return kerr_set(e, EINVAL,
			"NOTIFY_SOCKET: expected an absolute path or @name of at most %zu bytes",
			sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, path, len);
	if (path[0] == '@')
		sa.sun_path[0] = '\0'; /* abstract: unix(7) */
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (n->fd < 0)
		return kerr_errno(e, errno, "NOTIFY_SOCKET: socket");
	if (connect(n->fd, (struct sockaddr *)&sa,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		return kerr_errno(e, errno, "NOTIFY_SOCKET: %s: connect", path);
	return 0;
}

int notify_init(struct notify *n, struct kerr *e)
{
	const char *path = getenv("NOTIFY_SOCKET");
	int r = path ? notify_connect(n, path, e) : 0;

	(void)unsetenv("NOTIFY_SOCKET");
	if (r < 0)
		notify_done(n);
	return r;
}

void notify_done(struct notify *n)
{
	loop_timer_done(&n->watchdog);
	close_fd(&n->fd);
}

static void watchdog_due(struct loop_timer *t)
{
	say(container_of(t, struct notify, watchdog), "WATCHDOG=1");
}

/* How often the manager wants to hear from this process; 0: it does not. */
static int watchdog_interval(uint64_t *ret_ns, struct kerr *e)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *who = getenv("WATCHDOG_PID");
	uint64_t pid = 0;
	uint64_t us = 0;
	int r = 0;

	*ret_ns = 0;
	if (who && units_parse_u64(who, INT32_MAX, &pid) < 0)
		r = kerr_set(e, EINVAL, "WATCHDOG_PID = %s: expected a process id", who);
	if (r == 0 && usec && units_parse_u64(usec, UINT32_MAX * 1000ULL, &us) < 0)
		r = kerr_set(e, EINVAL, "WATCHDOG_USEC = %s: expected microseconds", usec);
	if (r == 0 && us > 0 && (!who || (pid_t)pid == getpid()))
		*ret_ns = us * 1000;
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
	return r;
}

int notify_ready(struct notify *n, struct loop *loop, struct kerr *e)
{
	uint64_t interval;
	int r = watchdog_interval(&interval, e);

	if (r < 0 || n->fd < 0)
		return r;
	say(n, "READY=1");
	if (interval == 0)
		return 0;
	/* Twice in its time, as sd_watchdog_enabled(3) advises. */
	n->watchdog.fn = watchdog_due;
	r = loop_timer_set(loop, &n->watchdog, interval / 2, interval / 2);
	return r < 0 ? kerr_errno(e, -r, "watchdog") : 0;
}

static void say_with_status(struct notify *n, const char *line, const char *text)
{
	char buf[STATUS_MAX];

	(void)snprintf(buf, sizeof(buf), "%sSTATUS=%s", line, text);
	say(n, buf);
}

void notify_status(struct notify *n, const char *text)
{
	say_with_status(n, "", text);
}

void notify_stopping(struct notify *n, const char *text)
{
	say_with_status(n, "STOPPING=1\n", text);
}
