/* The cgroup of an agent's VMM: made before it, watched while it is there, removed behind it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>
#include <base/units.h>

#include "agent.h"

#define THREADS 64 /* jail/child.c has as many */
#define LOOK_NS (5 * CLOCK_NS_PER_S)

/* No limit stays none. An honest VMM moves a burst and a second's worth in a second, at most. */
static uint64_t per_second(uint64_t rate, uint64_t burst)
{
	uint64_t sum;

	if (__builtin_add_overflow(rate, burst ? burst : rate, &sum))
		return 0;
	return rate ? sum : 0;
}

static struct cgroup_limits limits_in(const struct agent *a)
{
	struct limits l;

	limits_of(a, &l);
	return (struct cgroup_limits){
		.cpu_permille = l.value[LIMIT_CPU],
		.cpu_weight = l.value[LIMIT_CPU_WEIGHT],
		.memory = a->manifest.memory + quotas_overhead(&a->manifest),
		.pids = THREADS,
		.disk_bytes = per_second(l.value[LIMIT_DISK_BANDWIDTH], l.value[LIMIT_DISK_BURST]),
		.disk_ops = per_second(l.value[LIMIT_DISK_OPS], 0),
	};
}

static int make(struct agent *a, int *ret_fd, struct kerr *e)
{
	struct quotas *q = &a->sup->quotas;
	const struct cgroup_limits limits = limits_in(a);
	char name[24];
	int r;

	agent_dir_name(a, name);
	r = cgroup_make(&q->base, name, &limits, ret_fd, e);
	if (r != -ESTALE)
		return r;
	*e = (struct kerr){ 0 };
	log_warn("cgroup %s was removed underneath: made anew", q->base.name);
	quotas_open_again(q);
	return q->base.fd < 0 ? kerr_set(e, ENOTSUP, "cgroup: %s", q->base.why[CGROUP_CPU])
			      : cgroup_make(&q->base, name, &limits, ret_fd, e);
}

int agent_cgroup_make(struct agent *a, struct kerr *e)
{
	if (a->sup->quotas.base.fd < 0)
		return 0;
	close_fd(&a->cgroup.fd);
	return make(a, &a->cgroup.fd, e);
}

int agent_cgroup_set(const struct agent *a, struct kerr *e)
{
	const struct cgroup_limits limits = limits_in(a);

	return a->cgroup.fd < 0 ? 0 : cgroup_set(&a->sup->quotas.base, a->cgroup.fd, &limits, e);
}

/* ---- while it is there ---- */

/* What memory it had stays counted where it was; what it takes from now on is bounded. */
static int put_back(struct agent *a, struct kerr *e)
{
	const struct quotas *q = &a->sup->quotas;
	const struct cgroup_limits limits = limits_in(a);
	char name[24];
	int fd = -1;
	int r;

	agent_dir_name(a, name);
	/* One that is there may hold a thread of the kernel's that does not go. */
	if (cgroup_open(&q->base, name, &fd) == 0)
		r = cgroup_set(&q->base, fd, &limits, e);
	else
		r = make(a, &fd, e);
	if (r < 0) {
		close_fd(&fd);
		return r;
	}
	close_fd(&a->cgroup.fd);
	a->cgroup.fd = fd;
	r = cgroup_take(fd, vmm_proc_pid(a->vmm));
	return r < 0 && r != -ESRCH ? kerr_errno(e, -r, "cgroup.procs") : 0;
}

/* One that has ended is in none; but then that is known by the next time. May free a. */
static void look_for(struct agent *a)
{
	static const char what[] = "its VM was out of its cgroup; it was put back";
	struct kerr err = { 0 };
	struct db_agent row;
	bool there = false;

	if (a->cgroup.fd < 0 || !a->vmm || vmm_proc_given_up(a->vmm))
		return;
	if (cgroup_has(a->cgroup.fd, vmm_proc_pid(a->vmm), &there) == 0 && there) {
		a->cgroup.missed = false;
		return;
	}
	if (!a->cgroup.missed) {
		a->cgroup.missed = true;
		return;
	}
	a->cgroup.missed = false;
	if (put_back(a, &err) < 0) {
		agent_break(a, "its VM is out of its cgroup and cannot be put back: %s", err.msg);
		return;
	}
	log_warn("agent %s: %s", a->row.name, what);
	row = a->row;
	row.state = (char *)agent_state_name(a->state);
	row.reason = a->reason;
	if (db_agent_update(a->sup->db, &row, what, &err) < 0)
		log_error("agent %s: %s", a->row.name, err.msg);
	else
		a->row.moved_ns = row.moved_ns;
	agent_publish_update(a, what);
}

