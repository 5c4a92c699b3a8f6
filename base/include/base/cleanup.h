#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Scope-bound clean-up (GCC and clang attribute cleanup). Each variable
 * must be initialised where it is declared: `_cleanup_close_ int fd = -1;`.
 */
static inline void cleanup_closep(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	errno = saved;
}

static inline void cleanup_freep(void *p)
{
	void **pp = p;

	free(*pp);
}

static inline void cleanup_fclosep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

#define _cleanup_(f)     __attribute__((cleanup(f)))
#define _cleanup_close_  _cleanup_(cleanup_closep)
#define _cleanup_free_   _cleanup_(cleanup_freep)
#define _cleanup_fclose_ _cleanup_(cleanup_fclosep)

/* Hands the fd over to somebody else: the variable no longer owns it. */
static inline int steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Closes *fd if open and marks it closed; errno is kept. */
static inline void close_fd(int *fd)
{
	cleanup_closep(fd);
	*fd = -1;
}

#define steal_ptr(p)                                                                               \
	({                                                                                         \
		__typeof__(p) *_p = &(p);                                                          \
		__typeof__(p) _v = *_p;                                                            \
		*_p = NULL;                                                                        \
		_v;                                                                                \
	})

#define array_size(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member)                                                            \
	((type *)(void *)((char *)(ptr) - __builtin_offsetof(type, member)))
