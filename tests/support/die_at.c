/*
 * Preloaded into kosvmd (LD_PRELOAD) by tests/kills: it dies by SIGKILL in
 * front of the call number KOSVM_DIE_AT of those that change anything
 * outside of it: files, sockets, processes. Calls are counted from the moment
 * that the file KOSVM_DIE_ARMED is there. Workers and other programs live on.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pid_t self; /* 0: not the program that is meant */
static unsigned long die_at, calls;
static const char *armed;

static __attribute__((constructor)) void begin(void)
{
	const char *n = getenv("KOSVM_DIE_AT");

	armed = getenv("KOSVM_DIE_ARMED");
	if (!n || !armed || strcmp(program_invocation_short_name, "kosvmd") != 0)
		return;
	die_at = strtoul(n, NULL, 10);
	self = getpid();
}

static void count(void)
{
	int saved = errno;

	if (self == 0 || getpid() != self)
		return;
	if (syscall(SYS_access, armed, F_OK) == 0 && ++calls == die_at)
		(void)kill(self, SIGKILL);
	errno = saved;
}

/* The next one of that name, found once. */
#define REAL(ret, name, ...)                                                                       \
	static ret (*real)(__VA_ARGS__);                                                           \
	if (!real)                                                                                 \
		real = (ret(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);                               \
	count()

pid_t fork(void)
{
	REAL(pid_t, fork, void);
	return real();
}

ssize_t write(int fd, const void *buf, size_t len)
{
	REAL(ssize_t, write, int, const void *, size_t);
	return real(fd, buf, len);
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t at)
{
	REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
	return real(fd, buf, len, at);
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	REAL(ssize_t, send, int, const void *, size_t, int);
	return real(fd, buf, len, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	REAL(ssize_t, sendmsg, int, const struct msghdr *, int);
	return real(fd, m, flags);
}

int fsync(int fd)
{
	REAL(int, fsync, int);
	return real(fd);
}

int fdatasync(int fd)
{
	REAL(int, fdatasync, int);
	return real(fd);
}

int ftruncate64(int fd, off64_t len)
{
	REAL(int, ftruncate64, int, off64_t);
	return real(fd, len);
}

int unlink(const char *path)
{
	REAL(int, unlink, const char *);
	return real(path);
}

int unlinkat(int dirfd, const char *path, int flags)
{
	REAL(int, unlinkat, int, const char *, int);
	return real(dirfd, path, flags);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	REAL(int, renameat, int, const char *, int, const char *);
	return real(from_fd, from, to_fd, to);
}

int mkdirat(int dirfd, const char *path, mode_t mode)
{
	REAL(int, mkdirat, int, const char *, mode_t);
	return real(dirfd, path, mode);
}

int listen(int fd, int backlog)
{
	REAL(int, listen, int, int);
	return real(fd, backlog);
}

int openat64(int dirfd, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;
	REAL(int, openat64, int, const char *, int, ...);

	va_start(ap, flags);
	if (flags & O_CREAT)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	return real(dirfd, path, flags, mode);
}
