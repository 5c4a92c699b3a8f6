#include "listener.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>

/* Nobody is accepted for so long when descriptors ran out. */
#define PAUSE_NS (200 * CLOCK_NS_PER_MS)

bool listener_peer_allowed(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	return cred.uid == 0 || cred.uid == geteuid();
}

static void resume(struct loop_timer *t)
{
	struct listener *l = container_of(t, struct listener, pause);

	(void)loop_fd_mod(&l->w, EPOLLIN);
}

static void ready(struct loop_fd *w, uint32_t events)
{
	struct listener *l = container_of(w, struct listener, w);
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0) {
		l->fn(l, fd);
		return;
	}
	/* Out of descriptors: the one who waits stays, and would wake us for ever. */
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
		log_warn("a request has to wait: %s", strerror(errno));
		l->pause.fn = resume;
		if (loop_timer_set(w->loop, &l->pause, PAUSE_NS, 0) == 0)
			(void)loop_fd_mod(&l->w, 0);
	}
}

int listener_open(struct listener *l, struct loop *loop, const char *path, int type,
	void (*fn)(struct listener *l, int fd), struct kerr *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int r;

	if (strlen(path) >= sizeof(sa.sun_path))
		return kerr_set(e, ENAMETOOLONG,
			"%s: longer than the %zu bytes of a unix socket: choose a shorter KOSVM_RUN",
			path, sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	l->fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return kerr_errno(e, errno, "socket");
	(void)unlink(path);
	memcpy(l->path, path, strlen(path) + 1);
	if (bind(l->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || chmod(path, 0600) < 0 ||
		listen(l->fd, 64) < 0)
		return kerr_errno(e, errno, "%s: listen", path);
	l->fn = fn;
	l->w.fn = ready;
	r = loop_fd_add(loop, &l->w, l->fd, EPOLLIN);
	return r < 0 ? kerr_errno(e, -r, "%s: watch", path) : 0;
}

void listener_close(struct listener *l)
{
	loop_fd_del(&l->w);
	loop_timer_done(&l->pause);
	if (l->fd >= 0 && l->path[0])
		(void)unlink(l->path);
	close_fd(&l->fd);
}
