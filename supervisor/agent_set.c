/* The set of agents: making, finding, loading and letting go of them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>

#include "agent.h"
#include "ceiling.h"
#include "identity.h"
#include "sweep.h"

void agent_free(struct agent *a)
{
	agent_release(a);
	loop_timer_done(&a->restart);
	loop_timer_done(&a->removal);
	agent_tell_removed(a, NULL);
	if (a->link.le_prev)
		LIST_REMOVE(a, link);
	close_fd(&a->dirfd);
	manifest_done(&a->manifest);
	launch_done(&a->launch);
	db_agent_done(&a->row);
	free(a);
}

void agent_dir_name(const struct agent *a, char out[static 24])
{
	(void)snprintf(out, 24, "%lld", (long long)a->row.id);
}

static struct agent *find_name(struct sup *s, const char *name)
{
	struct agent *a;

	LIST_FOREACH(a, &s->agents, link)
	{
		if (strcmp(a->row.name, name) == 0)
			return a;
	}
	return NULL;
}

struct agent *agent_find(struct sup *s, const char *ref, struct kerr *e)
{
	size_t len = strlen(ref);
	struct agent *found = find_name(s, ref);
	struct agent *a;

	if (found)
		return found;
	if (len > 0 && len <= DB_UID_LEN && strspn(ref, "0123456789abcdef") == len) {
		LIST_FOREACH(a, &s->agents, link)
		{
			if (strncmp(a->row.uid, ref, len) != 0)
				continue;
			if (found) {
				(void)kerr_set(e, EINVAL,
					"the ids of %s and %s, at least, begin with %s: give more "
					"of it",
					found->row.name, a->row.name, ref);
				return NULL;
			}
			found = a;
		}
	}
	if (!found)
		(void)kerr_set(e, ENOENT, "no agent is named %.64s: see `kosvm ps -a`", ref);
	return found;
}

/* fresh: a directory that is there belongs to another agent, perhaps with its state disk. */
static int open_dir(struct agent *a, bool fresh, struct kerr *e)
{
	char dir[24];

	agent_dir_name(a, dir);
	if (mkdirat(a->sup->agents_fd, dir, 0700) < 0) {
		if (errno == EEXIST && fresh)
			return kerr_set(e, EEXIST,
				"%s/agents/%s is there, but the database knows no such agent: "
				"move it away",
				a->sup->paths.state_dir, dir);
		if (errno != EEXIST)
			return kerr_errno(e, errno, "agents/%s: mkdir", dir);
	}
	a->dirfd = openat(a->sup->agents_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (a->dirfd < 0)
		return kerr_errno(e, errno, "agents/%s: open", dir);
	return 0;
}

static struct agent *agent_new(struct sup *s)
{
	struct agent *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->sup = s;
	a->dirfd = -1;
	a->deadline = (struct loop_timer)LOOP_TIMER_INIT;
	a->restart = (struct loop_timer)LOOP_TIMER_INIT;
	a->removal = (struct loop_timer)LOOP_TIMER_INIT;
	a->health.beat = (struct loop_timer)LOOP_TIMER_INIT;
	a->health.life = (struct loop_timer)LOOP_TIMER_INIT;
	a->idle.sample = (struct loop_timer)LOOP_TIMER_INIT;
	a->cgroup.fd = -1;
	LIST_INIT(&a->connects);
	LIST_INIT(&a->stats);
	LIST_INIT(&a->watchers);
	return a;
}

/* ---- making one ---- */

static int check_name(struct sup *s, const char *name, struct kerr *e)
{
	struct agent *other;

	if (!manifest_name_ok(name))
		return kerr_set(e, EINVAL,
			"name: expected 1 to %u lower-case letters, digits and -, no - at either "
			"end",
			MANIFEST_NAME_MAX);
	other = find_name(s, name);
	if (!other)
		return 0;
	/* One that has ended and only lingers makes room. */
	if (other->removal.w.fd >= 0)
		return agent_remove(other, e);
	return kerr_set(e, EEXIST,
		"an agent named %s exists already (%s): `kosvm rm %s` removes it, "
		"`kosvm start %s` starts it again",
		name, agent_state_name(other->state), name, name);
}

/* Bytes that may hold a NUL. */
static char *copy(const char *data, size_t len)
{
	char *p = malloc(len + 1);

	if (p) {
		memcpy(p, data, len);
		p[len] = '\0';
	}
	return p;
}

static int fill_row(struct agent *a, const char *name, const char *signer,
	const struct agent_launch *launch, struct kerr *e)
{
	int r = launch_format(launch, &a->row.launch, e);

	if (r == 0)
		r = launch_parse(a->row.launch, &a->launch, e);
	if (r < 0)
		return r;
	a->state = AGENT_CREATED;
	a->row.exit_code = -1;
	a->row.created_ns = clock_real_ns();
	a->row.provisional = launch->provisional;
	a->row.name = strdup(name);
	a->row.signer = strdup(signer);
	if (!a->row.name || !a->row.signer || !a->row.manifest || !a->row.signature)
		return kerr_errno(e, ENOMEM, "agent");
	return 0;
}

int agent_create(struct sup *s, const char *file, const char *manifest, size_t manifest_len,
	const char *sig_file, const char *sig, size_t sig_len, const struct agent_launch *launch,
	struct agent **ret, struct kerr *e)
{
	static const struct agent_launch none;
	struct keyring keys = { 0 };
	struct agent *a = agent_new(s);
	char signer[17];
	const char *name;
	int r;

	if (!a)
		return kerr_errno(e, ENOMEM, "agent");
	if (!launch)
		launch = &none;
	r = keyring_load(s->keys_fd, &keys, e);
	if (r == 0)
		r = keyring_open_manifest(&keys, file, manifest, manifest_len, sig_file, sig,
			sig_len, &a->manifest, signer, e);
	keyring_done(&keys);
	if (r < 0)
		goto fail;
	name = launch->name ? launch->name : a->manifest.name;
	r = check_name(s, name, e);
	if (r == 0)
		r = ceiling_check_create(a, file, e);
	if (r < 0)
		goto fail;
	a->row.manifest = copy(manifest, manifest_len);
	a->row.manifest_len = manifest_len;
	a->row.signature = copy(sig, sig_len);
	a->row.signature_len = sig_len;
	r = fill_row(a, name, signer, launch, e);
	if (r == 0 && s->isolation.on[SANDBOX_IDENTITY])
		r = identity_give(a, e);
	/* The row first: a directory without one would be nobody's. */
	if (r == 0)
		r = db_agent_add(s->db, &a->row, e);
	if (r < 0)
		goto fail;
	r = open_dir(a, true, e);
	if (r < 0) {
		(void)db_agent_remove(s->db, a->row.id, NULL);
		goto fail;
	}
	a->remove_when_ended = launch->provisional;
	LIST_INSERT_HEAD(&s->agents, a, link);
	agent_publish(a, "agent.created", json_object());
	*ret = a;
	return 0;
fail:
	agent_free(a);
	return r;
}

/* ---- the start of kosvmd ---- */

static int on_last_transition(void *user, const struct db_transition *t, struct kerr *e)
{
	struct agent *a = user;

	(void)e;
	if (agent_event_parse(t->event, &a->last_event) < 0)
		a->last_event = AGENT_EV_BROKEN;
	return 0;
}

static int read_in(struct agent *a, struct kerr *e)
{
	const struct db_agent *row = &a->row;
	int r = agent_state_parse(row->state, &a->state);

	if (r < 0)
		return kerr_set(
			e, EINVAL, "database: agent %s: unknown state %s", row->name, row->state);
	r = manifest_parse(row->name, row->manifest, row->manifest_len, &a->manifest, e);
	if (r == 0)
		r = launch_parse(row->launch, &a->launch, e);
	if (r == 0)
		r = limits_parse(row->overrides, &a->changed, e);
	if (r == 0)
		r = open_dir(a, false, e);
	return r;
}

/* One that cannot be read is shown as failed, can be removed, and keeps nobody else. */
static int load_one(void *user, struct db_agent *row, struct kerr *e)
{
	struct sup *s = user;
	struct agent *a = agent_new(s);
	struct kerr err = { 0 };

	if (!a) {
		db_agent_done(row);
		return kerr_errno(e, ENOMEM, "agent");
	}
	a->row = *row;
	(void)snprintf(a->reason, sizeof(a->reason), "%s", row->reason);
	if (read_in(a, &err) < 0) {
		log_error("agent %s: %s", row->name, err.msg);
		a->unreadable = true;
		(void)snprintf(a->reason, sizeof(a->reason), "%s", err.msg);
	}
	LIST_INSERT_HEAD(&s->agents, a, link);
	return 0;
}

/* May free a. */
static void settle(struct agent *a)
{
	struct kerr err = { 0 };

	if (a->unreadable) {
		agent_recover_unreadable(a);
		return;
	}
	if (agent_state_live(a->state)) {
		agent_recover(a);
		return;
	}
	sweep_agent(a);
	if (a->state == AGENT_PURGING || (a->row.provisional && a->state != AGENT_ASLEEP) ||
		(a->launch.remove && a->state != AGENT_CREATED && a->state != AGENT_ASLEEP &&
			!a->row.restart_at_ns)) {
		if (agent_remove(a, &err) < 0)
			log_error("agent %s: %s", a->row.name, err.msg);
		return;
	}
	agent_policy_arm(a);
}

int agents_load(struct sup *s, struct kerr *e)
{
	struct agent *next;
	struct agent *a;
	int r = db_agents_each(s->db, load_one, s, e);

	LIST_FOREACH(a, &s->agents, link)
	{
		if (r == 0)
			r = db_transitions_each(s->db, a->row.id, 0, 1, on_last_transition, a, e);
	}
	if (r == 0)
		r = sweep_directories(s, e);
	if (r < 0)
		return r;
	for (a = LIST_FIRST(&s->agents); a; a = next) {
		next = LIST_NEXT(a, link);
		settle(a);
	}
	agent_cgroups_start(s);
	return 0;
}

/* ---- its end ---- */

void agents_done(struct sup *s)
{
	struct agent *a;

	while ((a = LIST_FIRST(&s->agents)))
		agent_free(a);
}

void agents_detach(struct sup *s)
{
	struct agent *a;

	LIST_FOREACH(a, &s->agents, link)
	{
		/* What was not read was not acknowledged: the guest sends it to the next one. */
		vmm_proc_detach(a->vmm);
		a->vmm = NULL;
	}
	agents_done(s);
}
