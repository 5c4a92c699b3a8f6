#pragma once

#include <stdint.h>

#include <base/kerr.h>

/*
 * The half of the jail that a process puts on itself, behind exec: nothing
 * of it can be taken off again. Called once, before a second thread exists
 * (Landlock and seccomp bind the calling thread and what it starts) and before the first
 * hostile byte is read.
 *
 * confine: the BOARD_CONFINE_* bits of wire/board.h. Each one asked for is
 * had, or this fails and the caller must not go on:
 *   PROCESS   no_new_privs, not dumpable (no core, no ptrace by its own user,
 *             prctl(2)), core size 0; any other bit brings it as well
 *   LANDLOCK  landlock(7) with every right that this kernel can deny, and no
 *             exception: no path can be opened, made, removed or executed; where
 *             the kernel has it also no TCP (ABI 4), no ioctl on devices opened
 *             later (5), no abstract socket and no signal to the outside (6).
 *             Descriptors that are open already stay what they are.
 *   SECCOMP   seccomp(2): what kosvm-vmm needs to build its machine and to run it,
 *             jail/seccomp_rules.c; any other system call ends the process by
 *             SIGSYS. jail_lock_thread takes more of it away from each thread.
 * -EINVAL: an unknown bit; -EOPNOTSUPP: a kernel without one of them; else -errno.
 */
int jail_lock_process(uint32_t confine, struct kerr *e);

/* The Landlock ABI of this kernel (1 and above), or -errno: -ENOSYS not built in, -EOPNOTSUPP
 * switched off. */
int jail_landlock_abi(void);

enum jail_thread { JAIL_THREAD_VCPU, JAIL_THREAD_LOOP, JAIL_THREAD_BLOCK };

/*
 * Where confine has BOARD_CONFINE_SECCOMP: from here on the calling thread
 * may do what such a thread does and nothing else. Behind jail_lock_process,
 * when the thread is all set up (its name, its signals, for the loop: the other
 * threads) and before it touches what the guest has written. A thread that
 * was not locked must not go on. -errno.
 */
int jail_lock_thread(uint32_t confine, enum jail_thread thread, struct kerr *e);

/* Has this kernel what BOARD_CONFINE_SECCOMP needs? 0, or -EOPNOTSUPP with what to do about it. */
int jail_seccomp_check(struct kerr *e);
