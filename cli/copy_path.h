#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * One end of `kosvm cp`, as docker takes it: NAME:PATH in an agent, a path
 * here (also one that begins with / or . and has a colon), or "-" for a tar
 * stream.
 */
struct copy_path {
	char *agent;    /* NULL: here */
	char *path;     /* without trailing "/" or "/."; "/" itself is "/"; in an agent absolute */
	bool stream;    /* "-" */
	bool contents;  /* ended with "/.": what is in it, not itself */
	bool directory; /* ended with "/": has to be a directory */
};
/* 0 or -EINVAL. */
int copy_path_parse(const char *text, struct copy_path *ret);
void copy_path_done(struct copy_path *p);

/* The last part of the path, in it; "" for "/". */
const char *copy_path_last(const struct copy_path *p);
/* What is before the last part: "/", "." or a fresh copy. The caller frees. */
char *copy_path_parent(const struct copy_path *p);

/*
 * The name of a member of an archive with another first part: "a/b/c" and
 * "x" make "x/b/c"; first NULL or "" makes "b/c", "" for "a" itself. A leading "./" and
 * trailing slashes are dropped. NULL for a name that is absolute, empty or has a "..".
 * The caller frees.
 */
char *copy_name_rewrite(const char *name, const char *first);

/* As above for a member of what was copied from src: of "/" nothing but "." is its first part. */
char *copy_name_from(const struct copy_path *src, const char *name, const char *first);
