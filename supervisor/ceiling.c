#include "ceiling.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/io.h>

#include "agent.h"

int ceiling_load(struct sandbox *ret, const char *file, struct kerr *e)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	bool named;
	size_t len = 0;
	int r;

	if (!file)
		file = getenv("KOSVM_SANDBOX");
	named = file && *file;
	if (!named)
		file = SANDBOX_FILE;
	sandbox_init(ret, file);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && !named)
		return 0;
	if (fd < 0)
		return kerr_errno(e, errno, "%s: open", file);
	r = io_read_all(fd, SANDBOX_MAX_BYTES, file, &text, &len, e);
	return r < 0 ? r : sandbox_parse(file, text, len, ret, e);
}

struct sums {
	uint64_t agents, state;           /* of all but one */
	uint64_t live_vcpus, live_memory; /* of those that run */
};

/* Numbers that manifests bound: a million agents of 64 GiB or 16 TiB do not overflow. */
static struct sums sum_others(const struct agent *not_this)
{
	struct sums s = { 0 };
	const struct agent *a;

	LIST_FOREACH(a, &not_this->sup->agents, link)
	{
		if (a == not_this || a->unreadable)
			continue;
		s.agents++;
		s.state += a->manifest.state;
		if (!agent_state_live(a->state))
			continue;
		s.live_vcpus += a->manifest.vcpus;
		s.live_memory += a->manifest.memory;
	}
	return s;
}

int ceiling_check_create(const struct agent *a, const char *file, struct kerr *e)
{
	const struct sandbox *box = &a->sup->sandbox;
	struct sums s = sum_others(a);
	int r = sandbox_check_manifest(box, &a->manifest, file, e);

	if (r == 0)
		r = quotas_check(a, file, e);
	if (r == 0)
		r = sandbox_check_total(box, SANDBOX_AGENTS, s.agents, 1, "agents", "this host", e);
	if (r == 0)
		r = sandbox_check_total(box, SANDBOX_STATE_TOTAL, s.state, a->manifest.state,
			"state", "the agents there are", e);
	return r;
}

int ceiling_check_start(const struct agent *a, struct kerr *e)
{
	const struct sandbox *box = &a->sup->sandbox;
	struct sums s = sum_others(a);
	int r = sandbox_check_manifest(box, &a->manifest, a->row.name, e);

	if (r == 0)
		r = limits_check(a, &a->changed, e);
	if (r == 0)
		r = quotas_check(a, a->row.name, e);
	if (r == 0)
		r = sandbox_check_total(box, SANDBOX_VCPUS_TOTAL, s.live_vcpus, a->manifest.vcpus,
			"vcpus", "the agents that run", e);
	if (r == 0)
		r = sandbox_check_total(box, SANDBOX_MEMORY_TOTAL, s.live_memory,
			a->manifest.memory, "memory", "the agents that run", e);
	return r;
}
