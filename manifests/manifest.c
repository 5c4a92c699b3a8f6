#include <manifests/manifest.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>

#include "ini_doc.h"
#include "keys.h"
#include "nearest.h"
#include "text.h"

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
	const char *file;
	struct manifest m;
	unsigned section_line[SECTION_COUNT]; /* 0: not seen */
	unsigned key_line[KEY_COUNT];
	struct pairs env, labels;
};

/* A value in a message: the first bytes of it, cut between two characters. */
#define SHOWN_MAX 64u
struct shown {
	char text[SHOWN_MAX + sizeof("…")];
};

static struct shown show(const char *v)
{
	struct shown s = { 0 };
	size_t len = strlen(v);
	size_t n = len;

	if (len > SHOWN_MAX)
		n = text_span(v, SHOWN_MAX);
	memcpy(s.text, v, n);
	if (n < len)
		memcpy(s.text + n, "…", sizeof("…"));
	return s;
}

static int wrap_value(
	struct parse *p, unsigned line, const char *key, const char *v, struct kerr *e)
{
	return kerr_wrap(e, "%s:%u: %s = %s", p->file, line, show(key).text, show(v).text);
}

static int on_section(void *user, unsigned line, const char *name, struct kerr *e)
{
	struct parse *p = user;
	const char *close = NULL;
	unsigned best = UINT_MAX;

	for (size_t i = 0; i < SECTION_COUNT; i++) {
		unsigned d = nearest_distance(name, sections[i]);

		if (d == 0 && p->section_line[i] != 0)
			return kerr_set(e, EINVAL,
				"%s:%u: [%s] is given already at line %u: expected it once",
				p->file, line, name, p->section_line[i]);
		if (d == 0) {
			p->section_line[i] = line;
			return 0;
		}
		if (d < best && nearest_plausible(name, sections[i], d)) {
			best = d;
			close = sections[i];
		}
	}
	if (close)
		return kerr_set(e, EINVAL, "%s:%u: unknown section [%s]: did you mean [%s]?",
			p->file, line, name, close);
	return kerr_set(e, EINVAL,
		"%s:%u: unknown section [%s]: expected [agent], [image], [resources], [run], "
		"[lifecycle], [env] or [labels]",
		p->file, line, name);
}

static int unknown_key(
	struct parse *p, unsigned line, const char *section, const char *key, struct kerr *e)
{
	const struct manifest_key *close = NULL;
	unsigned best = UINT_MAX;

	for (size_t i = 0; i < KEY_COUNT; i++) {
		/* A key of the section at hand wins a tie. */
		unsigned d = nearest_distance(key, manifest_keys[i].name);
		bool here = strcmp(section, manifest_keys[i].section) == 0;

		if (nearest_plausible(key, manifest_keys[i].name, d) && 2 * d + !here < best) {
			best = 2 * d + !here;
			close = &manifest_keys[i];
		}
	}
	if (!close)
		return kerr_set(e, EINVAL, "%s:%u: %s: unknown key in [%s]", p->file, line,
			show(key).text, section);
	if (best == 1)
		return kerr_set(e, EINVAL, "%s:%u: %s: expected in section [%s], not in [%s]",
			p->file, line, close->name, close->section, section);
	return kerr_set(e, EINVAL, "%s:%u: %s: unknown key in [%s]: did you mean %s%s%s%s?",
		p->file, line, show(key).text, section, close->name,
		strcmp(section, close->section) == 0 ? "" : " in [",
		strcmp(section, close->section) == 0 ? "" : close->section,
		strcmp(section, close->section) == 0 ? "" : "]");
}

static int add_pair(struct parse *p, const struct pairs_rule *rule, struct pairs *pairs,
	char **list, unsigned line, const char *name, const char *v, struct kerr *e)
{
	size_t name_len = strlen(name);
	size_t size = name_len + strlen(v) + 2;
	char *var;

	if (!rule->name_ok(name)) {
		(void)kerr_set(e, EINVAL, "expected a name of %s", rule->form);
		return wrap_value(p, line, name, v, e);
	}
	for (size_t i = 0; i < pairs->count; i++) {
		if (strncmp(list[i], name, name_len) == 0 && list[i][name_len] == '=') {
			(void)kerr_set(e, EINVAL, "given already at line %u: expected it once",
				pairs->line[i]);
			return wrap_value(p, line, name, v, e);
		}
	}
	if (pairs->count == rule->max) {
		(void)kerr_set(e, E2BIG, "expected at most %zu %s", rule->max, rule->what);
		return wrap_value(p, line, name, v, e);
	}
	var = malloc(size);
	if (!var)
		return kerr_set(e, ENOMEM, "%s: out of memory", p->file);
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
	for (size_t i = 0; i < KEY_COUNT; i++) {
		const struct manifest_key *k = &manifest_keys[i];

		if (strcmp(k->section, section) != 0 || strcmp(k->name, name) != 0)
			continue;
		if (p->key_line[i] != 0) {
			(void)kerr_set(e, EINVAL, "given already at line %u: expected it once",
				p->key_line[i]);
			return wrap_value(p, line, name, v, e);
		}
		p->key_line[i] = line;
		return k->parse(k, v, &p->m, e) < 0 ? wrap_value(p, line, name, v, e) : 0;
	}
	return unknown_key(p, line, section, name, e);
}

/* What the keys that are not there stand for. */
static int fill_in(struct parse *p, struct kerr *e)
{
	for (size_t i = 0; i < KEY_COUNT; i++) {
		const struct manifest_key *k = &manifest_keys[i];

		if (p->key_line[i] != 0)
			continue;
		if (k->required)
			return kerr_set(e, EINVAL, "%s: %s is missing in section [%s]: expected %s",
				p->file, k->name, k->section, k->expected);
		if (k->standard && k->parse(k, k->standard, &p->m, e) < 0)
			return kerr_wrap(e, "default of %s", k->name);
	}
	if (p->key_line[KEY_WORKDIR] == 0)
		(void)snprintf(
			p->m.workdir, sizeof(p->m.workdir), "%s", p->m.state ? "/state" : "/");
	return 0;
}

/* Rules that need more than one key. */
static int cross_check(struct parse *p, struct kerr *e)
{
	const char *dir = p->m.workdir;

	if (p->m.state == 0 && (strcmp(dir, "/state") == 0 || strncmp(dir, "/state/", 7) == 0)) {
		(void)kerr_set(e, EINVAL,
			"expected a path outside /state, or a state disk: state = 16M in [resources]");
		return wrap_value(p, p->key_line[KEY_WORKDIR], "workdir", dir, e);
	}
	if (p->m.heartbeat_ns && p->m.heartbeat_timeout_ns <= p->m.heartbeat_ns) {
		unsigned line = p->key_line[KEY_HEARTBEAT_TIMEOUT];

		return kerr_set(e, EINVAL,
			"%s:%u: heartbeat-timeout: expected more than heartbeat, the time between two "
			"of them",
			p->file, line ? line : p->key_line[KEY_HEARTBEAT]);
	}
	if (p->m.restart_backoff_max_ns < p->m.restart_backoff_ns) {
		unsigned line = p->key_line[KEY_RESTART_BACKOFF_MAX];

		return kerr_set(e, EINVAL,
			"%s:%u: restart-backoff-max: expected restart-backoff or more", p->file,
			line ? line : p->key_line[KEY_RESTART_BACKOFF]);
	}
	return 0;
}

int manifest_parse(
	const char *file, const char *data, size_t len, struct manifest *ret, struct kerr *e)
{
	static const struct ini_doc_events events = { .section = on_section, .pair = on_pair };
	struct parse p = { .file = file };
	int r;

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
