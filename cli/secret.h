#pragma once

#include <manifests/minisign.h>

/*
 * Reads a secret key file; asks for its password on the terminal when it
 * has one (or takes the first line of standard input when that is no
 * terminal). The caller wipes *ret.
 */
int secret_key_load(const char *file, struct minisign_sec *ret, struct kerr *e);

/* Asks on the terminal without echo, with confirmation. buf is wiped by the caller. */
int secret_ask(const char *prompt, bool confirm, char *buf, size_t len, struct kerr *e);
