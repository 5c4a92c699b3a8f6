#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/kerr.h>
#include <wire/limits.h>

/*
 * An agent's manifest: what it is made of and what it may do, as an INI
 * file of at most MANIFEST_MAX_BYTES. The signature is verified over the
 * raw bytes before a single one is parsed (manifests/minisign.h).
 *
 * Every mistake is one error "FILE:LINE: key = value: expected …" (-EINVAL;
 * -EFBIG, -E2BIG: too much of something; -ENOMEM).
 * Unknown sections and keys, keys given twice, values out of range, bytes
 * that are not UTF-8, NULs and lines over MANIFEST_LINE_MAX are mistakes.
 *
 *   [agent]      name, version (unsigned)
 *   [image]      kernel, initramfs, rootfs = blake2b:HEX
 *   [resources]  vcpus, memory, state (size of the state disk; 0: none),
 *                cpu (share of processors), cpu-weight,
 *                disk-bandwidth, disk-ops, disk-burst (of all disks together),
 *                vsock-bandwidth, vsock-burst (both ways together); 0: no limit
 *   [run]        command, user (uid or uid:gid or a name; never root),
 *                workdir, start-timeout, stop-timeout, console (size of the
 *                boot log kept), log (size of the agent's log kept)
 *   [lifecycle]  restart, restart-max, restart-backoff, restart-backoff-max,
 *                restart-reset, heartbeat, heartbeat-timeout, max-run-time,
 *                idle-after, idle-action
 *   [env]        NAME = value, any number up to MANIFEST_ENV_MAX
 *   [labels]     key = value, any number up to MANIFEST_LABELS_MAX
 *
 * command is split into words as a shell would, with '…', "…" and \, and
 * without any expansion; what else would have a meaning in a shell
 * (| & ; < > ( ) `) must be quoted. docs/man/kosvm-manifest.5 has the whole.
 */
#define MANIFEST_MAX_BYTES  65536u
#define MANIFEST_LINE_MAX   1024u
#define MANIFEST_ARGV_MAX   64u
#define MANIFEST_ENV_MAX    64u
#define MANIFEST_LABELS_MAX 32u
#define MANIFEST_PAIRS_MAX  64u /* the most of them in one section */
#define MANIFEST_NAME_MAX   63u
#define MANIFEST_LABEL_MAX  63u
#define DIGEST_LEN          32u /* BLAKE2b-256 */

struct digest {
	uint8_t bytes[DIGEST_LEN];
};

/* "blake2b:" and 64 hexadecimal digits. */
#define DIGEST_TEXT_LEN (8u + 2u * DIGEST_LEN)
void digest_format(const struct digest *d, char out[static DIGEST_TEXT_LEN + 1]);
int digest_parse(const char *s, struct digest *ret); /* 0 or -EINVAL */

enum manifest_restart {
	MANIFEST_RESTART_NEVER,
	MANIFEST_RESTART_ON_FAILURE,
	MANIFEST_RESTART_ALWAYS
};
enum manifest_idle { MANIFEST_IDLE_SLEEP, MANIFEST_IDLE_STOP, MANIFEST_IDLE_NONE };

struct manifest {
	char name[MANIFEST_NAME_MAX + 1]; /* [a-z0-9]([a-z0-9-]*[a-z0-9])? */
	uint32_t version;                 /* default 1 */
	struct digest kernel, initramfs, rootfs;
	uint32_t vcpus;      /* 1..32; default 1 */
	uint64_t memory;     /* bytes, 64 MiB .. 64 GiB, a multiple of 1 MiB; default 128 MiB */
	uint64_t cpu;        /* thousandths of a processor, 0 or 10 .. 32000; default 0 */
	uint64_t cpu_weight; /* 0 or 1 .. 10000; default 0 */
	uint64_t state;      /* bytes, 0 or 8 MiB .. 16 TiB, a multiple of 4096; default 0 */
	struct rate_limit disk_rate;  /* sizes 0 or 4 KiB .. 1 TiB, ops 0 .. 10^9; default 0 */
	struct rate_limit vsock_rate; /* the same; ops is 0 */
	char **argv;               /* NULL-terminated, at least one; argv[0] is an absolute path */
	char **env;                /* NULL-terminated, NAME=value */
	char user[33];             /* default "1000:1000" */
	char workdir[256];         /* absolute; default "/state" with a state disk, else "/" */
	uint64_t start_timeout_ns; /* default 60 s */
	uint64_t stop_timeout_ns;  /* default 10 s */
	uint64_t console_max;      /* default 1 MiB */
	uint64_t log_max;          /* default 16 MiB */
	enum manifest_restart restart;   /* default never */
	uint32_t restart_max;            /* in a row; 0: no limit; default 10 */
	uint64_t restart_backoff_ns;     /* before the first; doubles; default 1 s */
	uint64_t restart_backoff_max_ns; /* >= restart_backoff_ns; default 5 min */
	uint64_t restart_reset_ns;       /* ran so long: the count is 0 again; default 10 min */
	uint64_t heartbeat_ns;           /* 0: none; default 10 s */
	uint64_t heartbeat_timeout_ns;   /* > heartbeat_ns; default 60 s */
	uint64_t max_run_time_ns;        /* 0: no limit; the default */
	uint64_t idle_after_ns;          /* 0: never; the default */
	enum manifest_idle idle_action;  /* default sleep */
	char **labels;                   /* NULL-terminated, key=value */
	/* Where it says so, for messages; 0: nowhere, it is the default. */
	unsigned vcpus_line, memory_line, state_line, cpu_line, cpu_weight_line;
	unsigned disk_bandwidth_line, disk_ops_line, disk_burst_line;
	unsigned vsock_bandwidth_line, vsock_burst_line, console_line, log_line;
};

/*
 * Parses len bytes; `file` names them in errors. On success the caller
 * calls manifest_done. On failure *ret is untouched.
 */
int manifest_parse(
	const char *file, const char *data, size_t len, struct manifest *ret, struct kerr *e);
void manifest_done(struct manifest *m); /* NULL and zeroed are fine */

/* Splits as [run] command is split; NULL-terminated, freed by manifest_free_words. */
int manifest_split_words(const char *s, char ***ret, struct kerr *e);
void manifest_free_words(char **words);

/* A name of the environment: a letter or _, then letters, digits and _. */
bool manifest_env_name_ok(const char *s);

/* The rules for agents' names and labels' keys, for the API and the CLI too. */
bool manifest_name_ok(const char *s);
bool manifest_label_ok(const char *s);
