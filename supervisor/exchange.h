#pragma once

#include <stdint.h>

#include <base/kerr.h>

struct sup;

/*
 * Descriptors on their way between kosvmd and its clients, beside HTTP: a
 * SOCK_SEQPACKET socket on which {"give": N} with N descriptors is answered
 * with tokens, and {"take": TOKEN} with the descriptor. A token is 128 random
 * bits, for one use, good for 30 seconds, and gone with the connection that
 * gave its descriptor. Loop thread only.
 */
#define EXCHANGE_CLIENTS_MAX 256u
#define EXCHANGE_TOKENS_MAX  512u
#define EXCHANGE_TOKEN_LEN   32u

struct exchange;

int exchange_open(struct exchange **ret, struct sup *s, const char *path, struct kerr *e);
/* Closes all that is left. NULL is fine. */
void exchange_close(struct exchange *x);

/* fd is taken over on success. -EUSERS: too many wait already. */
int exchange_put(
	struct exchange *x, int fd, char token[static EXCHANGE_TOKEN_LEN + 1], struct kerr *e);
/* The descriptor, the caller's, or -ENOENT. */
int exchange_take(struct exchange *x, const char *token, struct kerr *e);
