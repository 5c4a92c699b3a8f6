#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <jansson.h>

#include <base/loop.h>
#include <manifests/manifest.h>

#include "agent_log.h"
#include "db.h"
#include "guest_link.h"
#include "sup.h"
#include "vmm_proc.h"
#include "worker.h"

/*
 * One agent and its life. The table in agent_state.c says which event is
 * allowed in which state; agent_move is the only function that changes the
 * state, and it records the move in the database before anything acts on it.
 */
enum agent_state {
	AGENT_CREATED = 1,
	AGENT_STARTING,
	AGENT_RUNNING,
	AGENT_SLEEPING,
	AGENT_ASLEEP,
	AGENT_WAKING,
	AGENT_STOPPING,
	AGENT_STOPPED,
	AGENT_FAILED,
	AGENT_PURGING,
	AGENT_PURGED,
	AGENT_STATE_COUNT,
};

enum agent_event {
	AGENT_EV_START,   /* somebody wants it to run */
	AGENT_EV_RESTART, /* its restart policy wants it to run */
	AGENT_EV_READY,   /* the guest says that the agent was started */
	AGENT_EV_EXITED,  /* the agent ended by itself */
	AGENT_EV_STOP,    /* somebody wants it to end */
	AGENT_EV_HUNG,    /* its guest did not answer for heartbeat-timeout */
	AGENT_EV_EXPIRED, /* it ran for max-run-time */
	AGENT_EV_ENDED,   /* its VM is gone, as it should be */
	AGENT_EV_BROKEN,  /* its VM is gone, or never came, for a bad reason */
	AGENT_EV_LOST,    /* its VM was gone when kosvmd came back */
	AGENT_EV_SLEEP,   /* it shall sleep */
	AGENT_EV_SLEPT,   /* it does */
	AGENT_EV_WAKE,    /* it shall wake */
	AGENT_EV_WOKEN,   /* it did */
	AGENT_EV_PURGE,   /* somebody wants it gone */
	AGENT_EV_PURGED,  /* nothing of it is left but its row */
	AGENT_EVENT_COUNT,
};

const char *agent_state_name(enum agent_state s);
const char *agent_event_name(enum agent_event ev);
int agent_state_parse(const char *s, enum agent_state *ret);
int agent_event_parse(const char *s, enum agent_event *ret);
/* A VM of it is there, or about to be. */
bool agent_state_live(enum agent_state s);
/* The next state, or 0 when the event is not allowed. */
enum agent_state agent_state_next(enum agent_state s, enum agent_event ev);
/* "start, rm": what is allowed, for messages; "nothing". */
void agent_state_allowed(enum agent_state s, char *buf, size_t len);

/* Somebody who looks on. Embedded in its owner; detached by its owner only. */
struct agent_watcher {
	LIST_ENTRY(agent_watcher) link;
	void (*moved)(struct agent_watcher *w, struct agent *a);
	/* These two may be NULL. */
	void (*progress)(struct agent_watcher *w, const char *text);
	/* The agent is gone (err NULL, and w detached), or could not be removed. */
	void (*removed)(struct agent_watcher *w, const struct kerr *err);
	bool attached;
};

/* A stream to the guest that was asked for. */
struct agent_connect {
	LIST_ENTRY(agent_connect) link;
	uint64_t id;
	int fd;
	/* result 0 and the stream (the callee's), or -errno and -1. Once; then c is freed. */
	void (*done)(void *user, int result, int fd);
	void *user;
};

enum stop_stage { STOP_NONE, STOP_ASKED, STOP_QUIT, STOP_KILLED };

struct agent {
	LIST_ENTRY(agent) link;
	struct sup *sup;
	struct db_agent row; /* its strings are the agent's; state and reason are kept apart */
	enum agent_state state;
	char reason[1024]; /* why it is in this state; may be "" */
	struct manifest manifest;
	int dirfd;

	/* While it is starting, running or stopping. */
	struct worker *prep;
	struct vmm_proc *vmm;
	struct guest_link *guest;
	struct agent_log *log;
	struct loop_timer deadline;
	enum stop_stage stop_stage;
	bool broken;
	bool remove_when_ended;
	uint64_t next_connect;
	LIST_HEAD(connect_list, agent_connect) connects;
	LIST_HEAD(watcher_list, agent_watcher) watchers;
};

/* Reads all agents from the database; those that ran when kosvmd ended are marked failed. */
int agents_load(struct sup *s, struct kerr *e);
/* Frees all; VMs that are there are killed. */
void agents_done(struct sup *s);

/*
 * ref: a name, an id, or the beginning of an id that only one agent has. A
 * name wins. NULL with -ENOENT, or -EINVAL when several ids begin so, in e.
 */
struct agent *agent_find(struct sup *s, const char *ref, struct kerr *e);

