#include "quotas.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include <base/log.h>
#include <base/units.h>

#include "agent.h"

static const struct {
	const char *by;
	const char *without; /* what there is instead */
} told[CGROUP_CONTROLLERS] = {
	[CGROUP_CPU] = { "cpu.max, cpu.weight", "nothing bounds an agent but its number of vCPUs" },
	[CGROUP_MEMORY] = { "memory.max, memory.swap.max",
		"the size of the VM and RLIMIT_DATA bound it" },
	[CGROUP_PIDS] = { "pids.max", "seccomp and the limit of processes bound it" },
	[CGROUP_IO] = { "io.max", "the VMM's own rates bound its guest" },
};

static void name_of(int agents_fd, char id[static 40])
{
	struct stat st = { 0 };

	(void)fstat(agents_fd, &st);
	(void)snprintf(
		id, 40, "%llx-%llx", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
}

static void open_base(struct quotas *q)
{
	const struct cgroup_place here = { 0 };
	struct stat st = { 0 };
	char id[40];

	(void)fstat(q->agents_fd, &st);
	name_of(q->agents_fd, id);
	cgroup_base_open(&q->base, &here, id, st.st_dev);
}

void quotas_open(struct quotas *q, int agents_fd)
{
	*q = (struct quotas){ .agents_fd = agents_fd, .look = LOOP_TIMER_INIT };
	open_base(q);
	for (int c = 0; c < CGROUP_CONTROLLERS; c++) {
		if (!q->base.has[c])
			log_info("quotas: no %s: %s: %s", told[c].by, q->base.why[c],
				told[c].without);
	}
}

void quotas_open_again(struct quotas *q)
{
	cgroup_base_close(&q->base);
	open_base(q);
}

void quotas_close(struct quotas *q)
{
	loop_timer_done(&q->look);
	cgroup_base_close(&q->base);
}

static bool unenforced_is_fine(const struct sup *s)
{
	return s->quotas.base.has[CGROUP_CPU] || s->sandbox.unenforced == SANDBOX_ALLOW;
}

/* what: "m.ini:9: cpu = 50%" */
static int refuse(const struct sup *s, const char *what, struct kerr *e)
{
	return kerr_set(e, ENOTSUP,
		"%s: this host cannot hold an agent to it: %s; `unenforced-quotas = allow` in "
		"[limits] of %s would run it without",
		what, s->quotas.base.why[CGROUP_CPU], s->sandbox.file);
}

int quotas_check(const struct agent *a, const char *file, struct kerr *e)
{
	const struct sup *s = a->sup;
	const struct manifest *m = &a->manifest;
	const struct sandbox *box = &s->sandbox;
	char share[24];
	char what[320];

	if (unenforced_is_fine(s))
		return 0;
	if (box->line[SANDBOX_CPU]) {
		units_format_share(box->limit[SANDBOX_CPU], share, sizeof(share));
		(void)snprintf(what, sizeof(what), "%s:%u: cpu = %s", box->file,
			box->line[SANDBOX_CPU], share);
		return refuse(s, what, e);
	}
	if (m->cpu) {
		units_format_share(m->cpu, share, sizeof(share));
		(void)snprintf(what, sizeof(what), "%.256s:%u: cpu = %s", file, m->cpu_line, share);
		return refuse(s, what, e);
	}
	if (m->cpu_weight) {
		(void)snprintf(what, sizeof(what), "%.256s:%u: cpu-weight = %llu", file,
			m->cpu_weight_line, (unsigned long long)m->cpu_weight);
		return refuse(s, what, e);
	}
	return quotas_check_change(a, &a->changed, e);
}

int quotas_check_change(const struct agent *a, const struct limits_changed *c, struct kerr *e)
{
	const struct sup *s = a->sup;
	char what[100];

	if (unenforced_is_fine(s) || (!c->value[LIMIT_CPU] && !c->value[LIMIT_CPU_WEIGHT]))
		return 0;
	(void)snprintf(what, sizeof(what), "agent %s: %s", a->row.name,
		c->value[LIMIT_CPU] ? "cpu" : "cpu-weight");
	return refuse(s, what, e);
}

/*
 * Beside the guest's memory: the VMM's own, its threads' and vCPUs' kernel memory;
 * page tables of the guest's memory, the VMM's and KVM's second ones, 8 bytes each
 * for 4096, and as much that KVM keeps for it; 16 MiB that wait under a vsock
 * limit. Generous, for a limit that is never met by an honest VMM (docs/BENCH.md
 * has what one takes). The rest is page cache, which goes when asked.
 */
uint64_t quotas_overhead(const struct manifest *m)
{
	return (48ULL << 20) + m->vcpus * (1ULL << 20) + m->memory / 64;
}

uint64_t quotas_address_space(const struct manifest *m)
{
	/* vCPUs, two disks, the loop, and as many again. */
	return m->memory + (64ULL << 20) + (m->vcpus + 8ULL) * (16ULL << 20);
}

json_t *quotas_describe(const struct quotas *q)
{
	json_t *list = json_array();

	for (int c = 0; c < CGROUP_CONTROLLERS && list; c++) {
		char why[400] = "";

		if (!q->base.has[c])
			(void)snprintf(why, sizeof(why), "%s: %s", q->base.why[c], told[c].without);
		(void)json_array_append_new(list,
			json_pack("{s:s, s:b, s:s, s:s}", "name",
				cgroup_controller_name((enum cgroup_controller)c), "active",
				q->base.has[c], "by", told[c].by, "why", why));
	}
	return list;
}
