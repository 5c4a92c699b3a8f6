#pragma once

#include <stdint.h>

#include <base/kerr.h>

/*
 * The half of the jail that a process puts on itself, behind exec: nothing
 * of it can be taken off again. Called once, before a second thread exists
 * (Landlock binds the calling thread and what it starts) and before the first
 * hostile byte is read.
 *
 * confine: the BOARD_CONFINE_* bits of wire/board.h. Each one asked for is
 * had, or this fails and the caller must not go on:
 *   BOARD_CONFINE_PROCESS   no_new_privs, not dumpable (no core, no ptrace by its own user,
 * prctl(2)), core size 0 BOARD_CONFINE_LANDLOCK  landlock(7) with every right that this kernel can
 * deny, and no exception: no path can be opened, made, removed or executed; where the kernel has it
 * also no TCP (ABI 4), no ioctl on devices opened later (5), no abstract socket and no signal to
 * the outside (6). Descriptors that are open already stay what they are. -EINVAL: an unknown bit;
 * -EOPNOTSUPP: a kernel without Landlock; else -errno.
 */
int jail_lock_process(uint32_t confine, struct kerr *e);

/* The Landlock ABI of this kernel (1 and above), or -errno: -ENOSYS not built in, -EOPNOTSUPP
 * switched off. */
int jail_landlock_abi(void);
