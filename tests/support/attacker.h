#pragma once

#include <stdint.h>

/*
 * What tests/support/attacker.c, in the place of kosvm-vmm, gets on its
 * descriptor 3: one thing to try. It ends with 0 when that worked, else with
 * the errno that stopped it; ATTACK_UNKNOWN: there is no such deed.
 */
#define ATTACK_UNKNOWN    254
#define ATTACK_UNLOCKABLE 253

struct attack {
	char deed[32];
	uint32_t confine;     /* BOARD_CONFINE_*: locks itself first */
	int32_t victim;       /* a process of the host */
	uint16_t port;        /* that listens on the host's loopback */
	char path[64];        /* a file that anybody may read and write */
	char others_path[64]; /* one of another agent's */
	int32_t other;        /* a process of another agent's */
	char socket[64];      /* a socket in the file system that listens */
	char abstract[64];    /* one that has no file */
	uint64_t pages;       /* with memory, files, …: how many would be too many */
};
