#pragma once

#include "cli.h"

/*
 * The same request for several things, one after the other: `key` is the
 * argument that names one of them ("name" for agents). `make` gives the
 * request's other arguments (NULL: none); `done` is called for each that
 * succeeded. Returns the exit code: CLI_FAILED when any failed.
 */
int call_each(const char *verb, const char *api_verb, const char *key, int count, char **names,
	json_t *(*make)(void), void (*done)(const char *name, const struct call *c));
int names_each(const char *verb, const char *api_verb, int count, char **names,
	json_t *(*make)(void), void (*done)(const char *name, const struct call *c));

/* A `done` that prints the name, as docker does. */
void names_print(const char *name, const struct call *c);
