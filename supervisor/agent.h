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
#include "limits.h"
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
	AGENT_EV_OOM,     /* the kernel ended its VM: it had taken more memory than it may */
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

/* What a person chose for this one agent; agent_launch.c. */
struct launch {
	char **env; /* NULL-terminated NAME=value; NULL: none */
	bool tty, open_stdin, remove;
	uint64_t linger_ns; /* with remove: how long it stays after its end */
	unsigned rows, cols;
};

/* Heartbeat and maximum run time of a running agent; agent_health.c. */
struct health {
	struct loop_timer beat;
	struct loop_timer life;
	uint64_t last_beat_ns;  /* CLOCK_MONOTONIC */
	uint64_t ran_before_ns; /* when this kosvmd took it over */
	uint64_t since_ns;      /* CLOCK_MONOTONIC of that moment, or of ready */
	uint64_t tick_ns;       /* CLOCK_MONOTONIC of the last look */
	uint64_t beats;         /* pings sent; the idle detection allows for their bytes */
	bool held;              /* paused: nothing is expected */
};

/* What the host saw of a running agent last; agent_idle.c. */
struct idle {
	struct loop_timer sample;
	bool known; /* the figures below are there */
	uint64_t cpu_ns, vsock_bytes, blk_bytes, beats;
	uint64_t sampled_ns; /* CLOCK_MONOTONIC */
	uint64_t busy_ns;    /* CLOCK_MONOTONIC of the last sample that was not idle */
};

/* What holds its VMM to its quotas; agent_cgroup.c. */
struct agent_cgroup {
	int fd;      /* its directory; -1: it has none */
	bool missed; /* at the last look its VMM was not in it */
};

struct agent {
	LIST_ENTRY(agent) link;
	struct sup *sup;
	struct db_agent row; /* its strings are the agent's; state and reason are kept apart */
	enum agent_state state;
	enum agent_event last_event; /* that brought it there */
	char reason[1024];           /* why it is in this state; may be "" */
	struct manifest manifest;    /* zero when `unreadable` */
	bool unreadable; /* its row or directory is not usable: it can be removed only */
	struct launch launch;
	struct limits_changed changed; /* row.overrides */
	int dirfd;

	/* While it is starting, running or stopping. */
	struct worker *prep;
	struct vmm_proc *vmm;
	struct guest_link *guest;
	struct agent_log *log;
	struct loop_timer deadline;
	enum stop_stage stop_stage;
	uint64_t stop_grace_ns;
	bool broken;
	bool adopted; /* its VM was started by an earlier kosvmd */
	bool remove_when_ended;
	struct loop_timer removal; /* armed while it has ended and lingers */
	bool frozen;               /* the VMM said that it is paused */
	struct agent_cgroup cgroup;
	struct health health;
	struct idle idle;
	uint64_t next_connect;
	LIST_HEAD(connect_list, agent_connect) connects;

	struct loop_timer restart; /* armed while row.restart_at_ns is set */
	LIST_HEAD(stats_list, agent_stats_request) stats;
	LIST_HEAD(watcher_list, agent_watcher) watchers;
};

/*
 * Reads all agents from the database and finds out what became of them: VMs
 * that are there are taken over, the others have ended with the truth, what
 * was begun and never acknowledged is taken back, what is left over is swept.
 * An agent that cannot be read does not keep the others.
 */
int agents_load(struct sup *s, struct kerr *e);
/* Frees all; VMs that are there live on for the next kosvmd. */
void agents_detach(struct sup *s);
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
		*env;    /* an object of strings over the manifest's [env]; NULL: none; borrowed */
	bool tty;        /* the agent runs on a terminal of rows x cols */
	bool open_stdin; /* its standard input is open for `attach` */
	bool remove;     /* removed when it has ended and no restart is due */
	unsigned linger_ms;  /* with remove: so long after, or when its name is wanted again */
	bool provisional;    /* removed when it fails, or kosvmd ends, before it has a VM */
	unsigned rows, cols; /* 0: not known */
};

/*
 * Verifies signature and manifest and makes a row and a directory. launch
 * may be NULL. -EEXIST: name taken; -EINVAL: a name or variable that may not be.
 */
int agent_create(struct sup *s, const char *file, const char *manifest, size_t manifest_len,
	const char *sig_file, const char *sig, size_t sig_len, const struct agent_launch *launch,
	struct agent **ret, struct kerr *e);

/* It may be gone when this fails (provisional, or launched to be removed at its end). */
int agent_start(struct agent *a, struct kerr *e);
/*
 * grace 0: the manifest's. For one that has ended and waits for a restart, or
 * ends to be restarted, this and agent_kill call the restart off.
 */
