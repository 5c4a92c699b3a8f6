#pragma once

#include <stdint.h>
#include <sys/queue.h>

#include <base/loop.h>
#include <manifests/keyring.h>
#include <manifests/sandbox.h>
#include <wire/api_proto.h>

#include "db.h"
#include "events.h"
#include "isolation.h"
#include "leftovers.h"
#include "notify.h"
#include "quotas.h"

struct agent;
struct exchange;
struct http;
struct panic;

/*
 * kosvmd as a whole: one event loop, one thread. Everything below is
 * used from that thread only.
 *
 * state_dir/  kosvmd.db  images/  keys/  agents/ID/{state.img,agent.log,console.log,vmm.log}
 */
struct sup {
	struct loop *loop;
	struct api_paths paths;
	struct db *db;
	int images_fd;
	int keys_fd;
	int agents_fd;
	char vmm_program[512];
	char init_program[512];
	LIST_HEAD(agent_list, agent) agents;
	LIST_HEAD(panic_list, panic) panics; /* that stand; panic.h */
	struct events events;
	struct leftovers leftovers;
	struct http *http;         /* the API */
	struct exchange *exchange; /* descriptors beside it */
	struct sandbox sandbox;    /* the host's ceilings */
	struct isolation isolation;
	struct quotas quotas;
	uint64_t started_ns;
	bool ending;
	struct notify notify; /* the service manager's, if one asked */
};

/* Starts to listen; api_done closes all clients. */
int api_listen(struct sup *s, struct kerr *e);
void api_done(struct sup *s);
