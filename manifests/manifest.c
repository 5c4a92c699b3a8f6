#include <manifests/manifest.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>

#include "ini_doc.h"
#include "ini_keys.h"
#include "keys.h"

enum {
	SECTION_AGENT,
	SECTION_IMAGE,
	SECTION_RESOURCES,
	SECTION_RUN,
	SECTION_LIFECYCLE,
	SECTION_ENV,
	SECTION_LABELS,
	SECTION_COUNT
};

static const char *const sections[SECTION_COUNT] = {
	[SECTION_AGENT] = "agent",
	[SECTION_IMAGE] = "image",
	[SECTION_RESOURCES] = "resources",
	[SECTION_RUN] = "run",
	[SECTION_LIFECYCLE] = "lifecycle",
	[SECTION_ENV] = "env",
	[SECTION_LABELS] = "labels",
};

/* A section whose keys are the author's own. */
struct pairs {
	unsigned line[MANIFEST_PAIRS_MAX];
	size_t count;
};

static const struct pairs_rule {
	bool (*name_ok)(const char *name);
	size_t max;
	const char *form, *what;
} env_rule = { manifest_env_name_ok, MANIFEST_ENV_MAX, "letters, digits and _", "variables" },
  label_rule = { manifest_label_ok, MANIFEST_LABELS_MAX,
	  "1 to 63 lower-case letters, digits and - . _ /, a letter or digit at both ends",
	  "labels" };

struct parse {
	struct ini_keys keys;
	struct manifest m;
	unsigned section_line[SECTION_COUNT]; /* 0: not seen */
	unsigned key_line[KEY_COUNT];
	struct pairs env, labels;
};

static int on_section(void *user, unsigned line, const char *name, struct kerr *e)
{
	struct parse *p = user;

	return ini_keys_section(&p->keys, line, name, e);
}

static int add_pair(struct parse *p, const struct pairs_rule *rule, struct pairs *pairs,
	char **list, unsigned line, const char *name, const char *v, struct kerr *e)
{
	size_t name_len = strlen(name);
	size_t size = name_len + strlen(v) + 2;
	char *var;

	if (!rule->name_ok(name)) {
		(void)kerr_set(e, EINVAL, "expected a name of %s", rule->form);
		return ini_keys_wrap(&p->keys, line, name, v, e);
	}
	for (size_t i = 0; i < pairs->count; i++) {
		if (strncmp(list[i], name, name_len) == 0 && list[i][name_len] == '=') {
			(void)kerr_set(e, EINVAL, "given already at line %u: expected it once",
				pairs->line[i]);
			return ini_keys_wrap(&p->keys, line, name, v, e);
		}
	}
	if (pairs->count == rule->max) {
		(void)kerr_set(e, E2BIG, "expected at most %zu %s", rule->max, rule->what);
		return ini_keys_wrap(&p->keys, line, name, v, e);
	}
	var = malloc(size);
	if (!var)
		return kerr_set(e, ENOMEM, "%s: out of memory", p->keys.file);
	(void)snprintf(var, size, "%s=%s", name, v);
	pairs->line[pairs->count] = line;
	list[pairs->count++] = var;
	return 0;
}

static int on_pair(void *user, unsigned line, const char *section, const char *name, const char *v,
	struct kerr *e)
{
	struct parse *p = user;

	if (strcmp(section, sections[SECTION_ENV]) == 0)
		return add_pair(p, &env_rule, &p->env, p->m.env, line, name, v, e);
	if (strcmp(section, sections[SECTION_LABELS]) == 0)
		return add_pair(p, &label_rule, &p->labels, p->m.labels, line, name, v, e);
	return ini_keys_pair(&p->keys, line, section, name, v, e);
}

/* What the keys that are not there stand for. */
static int fill_in(struct parse *p, struct kerr *e)
{
	int r = ini_keys_fill_in(&p->keys, e);

	if (r == 0 && p->key_line[KEY_WORKDIR] == 0)
		(void)snprintf(
			p->m.workdir, sizeof(p->m.workdir), "%s", p->m.state ? "/state" : "/");
	return r;
}

