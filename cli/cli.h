#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include <base/kerr.h>

/*
 * What the verbs share. Each verb is one file and one function; it prints
 * what was asked for on stdout, everything else on stderr, and returns the
 * exit code: 0, CLI_FAILED, CLI_USAGE, or what the verb promises.
 */
#define CLI_FAILED 1
#define CLI_USAGE  2

struct cmd {
	const char *name;
	int (*fn)(int argc, char **argv); /* argv[0] is the verb */
	const char *args;                 /* for the usage line */
	const char *summary;
};
extern const struct cmd cli_cmds[];

int cmd_run(int argc, char **argv);
int cmd_start(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_wait(int argc, char **argv);
int cmd_rm(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_logs(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_image(int argc, char **argv);
int cmd_key(int argc, char **argv);
int cmd_manifest(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_version(int argc, char **argv);

/* "kosvm run: text" on stderr; returns CLI_FAILED. */
int cli_fail(const char *verb, const struct kerr *e);
/* Says what is wrong and how the verb is used; returns CLI_USAGE. */
int cli_usage(const char *verb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The help of one verb on stdout; returns 0. `more` may be NULL. */
int cli_help(const char *verb, const char *more);

/*
 * For verbs and subcommands without options of their own: -1 to go on, with
 * optind at the first argument; else the exit code. `more` is cli_help's.
 */
int cli_no_options(const char *verb, int argc, char **argv, const char *more);

/* One subcommand of a verb such as `image`. */
struct subcmd {
	const char *name;
	int (*fn)(int argc, char **argv); /* argv[0] is the subcommand */
};
int cli_dispatch(
	const char *verb, const struct subcmd *subs, int argc, char **argv, const char *help);

/* ---- the connection to kosvmd (client.c) ---- */

struct call {
	json_t *ok; /* the caller's */
	int fd;     /* the caller's; -1: none came */
};
#define CALL_INIT                                                                                  \
	{                                                                                          \
		.ok = NULL, .fd = -1                                                               \
	}

/*
 * One request to kosvmd, which is started when none is there. `request` is
 * taken over and gets its "api" and "verb". Progress goes to stderr. data
 * is called for each data object (borrowed). -errno is what kosvmd said.
 */
int call_kosvmd(const char *verb, json_t *request, const int *fds, size_t nfds,
	void (*data)(void *user, const json_t *o), void *user, struct call *ret, struct kerr *e);
void call_done(struct call *c);

/*
 * Opens a file or directory its user named; "-" is standard input, which is
 * copied into a nameless file when it is a pipe or a terminal.
 */
int cli_open(const char *path, int flags, struct kerr *e);

/* ---- output (table.c) ---- */

enum cli_format { FORMAT_TABLE, FORMAT_JSON };
/* 0 or -EINVAL. */
int cli_format_parse(const char *s, enum cli_format *ret);

/* Rows of text that are aligned when they are printed. */
struct table;
struct table *table_new(unsigned columns);
void table_add(struct table *t, const char *const *cells);
void table_print(struct table *t);
void table_free(struct table *t);

/* One line of text from others on stdout, as safe.h does it. */
void cli_print_safe(const char *s);
/* A string of an object, "" when it has none. */
const char *cli_text(const json_t *o, const char *key);
/* One JSON object a line on stdout. */
void cli_print_json(const json_t *o);

/* ---- logs.c, for `run` in the foreground ---- */
/* Until the agent's log ends; interrupted (may be NULL) is called when a signal came. */
int logs_follow(const char *name, void (*interrupted)(const char *name), struct kerr *e);