int agent_stop(struct agent *a, uint64_t grace_ns, struct kerr *e);
/* Ends the VM at once; the agent is then stopped. */
int agent_kill(struct agent *a, struct kerr *e);
/* Stops it (grace as for agent_stop) if it is there, then starts it again. */
int agent_restart(struct agent *a, uint64_t grace_ns, struct kerr *e);
/* A signal to the agent's process in the guest. -ENOTCONN: it does not run. */
int agent_signal(struct agent *a, int signo, struct kerr *e);
/*
 * Changes its limits as the body of a PATCH says, and records that. The VM is
 * told by agent_limits_tell. -EINVAL, -EPERM: not so; -EBUSY: not now.
 */
int agent_update(struct agent *a, const json_t *body, struct kerr *e);
/* As vmm_proc_limits; -ENOTCONN also without a VM. */
int agent_limits_tell(struct agent *a, vmm_done_fn *done, void *user);
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
/* Records what changed in a->row beside a move; a failure is logged and returned. */
int agent_note(struct agent *a);
void agent_publish(struct agent *a, const char *type, json_t *fields); /* adds agent and id */
void agent_publish_update(struct agent *a, const char *what);
void agent_say(struct agent *a, const char *text); /* progress to watchers */
void agent_tell_removed(struct agent *a, const struct kerr *err);
void agent_dir_name(const struct agent *a, char out[static 24]);
/* Starts to verify and boot; agent_break follows when it fails later. */
int agent_boot(struct agent *a, struct kerr *e);
/* The streams to the guest, for a fresh VM or (resumed) one whose agent was ready already. */
int agent_open_guest(struct agent *a, bool resumed, struct kerr *e);
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

/* agent_stream.c */
void agent_connected(struct agent *a, uint64_t id, int result);
void agent_connects_fail(struct agent *a);

/* agent_launch.c: text is what row.launch keeps. */
int launch_format(const struct agent_launch *l, char **ret_text, struct kerr *e);
int launch_parse(const char *text, struct launch *ret, struct kerr *e);
void launch_done(struct launch *l);

/*
 * agent_policy.c: whether one that is about to make the move `ev` to
 * STOPPED or FAILED starts again: sets restart_at_ns and restarts of the row.
 */
void agent_policy_decide(struct agent *a, enum agent_event ev, char *reason, size_t len);
/* Arms what row.restart_at_ns says, or disarms. */
void agent_policy_arm(struct agent *a);

/* agent_health.c: from ready (ran_ns 0) or from being taken over. */
void agent_health_start(struct agent *a, uint64_t ran_ns);
void agent_health_beat(struct agent *a);
void agent_health_hold(struct agent *a, bool held);
void agent_health_stop(struct agent *a);
uint64_t agent_ran_ns(const struct agent *a);

/*
 * agent_pause.c: why it stands still ("idle" or "panic") is recorded, then its
 * VM is told. For a panic, whose record is its own, agent_freeze comes first.
 */
int agent_freeze(struct agent *a);
void agent_pause(struct agent *a, const char *why);
void agent_unpause(struct agent *a);
/* Somebody needs the guest now: one that is paused for idleness goes on. */
void agent_needed(struct agent *a);

/*
 * agent_cgroup.c: a cgroup for the VMM that is about to be born; 0 also where
 * there are none (quotas_check has looked at what that means).
 */
int agent_cgroup_make(struct agent *a, struct kerr *e);
/* The VMM of an earlier kosvmd: the cgroup it is in, or one that it is put into. */
void agent_cgroup_adopt(struct agent *a);
/* What holds now is set. 0: also without a cgroup. */
int agent_cgroup_set(const struct agent *a, struct kerr *e);
/* Did the kernel kill its VMM for its memory? Also of one that ended while kosvmd was away. */
bool agent_cgroup_oom(const struct agent *a, char *reason, size_t len);
void agent_cgroup_release(struct agent *a);
/* Kills what is left in it. */
void agent_cgroup_remove(const struct agent *a);
/*
 * At the start of kosvmd: removes those of agents that have no VM. From then
 * on each VMM is looked for in its own: one that was moved out is put back.
 */
void agent_cgroups_start(struct sup *s);

/* agent_idle.c */
void agent_idle_start(struct agent *a);
void agent_idle_stop(struct agent *a);

/* agent_boots.c: the record of a VM, and what became of those of an earlier kosvmd. */
int agent_boot_record(struct agent *a, const struct vmm_identity *id, struct kerr *e);
/* For one in a live state, at the start of kosvmd. May free a. */
void agent_recover(struct agent *a);
/* The VMM of an earlier kosvmd answers. May free a. */
void agent_attached(struct agent *a, bool paused);
/* For one that is unreadable: it may not run unwatched. */
void agent_recover_unreadable(struct agent *a);
/* The VM's last word from its file, for one that was not heard. */
enum vmm_end agent_last_word(const struct agent *a, char *text, size_t len);
