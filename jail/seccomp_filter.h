#pragma once

#include <stddef.h>

#include <base/kerr.h>
#include <jail/lock.h>

struct sock_filter;

enum seccomp_kind { SECCOMP_SETUP, SECCOMP_VCPU, SECCOMP_LOOP, SECCOMP_BLOCK, SECCOMP_KINDS };

/* As it was made when kosvm was built. */
const struct sock_filter *seccomp_filter(enum seccomp_kind kind, size_t *ret_len);

/*
 * For the calling thread and what it starts, for good; the process has
 * no_new_privs. -EOPNOTSUPP: a kernel without it.
 */
int seccomp_install(enum seccomp_kind kind, struct kerr *e);
