#pragma once

#include <stdbool.h>

#include <base/kerr.h>

/*
 * A verb, or a subcommand of one, as a row of a table: its usage line, its
 * help and its completion are made from the row, so that they cannot differ
 * from what it takes. Each verb is one file with one `const struct cmd`; its
 * function prints what was asked for on stdout, everything else on stderr,
 * and returns the exit code: 0, CLI_FAILED, CLI_USAGE, or what it promises.
 */
#define CLI_FAILED 1
#define CLI_USAGE  2

struct opt {
	const char *name; /* the long one */
	int key;         /* what cli_opt returns: a letter is the short one; else OPT_LONG and on */
	const char *arg; /* what stands for its argument in the help; NULL: it takes none */
	const char *text; /* one line */
};
#define OPT_LONG 256

/* What arguments and options' arguments are, for completion. */
enum cli_words {
	WORDS_NONE,
	WORDS_FILES,
	WORDS_AGENTS,
	WORDS_IMAGES,
	WORDS_KEYS,
	WORDS_VERBS,
	WORDS_AGENT_PATHS, /* files, and NAME: */
	WORDS_SHELLS,
};

struct cmd {
	const char *name;              /* "ps", "image import" */
	const char *args;              /* for the usage line */
	const char *summary;           /* begins small, no stop */
	const char *more;              /* lines between the summary and the options; may be NULL */
	const struct opt *opts;        /* ends with an empty row; NULL: none but --help */
	const struct cmd *const *subs; /* ends with NULL; then there is no fn */
	int (*fn)(
		const struct cmd *c, int argc, char **argv); /* argv[0] is the last word of name */
	enum cli_words words;
	bool rest;     /* what follows the first argument is nobody's option */
	int bad_usage; /* exit code of a wrong command line; 0: CLI_USAGE */
};

/* All verbs, in the order of the help; ends with NULL (main.c). */
extern const struct cmd *const cli_cmds[];

/*
 * The next option of c: its key (its argument in optarg), -1 when optind is
 * at the first argument, or less when help was printed or the option is
 * wrong: then the exit code is CLI_OPT_EXIT of it. Unless c->rest, options
 * may stand behind arguments; "--" ends them.
 */
int cli_opt(const struct cmd *c, int argc, char **argv);
#define CLI_OPT_EXIT(r) (-2 - (r))

/* For those without options of their own: -1 to go on, else the exit code. */
int cli_no_options(const struct cmd *c, int argc, char **argv);

/* Runs c or the subcommand of it that argv[1] names. */
int cli_run(const struct cmd *c, int argc, char **argv);
const struct cmd *cli_find(const char *verb);

/* The help of c on stdout; returns 0. */
int cli_help(const struct cmd *c);
/* "kosvm run: text" on stderr; returns CLI_FAILED. */
int cli_fail(const struct cmd *c, const struct kerr *e);
/* Says what is wrong and how c is used; returns the code for that. */
int cli_usage(const struct cmd *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