/* Rules that need more than one key. */
static int cross_check(struct parse *p, struct kerr *e)
{
	const char *dir = p->m.workdir;

	if (p->m.state == 0 && (strcmp(dir, "/state") == 0 || strncmp(dir, "/state/", 7) == 0)) {
		(void)kerr_set(e, EINVAL,
			"expected a path outside /state, or a state disk: state = 16M in [resources]");
		return ini_keys_wrap(&p->keys, p->key_line[KEY_WORKDIR], "workdir", dir, e);
	}
	if (p->m.heartbeat_ns && p->m.heartbeat_timeout_ns <= p->m.heartbeat_ns) {
		unsigned line = p->key_line[KEY_HEARTBEAT_TIMEOUT];

		return kerr_set(e, EINVAL,
			"%s:%u: heartbeat-timeout: expected more than heartbeat, the time between two "
			"of them",
			p->keys.file, line ? line : p->key_line[KEY_HEARTBEAT]);
	}
	if (p->m.restart_backoff_max_ns < p->m.restart_backoff_ns) {
		unsigned line = p->key_line[KEY_RESTART_BACKOFF_MAX];

		return kerr_set(e, EINVAL,
			"%s:%u: restart-backoff-max: expected restart-backoff or more",
			p->keys.file, line ? line : p->key_line[KEY_RESTART_BACKOFF]);
	}
	return 0;
}

int manifest_parse(
	const char *file, const char *data, size_t len, struct manifest *ret, struct kerr *e)
{
	static const struct ini_doc_events events = { .section = on_section, .pair = on_pair };
	struct parse p = { 0 };
	int r;

	p.keys = (struct ini_keys){ .file = file,
		.keys = manifest_keys,
		.count = KEY_COUNT,
		.sections = sections,
		.section_count = SECTION_COUNT,
		.key_line = p.key_line,
		.section_line = p.section_line,
		.out = &p.m };
	if (len > MANIFEST_MAX_BYTES)
		return kerr_set(e, EFBIG, "%s: %zu bytes: expected at most %u", file, len,
			MANIFEST_MAX_BYTES);
	p.m.env = calloc(MANIFEST_ENV_MAX + 1, sizeof(*p.m.env));
	p.m.labels = calloc(MANIFEST_LABELS_MAX + 1, sizeof(*p.m.labels));
	if (!p.m.env || !p.m.labels) {
		manifest_done(&p.m);
		return kerr_set(e, ENOMEM, "%s: out of memory", file);
	}
	r = ini_doc_parse(file, data, len, MANIFEST_LINE_MAX, &events, &p, e);
	if (r == 0)
		r = fill_in(&p, e);
	if (r == 0)
		r = cross_check(&p, e);
	if (r < 0) {
		manifest_done(&p.m);
		return r;
	}
	p.m.vcpus_line = p.key_line[KEY_VCPUS];
	p.m.memory_line = p.key_line[KEY_MEMORY];
	p.m.state_line = p.key_line[KEY_STATE];
	p.m.cpu_line = p.key_line[KEY_CPU];
	p.m.cpu_weight_line = p.key_line[KEY_CPU_WEIGHT];
	p.m.disk_bandwidth_line = p.key_line[KEY_DISK_BANDWIDTH];
	p.m.disk_ops_line = p.key_line[KEY_DISK_OPS];
	p.m.disk_burst_line = p.key_line[KEY_DISK_BURST];
	p.m.vsock_burst_line = p.key_line[KEY_VSOCK_BURST];
	p.m.console_line = p.key_line[KEY_CONSOLE];
	p.m.log_line = p.key_line[KEY_LOG];
	p.m.vsock_bandwidth_line = p.key_line[KEY_VSOCK_BANDWIDTH];
	*ret = p.m;
	return 0;
}

void manifest_done(struct manifest *m)
{
	if (!m)
		return;
	manifest_free_words(m->argv);
	manifest_free_words(m->env);
	manifest_free_words(m->labels);
	m->argv = NULL;
	m->env = NULL;
	m->labels = NULL;
}
