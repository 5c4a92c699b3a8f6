#pragma once

#include <stddef.h>

#include <jansson.h>

#include <base/fdpass.h>
#include <base/kerr.h>

/*
 * Beside the HTTP interface of kosvmd (docs/openapi.yaml): descriptors, which
 * HTTP cannot carry, on the SOCK_SEQPACKET socket RUN/kosvmd.fds. Every
 * message is one JSON object of at most API_MSG_MAX bytes, with descriptors
 * beside it. The command line opens the files its user named, so kosvmd
 * never follows a user's path; and gets the streams to guests themselves, so
 * kosvmd is not in their way. Workers of kosvmd talk by the same messages.
 *
 *   {"give": N} with N descriptors -> {"ok": {"tokens": [TOKEN, …]}}
 *   {"take": TOKEN}                -> {"ok": {}} with the descriptor
 *   or                             -> {"error": {"errno": N, "code": "ENOENT", "message": TEXT}}
 */
#define API_VERSION 1 /* of the HTTP interface */
#define API_MSG_MAX 131072u

/* In what kosvmd says on its ready descriptor when it gives way to one that runs: ask that one. */
#define API_RUNS_ALREADY "another kosvmd runs already"

/* 0 or -errno; the object and the fds stay the caller's. */
int api_send(int sock, const json_t *msg, const int *fds, size_t nfds, struct kerr *e);

/*
 * 1: a message (the caller's to json_decref; fds the caller's), 0: end of
 * stream, -errno. Duplicate keys, non-objects and depth are refused.
 */
int api_recv(int sock, json_t **ret, int *fds, size_t max_fds, size_t *ret_nfds, struct kerr *e);

/*
 * A JSON string of any text. A message may hold a file's name or be cut in
 * the middle of a character, and JSON takes UTF-8 only: then every byte
 * beyond ASCII becomes '?'. NULL: no memory.
 */
json_t *api_text(const char *s);

/* Where kosvmd listens and keeps its files, from the environment and the uid. */
struct api_paths {
	char run_dir[256];   /* $KOSVM_RUN, /run/kosvm, or $XDG_RUNTIME_DIR/kosvm */
	char state_dir[256]; /* $KOSVM_STATE, /var/lib/kosvm, or $XDG_STATE_HOME/kosvm */
	char socket[300];    /* run_dir/kosvmd.sock */
};
int api_paths_get(struct api_paths *ret, struct kerr *e);
