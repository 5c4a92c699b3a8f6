/*
 * The test agent: a static program with one thing to do for each test.
 *
 *   mill echo PORT      sends back what comes on vsock PORT, any number of streams at once
 *   mill dial CID PORT  connects from the guest; says how that ended and after how long
 *   mill signal         waits for SIGTERM, says so, ends with code 9
 *   mill stubborn       ignores SIGTERM
 *   mill reboot|poweroff   what it says, at once (root)
 *   mill fill MIB       writes to so much memory, says so, ends
 *   mill hang           nothing else in the guest runs any more (root)
 *   (as /init)          an init that never reports to the host
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/clock.h>

#define CHUNK 32768u

struct stream {
	int fd;
	size_t len, pos;
	char buf[CHUNK];
};

static int fail(const char *what)
{
	(void)fprintf(stderr, "mill: %s: %s\n", what, strerror(errno));
	return 1;
}

/* Says what happened on both outputs, so that tests see them apart. */
static void say(const char *text)
{
	(void)printf("mill: %s\n", text);
	(void)fflush(stdout);
	(void)fprintf(stderr, "mill: uid %u\n", (unsigned)getuid());
}

/* False when the stream is over. */
static bool stream_go(int ep, struct stream *s)
{
	struct epoll_event ev = { .data.ptr = s };
	ssize_t n;

	for (int turns = 0; turns < 8; turns++) {
		if (s->pos == s->len) {
			n = read(s->fd, s->buf, CHUNK);
			if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
				return false;
			if (n < 0)
				break;
			s->len = (size_t)n;
			s->pos = 0;
		}
		n = write(s->fd, s->buf + s->pos, s->len - s->pos);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (n < 0)
			break;
		s->pos += (size_t)n;
	}
	ev.events = s->pos < s->len ? EPOLLOUT : EPOLLIN;
	(void)epoll_ctl(ep, EPOLL_CTL_MOD, s->fd, &ev);
	return true;
}

static int stream_add(int ep, int listener)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct stream *s = malloc(sizeof(*s));
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0 || !s) {
		free(s);
		return fd < 0 && errno == ECONNABORTED ? 0 : fail("accept");
	}
	s->fd = fd;
	s->len = s->pos = 0;
	ev.data.ptr = s;
	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0 ? fail("epoll") : 0;
}

static int echo(unsigned port)
{
	struct sockaddr_vm sa = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port
	};
	struct epoll_event ev = { .events = EPOLLIN };
	int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ep = epoll_create1(EPOLL_CLOEXEC);

	if (listener < 0 || bind(listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
		listen(listener, 1024) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev) < 0)
		return fail("listen");
	say("listening");
	for (;;) {
		struct epoll_event got[32];
		int n = epoll_wait(ep, got, 32, -1);

		for (int i = 0; i < n; i++) {
			struct stream *s = got[i].data.ptr;

			if (!s) {
				if (stream_add(ep, listener) != 0)
					return 1;
			} else if (!stream_go(ep, s)) {
				(void)close(s->fd);
				free(s);
			}
		}
	}
}

static int dial(unsigned cid, unsigned port)
{
	struct sockaddr_vm sa = { .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port };
	uint64_t start = clock_mono_ns();
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = connect(fd, (struct sockaddr *)&sa, sizeof(sa));

	(void)printf("%s %llu\n", r < 0 ? strerrorname_np(errno) : "connected",
		(unsigned long long)((clock_mono_ns() - start) / CLOCK_NS_PER_MS));
	return r < 0;
}

static int wait_for_term(void)
{
	sigset_t set;
	int signo;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	say("waiting");
	(void)sigwait(&set, &signo);
	(void)printf("mill: signal %d\n", signo);
	return 9;
}

static int rest(const char *text)
{
	(void)signal(SIGTERM, SIG_IGN);
	say(text);
	while (pause() < 0) /* which is all it ever returns */
		continue;
	return 0;
}

/* The only processor, for ever: not even the kernel's own threads get a turn. */
static int hang(void)
{
	const struct sched_param first = { .sched_priority = 99 };
	int fd = open("/proc/sys/kernel/sched_rt_runtime_us", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "-1", 2) != 2)
		return fail("sched_rt_runtime_us");
	if (sched_setscheduler(0, SCHED_FIFO, &first) < 0)
		return fail("SCHED_FIFO");
	for (;;)
		continue;
}

static int fill(size_t mib)
{
	char *all = malloc(mib << 20);

	if (!all)
		return fail("malloc");
	for (size_t at = 0; at < mib << 20; at += 4096)
		all[at] = (char)(at >> 12 | 1);
	(void)printf("mill: filled %zu MiB, %d\n", mib, all[(mib << 20) - 4096]);
	free(all);
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (getpid() == 1)
		return rest("this init does nothing");
	if (strcmp(mode, "echo") == 0 && argc == 3)
		return echo((unsigned)strtoul(argv[2], NULL, 10));
	if (strcmp(mode, "dial") == 0 && argc == 4)
		return dial(
			(unsigned)strtoul(argv[2], NULL, 10), (unsigned)strtoul(argv[3], NULL, 10));
	if (strcmp(mode, "signal") == 0)
		return wait_for_term();
	if (strcmp(mode, "stubborn") == 0)
		return rest("stubborn");
	if (strcmp(mode, "reboot") == 0)
		return reboot(RB_AUTOBOOT) < 0 ? fail("reboot") : 0;
	if (strcmp(mode, "poweroff") == 0)
		return reboot(RB_POWER_OFF) < 0 ? fail("poweroff") : 0;
	if (strcmp(mode, "fill") == 0 && argc == 3)
		return fill(strtoul(argv[2], NULL, 10));
	if (strcmp(mode, "hang") == 0)
		return hang();
	(void)fputs("mill: see the top of mill.c\n", stderr);
	return 2;
}
