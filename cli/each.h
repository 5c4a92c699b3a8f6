#pragma once

#include <jansson.h>

#include "call.h"
#include "cmd.h"

/* One request for each of several names, one after another; goes on after a failure. */
struct each {
	enum call_kind kind;
	const char *method;
	const char *collection; /* "/v1/agents" */
	const char *action;     /* NULL: none */
	const char *query_key;  /* NULL: none; its value is "true" */
	const json_t *body;     /* copied for each; NULL: none */
	/* NULL: the name is printed. */
	void (*done)(const char *name, const json_t *ok);
};

/* The exit code. */
int each_name(const struct cmd *c, const struct each *how, int count, char **names);
/* For verbs that take agents and nothing else. */
int each_agent(const struct cmd *c, const char *action, int argc, char **argv,
	void (*done)(const char *name, const json_t *ok));