/* What a person chose for this one agent beside its manifest. Recorded with it. */
struct agent_launch {
	const char *name; /* NULL: the manifest's */
	const json_t
		*env;     /* an object of strings over the manifest's [env]; NULL: none; borrowed */
	bool tty;         /* the agent runs on a terminal of rows x cols */
	bool open_stdin;  /* its standard input is open for `attach` */
	bool remove;      /* removed when it has ended and no restart is due */
	bool provisional; /* removed when it fails, or kosvmd ends, before it has a VM */
	unsigned rows, cols; /* 0: not known */
};

/*
 * Verifies signature and manifest and makes a row and a directory. launch
 * may be NULL. -EEXIST: name taken; -EINVAL: a name or variable that may not be.
 */
int agent_create(struct sup *s, const char *file, const char *manifest, size_t manifest_len,
	const char *sig_file, const char *sig, size_t sig_len, const struct agent_launch *launch,
	struct agent **ret, struct kerr *e);

int agent_start(struct agent *a, struct kerr *e);
/* grace 0: the manifest's. */
int agent_stop(struct agent *a, uint64_t grace_ns, struct kerr *e);
/* Ends the VM at once; the agent is then stopped. */
int agent_kill(struct agent *a, struct kerr *e);
/* Stops it (grace as for agent_stop) if it is there, then starts it again. */
int agent_restart(struct agent *a, uint64_t grace_ns, struct kerr *e);
/* A signal to the agent's process in the guest. -ENOTCONN: it does not run. */
int agent_signal(struct agent *a, int signo, struct kerr *e);
/* Removes row and directory, and frees a. Refused while a VM is there. */
int agent_remove(struct agent *a, struct kerr *e);

/*
 * A VMM that never answers must not pile up what nobody waits for: until
 * done is called, *ret is cancelled with agent_connect_cancel.
 */
int agent_open_stream(struct agent *a, uint32_t port, void (*done)(void *user, int result, int fd),
	void *user, struct agent_connect **ret, struct kerr *e);

void agent_connect_cancel(struct agent_connect *c);

void agent_watch(struct agent *a, struct agent_watcher *w);
void agent_unwatch(struct agent_watcher *w);

/*
 * For `ps`: a fresh object. id, name, state, reason, paused ("", "idle",
 * "panic"), cid, pid, generation, restarts, restart_at_ns, exit_code,
 * exit_signal, created_ns, started_ns, ended_ns, vcpus, memory, version,
 * signer, rootfs, labels.
 */
json_t *agent_describe(const struct agent *a);
/* The same and all that is known: manifest, launch, lifecycle, boots, moves, health. */
json_t *agent_inspect(const struct agent *a);

/* Counted since the boot, seen from the host. */
struct agent_stats {
	uint64_t time_ns;      /* CLOCK_REALTIME of the reading */
	uint64_t cpu_ns;       /* of the VMM, vCPUs included */
	uint64_t vcpu_ns;      /* of the vCPUs alone */
	uint64_t memory_bytes; /* resident */
	uint64_t memory_max;   /* what the manifest gives */
	uint64_t vsock_rx_bytes, vsock_tx_bytes;
	uint64_t blk_read_bytes, blk_write_bytes;
};
/*
 * Asks the VMM. done once, possibly before this returns: 0 with the figures,
 * or -errno and NULL (-ENOTCONN: no VM).
 */
void agent_stats(struct agent *a,
	void (*done)(void *user, int result, const struct agent_stats *stats), void *user);
/* done of this user is not called any more. */
void agent_stats_cancel(struct agent *a, const void *user);

/* ---- between agent*.c ---- */

/* The one way to another state. -EBUSY names the state and what is allowed. */
int agent_move(struct agent *a, enum agent_event ev, const char *reason, struct kerr *e);
/* The same for what has happened already and cannot be refused. */
void agent_moved_for_real(struct agent *a, enum agent_event ev, const char *reason);
void agent_say(struct agent *a, const char *text); /* progress to watchers */
void agent_tell_removed(struct agent *a, const struct kerr *err);
void agent_dir_name(const struct agent *a, char out[static 24]);
/* Starts to verify and boot; agent_break follows when it fails later. */
int agent_boot(struct agent *a, struct kerr *e);
/* Asks the guest to end, with deadlines behind it. */
void agent_ask_to_end(struct agent *a, uint64_t grace_ns);
void agent_deadline_passed(struct loop_timer *t);
/* Ends whatever is there; FAILED when it is gone. May free a (remove_when_ended). */
void agent_break(struct agent *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Nothing runs any more: releases, moves, and removes if that was asked. May free a. */
void agent_ended(struct agent *a, enum agent_event ev, const char *reason);
void agent_release(struct agent *a);
void agent_free(struct agent *a);
extern const struct vmm_proc_ops agent_vmm_ops;
extern const struct guest_link_ops agent_guest_ops;