static void look(struct loop_timer *t)
{
	struct quotas *q = container_of(t, struct quotas, look);
	struct sup *s = container_of(q, struct sup, quotas);
	struct agent *next;

	for (struct agent *a = LIST_FIRST(&s->agents); a; a = next) {
		next = LIST_NEXT(a, link);
		look_for(a);
	}
}

void agent_cgroup_adopt(struct agent *a)
{
	const struct quotas *q = &a->sup->quotas;
	struct kerr err = { 0 };
	bool there = false;
	char name[24];
	int r;

	if (q->base.fd < 0)
		return;
	agent_dir_name(a, name);
	close_fd(&a->cgroup.fd);
	if (cgroup_open(&q->base, name, &a->cgroup.fd) == 0)
		(void)cgroup_has(a->cgroup.fd, vmm_proc_pid(a->vmm), &there);
	/* Of a kosvmd that had none, or somebody took it out. */
	r = there ? agent_cgroup_set(a, &err) : put_back(a, &err);
	if (r < 0)
		log_error("agent %s: %s", a->row.name, err.msg);
}

/* ---- its end ---- */

bool agent_cgroup_oom(const struct agent *a, char *reason, size_t len)
{
	const struct quotas *q = &a->sup->quotas;
	_cleanup_close_ int fd = -1;
	uint64_t kills = 0;
	char most[32];
	char name[24];

	agent_dir_name(a, name);
	if (q->base.fd < 0 || cgroup_open(&q->base, name, &fd) < 0 ||
		cgroup_oom_kills(fd, &kills) < 0 || kills == 0)
		return false;
	units_format_size(a->manifest.memory + quotas_overhead(&a->manifest), most, sizeof(most));
	(void)snprintf(reason, len,
		"its VM took more than %s of memory, all that it may have beside its guest's own "
		"(memory.max): the kernel ended it; a guest alone cannot do that, so look for a "
		"flaw in the VMM or an attack on it",
		most);
	return true;
}

void agent_cgroup_release(struct agent *a)
{
	close_fd(&a->cgroup.fd);
	a->cgroup.missed = false;
}

void agent_cgroup_remove(const struct agent *a)
{
	const struct quotas *q = &a->sup->quotas;
	char name[24];
	int r;

	agent_dir_name(a, name);
	r = q->base.fd < 0 ? 0 : cgroup_remove(&q->base, name);
	if (r < 0)
		log_warn("agent %s: its cgroup stays: %s", a->row.name, strerror(-r));
}

static void sweep_one(void *user, const char *name)
{
	struct sup *s = user;
	struct agent *a;
	char other[24];
	int r;

	LIST_FOREACH(a, &s->agents, link)
	{
		agent_dir_name(a, other);
		if (a->vmm && strcmp(name, other) == 0)
			return;
	}
	r = cgroup_remove(&s->quotas.base, name);
	if (r < 0)
		log_warn("cgroup %s/%s, which is no agent's, stays: %s", s->quotas.base.name, name,
			strerror(-r));
}

void agent_cgroups_start(struct sup *s)
{
	struct quotas *q = &s->quotas;

	if (q->base.fd < 0)
		return;
	(void)cgroup_each(&q->base, sweep_one, s);
	q->look.fn = look;
	if (loop_timer_set(s->loop, &q->look, LOOK_NS, LOOK_NS) < 0)
		log_warn("quotas: no timer: nobody looks whether VMs stay in their cgroups");
}
