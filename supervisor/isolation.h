#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include <base/kerr.h>
#include <manifests/sandbox.h>

/*
 * What of the jail this host has, and sandbox.ini asks for. Found out once, when kosvmd
 * starts; nothing is left out without being said: in the log, by `kosvm info`
 * and `kosvm doctor`, and by the agents' refusal to start.
 */
struct isolation {
	bool on[SANDBOX_PROTECTIONS];
	char why[SANDBOX_PROTECTIONS][512]; /* it is not */
	uint32_t jail;                      /* JAIL_*, of jail/spawn.h */
	uint32_t confine;                   /* BOARD_CONFINE_*, of wire/board.h */
	int missing;                        /* the first that is required and not there; -1 */
};

/* box is borrowed by isolation_check, too. */
void isolation_probe(struct isolation *i, const struct sandbox *box);

/* May a VM run here at all? -ENOTSUP: what is missing and which line would do without. */
int isolation_check(const struct isolation *i, const struct sandbox *box, struct kerr *e);

/* [{"name": "network", "required": true, "active": true, "why": ""}, …] */
json_t *isolation_describe(const struct isolation *i, const struct sandbox *box);
