#pragma once

#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>
#include <manifests/manifest.h>

/*
 * The Kernel Sandbox: what no manifest on this host may exceed, as an INI
 * file of its administrator (kosvm-sandbox(5)), at most SANDBOX_MAX_BYTES
 * and as strict as a manifest.
 *
 *   [limits]  agents                     how many there may be
 *             vcpus, memory, state       of one agent
 *             vcpus-total, memory-total  of all agents that run
 *             state-total                of all agents there are
 *             cpu, disk-bandwidth, disk-ops, vsock-bandwidth
 *                                        of one agent, and what one has that asks for none
 *             unenforced-quotas = refuse, allow: one that asks for what this host
 *                                        cannot hold it to
 *   [isolation] a protection each (enum sandbox_protection), or jail for all
 *             that have no key of their own = required, if-possible, off
 *   [identity]  uids = FIRST-LAST
 *
 * What [limits] does not have is not limited; what [isolation] does not have
 * is required.
 */
#define SANDBOX_FILE      "/etc/kosvm/sandbox.ini"
#define SANDBOX_MAX_BYTES 65536u

enum sandbox_key {
	SANDBOX_AGENTS,
	SANDBOX_VCPUS,
	SANDBOX_VCPUS_TOTAL,
	SANDBOX_MEMORY,
	SANDBOX_MEMORY_TOTAL,
	SANDBOX_STATE,
	SANDBOX_STATE_TOTAL,
	SANDBOX_CPU,
	SANDBOX_DISK_BANDWIDTH,
	SANDBOX_DISK_OPS,
	SANDBOX_VSOCK_BANDWIDTH,
	SANDBOX_KEYS
};

/* What an agent's VMM is kept in; docs/THREATS.md says what each is for. */
enum sandbox_protection {
	SANDBOX_MOUNT, /* a mount namespace with an empty root */
	SANDBOX_NETWORK,
	SANDBOX_IPC,
	SANDBOX_PID,
	SANDBOX_UTS,
	SANDBOX_CGROUP, /* a cgroup namespace */
	SANDBOX_TIME,
	SANDBOX_IDENTITY, /* a uid and gid of its own */
	SANDBOX_RLIMITS,
	SANDBOX_CAPABILITIES, /* none */
	SANDBOX_SECCOMP,
	SANDBOX_LANDLOCK,
	SANDBOX_PROTECTIONS
};

enum sandbox_need {
	SANDBOX_REQUIRED, /* nothing runs without it */
	SANDBOX_IF_POSSIBLE,
	SANDBOX_OFF
};

enum sandbox_unenforced { SANDBOX_REFUSE, SANDBOX_ALLOW };

/* Far above what distributions, and their subordinate ranges, give to people. */
#define SANDBOX_UID_FIRST 1879048192u
#define SANDBOX_UID_LAST  1879113727u

struct sandbox_uids {
	uint32_t first, last;
};

struct sandbox {
	char file[256];               /* as messages name it */
	uint64_t limit[SANDBOX_KEYS]; /* valid where line is not 0 */
	unsigned line[SANDBOX_KEYS];  /* 0: no limit */
	enum sandbox_need need[SANDBOX_PROTECTIONS];
	unsigned need_line[SANDBOX_PROTECTIONS]; /* 0: it is the default */
	struct sandbox_uids uids;                /* of agents; their gids are the same */
	unsigned uids_line;
	enum sandbox_unenforced unenforced;
};

/* As if the file were empty. */
void sandbox_init(struct sandbox *s, const char *file);

/* As in the file: "network", "required". */
const char *sandbox_protection_name(enum sandbox_protection p);
const char *sandbox_need_name(enum sandbox_need n);

/* *ret is untouched on failure: "FILE:LINE: key = value: expected …" (-EINVAL, -EFBIG). */
int sandbox_parse(
	const char *file, const char *data, size_t len, struct sandbox *ret, struct kerr *e);

/*
 * What a manifest asks for one agent against the ceilings for one: -EPERM,
 * with both lines. file: of the manifest, in that message.
 */
int sandbox_check_manifest(
	const struct sandbox *s, const struct manifest *m, const char *file, struct kerr *e);

/*
 * What a person wants for an agent that is there, 0 for no limit: -EPERM with
 * the agent's name and the line.
 */
int sandbox_check_change(const struct sandbox *s, enum sandbox_key key, uint64_t want,
	const char *name, struct kerr *e);

/*
 * have of all others and want of one more, against a ceiling for all: -EPERM,
 * what: in the message, as "memory"; whose: "the agents that run".
 */
int sandbox_check_total(const struct sandbox *s, enum sandbox_key key, uint64_t have, uint64_t want,
	const char *what, const char *whose, struct kerr *e);
