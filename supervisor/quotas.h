#pragma once

#include <jansson.h>

#include <base/kerr.h>
#include <base/loop.h>
#include <jail/cgroup.h>
#include <manifests/manifest.h>

struct agent;
struct limits_changed;

/*
 * Which quotas this host can hold agents to from outside of their VMMs: found
 * out once, when kosvmd starts. What a VMM does by itself (the size of its
 * machine, the rates of disks and vsock) and what its jail forbids holds
 * everywhere; a share of processors needs cgroup v2. An agent that has one is
 * refused where there is none, unless sandbox.ini allows it. Loop thread.
 */
struct quotas {
	struct cgroup_base base;
	int agents_fd;          /* borrowed */
	struct loop_timer look; /* agent_cgroup.c */
};

/* The state directory's agents/ names this kosvmd's cgroups. */
void quotas_open(struct quotas *q, int agents_fd);
/* After the base was removed underneath. */
void quotas_open_again(struct quotas *q);
/* Cgroups with VMs in them stay. */
void quotas_close(struct quotas *q);

/*
 * What a's manifest, changes and ceilings ask for, against what there is:
 * -ENOTSUP with the line and what to do. file: of the manifest, in the message.
 */
int quotas_check(const struct agent *a, const char *file, struct kerr *e);
/* The same for what is about to be changed. */
int quotas_check_change(const struct agent *a, const struct limits_changed *c, struct kerr *e);

/* The most that a VMM takes beside its guest's memory, with what the kernel keeps for it. */
uint64_t quotas_overhead(const struct manifest *m);

/* The most of private memory that it may map, used or not: with its threads' stacks. */
uint64_t quotas_address_space(const struct manifest *m);

/* [{"name": "cpu", "active": true, "by": "cpu.max, cpu.weight", "why": ""}, …] */
json_t *quotas_describe(const struct quotas *q);
