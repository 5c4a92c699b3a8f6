/* The set of agents: making, finding and loading them. */
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

void agent_free(struct agent *a)
{
	agent_release(a);
	agent_tell_removed(a, NULL);
	if (a->link.le_prev)
		LIST_REMOVE(a, link);
	close_fd(&a->dirfd);
	manifest_done(&a->manifest);
	db_agent_done(&a->row);
	free(a);
}

void agent_dir_name(const struct agent *a, char out[static 24])
{
	(void)snprintf(out, 24, "%lld", (long long)a->row.id);
}

struct agent *agent_find(struct sup *s, const char *name, struct kerr *e)
{
	struct agent *a;

	LIST_FOREACH(a, &s->agents, link)
	{
		if (strcmp(a->row.name, name) == 0)
			return a;
	}
	(void)kerr_set(e, ENOENT, "no agent is named %s: see `kosvm ps -a`", name);
	return NULL;
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
	a->deadline.w.fd = -1;
	LIST_INIT(&a->connects);
	LIST_INIT(&a->watchers);
	return a;
}

int agent_create(struct sup *s, const char *file, const char *manifest, size_t manifest_len,
	const char *sig_file, const char *sig, size_t sig_len, const struct agent_launch *launch,
	struct agent **ret, struct kerr *e)
{
	const char *name = launch ? launch->name : NULL;
	struct keyring keys = { 0 };
	struct agent *a = agent_new(s);
	struct agent *other;
	char signer[17];
	int r;

	if (!a)
		return kerr_errno(e, ENOMEM, "agent");
	r = keyring_load(s->keys_fd, &keys, e);
	if (r == 0)
		r = keyring_open_manifest(&keys, file, manifest, manifest_len, sig_file, sig,
			sig_len, &a->manifest, signer, e);
	keyring_done(&keys);
	if (r < 0)
		goto fail;
	if (!name)
		name = a->manifest.name;
	if (!manifest_name_ok(name)) {
		r = kerr_set(e, EINVAL,
			"name: expected 1 to %u lower-case letters, digits and -, no - at either end",
			MANIFEST_NAME_MAX);
		goto fail;
	}
	other = agent_find(s, name, NULL);
	if (other) {
		r = kerr_set(e, EEXIST,
			"an agent named %s exists already (%s): `kosvm rm %s` removes it, "
			"`kosvm start %s` starts it again",
			name, agent_state_name(other->state), name, name);
		goto fail;
	}
	a->state = AGENT_CREATED;
	a->row.exit_code = -1;
	a->row.created_ns = clock_real_ns();
	a->row.name = strdup(name);
	a->row.signer = strdup(signer);
	a->row.manifest = malloc(manifest_len + 1);
	a->row.signature = malloc(sig_len + 1);
	if (!a->row.name || !a->row.signer || !a->row.manifest || !a->row.signature) {
		r = kerr_errno(e, ENOMEM, "agent");
		goto fail;
	}
	memcpy(a->row.manifest, manifest, manifest_len);
	a->row.manifest_len = manifest_len;
	memcpy(a->row.signature, sig, sig_len);
	a->row.signature_len = sig_len;
	r = db_agent_add(s->db, &a->row, e);
	if (r < 0)
		goto fail;
	r = open_dir(a, true, e);
	if (r < 0) {
		(void)db_agent_remove(s->db, a->row.id, NULL);
		goto fail;
	}
	LIST_INSERT_HEAD(&s->agents, a, link);
	*ret = a;
	return 0;
fail:
	agent_free(a);
	return r;
}

static int load_one(void *user, struct db_agent *row, struct kerr *e)
{
	struct sup *s = user;
	struct agent *a = agent_new(s);
	int r;

	if (!a) {
		db_agent_done(row);
		return kerr_errno(e, ENOMEM, "agent");
	}
	a->row = *row;
	(void)snprintf(a->reason, sizeof(a->reason), "%s", row->reason);
	r = agent_state_parse(row->state, &a->state);
	if (r < 0)
		r = kerr_set(e, -r, "database: agent %s: unknown state %s", row->name, row->state);
	if (r == 0)
		r = manifest_parse(row->name, row->manifest, row->manifest_len, &a->manifest, e);
	if (r == 0)
		r = open_dir(a, false, e);
	if (r < 0) {
		agent_free(a);
		return r;
	}
	LIST_INSERT_HEAD(&s->agents, a, link);
	return 0;
}

int agents_load(struct sup *s, struct kerr *e)
{
	struct agent *next;
	int r = db_agents_each(s->db, load_one, s, e);

	if (r < 0)
		return r;
	for (struct agent *a = LIST_FIRST(&s->agents); a; a = next) {
		next = LIST_NEXT(a, link);
		if (a->state == AGENT_STARTING || a->state == AGENT_RUNNING ||
			a->state == AGENT_STOPPING) {
			/* A VM ends with the kosvmd that started it (its socket closes). */
			r = agent_move(a, AGENT_EV_BROKEN, "kosvmd ended while it ran", e);
		} else if (a->state == AGENT_PURGING) {
			r = agent_remove(a, e);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

void agents_done(struct sup *s)
{
	struct agent *a;

	while ((a = LIST_FIRST(&s->agents)))
		agent_free(a);
}

static int set(json_t *o, const char *key, json_t *value)
{
	return json_object_set_new(o, key, value);
}

json_t *agent_describe(const struct agent *a)
{
	char digest[DIGEST_TEXT_LEN + 1];
	json_t *o = json_object();

	if (!o)
		return NULL;
	(void)set(o, "id", json_integer(a->row.id));
	(void)set(o, "name", json_string(a->row.name));
	(void)set(o, "state", json_string(agent_state_name(a->state)));
	(void)set(o, "reason", api_text(a->reason));
	(void)set(o, "cid", json_integer(a->row.cid));
	(void)set(o, "exit_code",
		a->row.exit_code < 0 ? json_null() : json_integer(a->row.exit_code));
	(void)set(o, "created_ns", json_integer((json_int_t)a->row.created_ns));
	(void)set(o, "started_ns", json_integer((json_int_t)a->row.started_ns));
	(void)set(o, "ended_ns", json_integer((json_int_t)a->row.ended_ns));
	(void)set(o, "vcpus", json_integer(a->manifest.vcpus));
	(void)set(o, "memory", json_integer((json_int_t)a->manifest.memory));
	(void)set(o, "version", json_integer(a->manifest.version));
	(void)set(o, "signer", json_string(a->row.signer));
	(void)set(o, "pid", a->vmm ? json_integer(vmm_proc_pid(a->vmm)) : json_null());
	digest_format(&a->manifest.rootfs, digest);
	(void)set(o, "rootfs", json_string(digest));
	return o;
}
