#pragma once

#include <jansson.h>

#include "call.h"
#include "cmd.h"

/* What run and create have in common: a manifest, its signature, and the options over it. */
struct create {
	json_t *body; /* the request, less manifest and signature */
	json_t *env;
	const char *sig_file; /* NULL: beside the manifest */
	bool tty, interactive, remove, detach;
	unsigned linger_ms; /* an agent that is to be removed stays so long after its end */
};

enum { CREATE_SIGNATURE = OPT_LONG, CREATE_NAME, CREATE_RM };
#define CREATE_OPTIONS                                                                             \
	{ "name", CREATE_NAME, "NAME", "call the agent so, not as the manifest says" },            \
		{ "env", 'e', "NAME=VALUE",                                                        \
			"add a variable; without = this process's (may be repeated)" },            \
		{ "interactive", 'i', NULL, "keep its standard input open, for attach" },          \
		{ "tty", 't', NULL, "run it on a terminal" },                                      \
		{ "rm", CREATE_RM, NULL, "remove it when it has ended" },                          \
	{                                                                                          \
		"signature", CREATE_SIGNATURE, "FILE",                                             \
			"take the signature from there, not from MANIFEST.minisig"                 \
	}

void create_init(struct create *x);
void create_done(struct create *x);
/* -1 to go on with the manifest's path in *ret_file, else the exit code. */
int create_options(
	const struct cmd *c, int argc, char **argv, struct create *x, const char **ret_file);
/* The request. *ret (the caller's) is the agent. 0 or -errno. */
int create_agent(struct create *x, const char *file, bool start, json_t **ret, struct kerr *e);
