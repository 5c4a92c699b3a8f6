#pragma once

#include <stdbool.h>
#include <sys/queue.h>

#include "agent.h"
#include "sup.h"

struct reply {
	STAILQ_ENTRY(reply) link;
	json_t *msg;
	int fd;
};

/*
 * One connection to kosvmd's socket: one request, then replies until the
 * last. A verb either answers at once or leaves something in the client
 * that answers later; a client that leaves takes that with it.
 */
struct client {
	LIST_ENTRY(client) link;
	struct sup *sup;
	struct loop_fd w;
	int sock;
	bool asked; /* the one request was read */
	bool done;  /* the last reply is queued */

	/* Replies that did not fit into the socket yet. */
	STAILQ_HEAD(reply_list, reply) queue;
	unsigned queued;

	/* What a later answer hangs on; each may be there or not. */
	struct agent_watcher watcher;
	const struct verb *verb;
	struct agent_connect *stream;
	json_t *exec; /* request of `exec`, while its stream is being opened */
	struct worker *import;
};

struct request {
	json_t *args; /* the whole request, borrowed */
	int *fds;     /* set to -1 what you take */
	size_t nfds;
};

struct verb {
	const char *name;
	int (*fn)(struct client *c, struct request *q, struct kerr *e);
};
extern const struct verb agent_verbs[];
extern const struct verb host_verbs[];

/* Each takes the reference of msg; client_ok and client_fail are the last reply. */
void client_send(struct client *c, json_t *msg, int fd);
void client_ok(struct client *c, json_t *ok);
void client_ok_fd(struct client *c, json_t *ok, int fd); /* fd is taken over */
void client_fail(struct client *c, int code, const char *message);
void client_data(struct client *c, json_t *data); /* one of several */
void client_progress(struct client *c, const char *text);

/* An import whose client left has ended; user: the struct sup. */
void verbs_host_import_gone(void *user);

/* Arguments: a required string; -EINVAL names it. */
int request_string(const struct request *q, const char *key, const char **ret, struct kerr *e);

/*
 * As io_read_all for descriptor i of the request, which must be a regular
 * file: nobody may keep the loop waiting for the other end of a pipe.
 */
int request_read(const struct request *q, size_t i, const char *what, size_t max, char **ret,
	size_t *ret_len, struct kerr *e);
