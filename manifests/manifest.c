#include <manifests/manifest.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "ini_doc.h"
#include "nearest.h"
#include "text.h"
#include "value.h"

#define KIB         (1ULL << 10)
#define MIB         (1ULL << 20)
#define GIB         (1ULL << 30)
#define TIB         (1ULL << 40)
#define FIELD(f)    .offset = offsetof(struct manifest, f)
#define DIGEST_FORM "blake2b: and 64 hexadecimal digits, as kosvm image import prints them"
#define USER_FORM                                                                                  \
	"an ordinary user of the guest: a uid such as 1000, uid:gid, or a name; never root"

enum {
	KEY_NAME,
	KEY_VERSION,
	KEY_KERNEL,
	KEY_INITRAMFS,
	KEY_ROOTFS,
	KEY_VCPUS,
	KEY_MEMORY,
	KEY_STATE,
	KEY_COMMAND,
	KEY_USER,
	KEY_WORKDIR,
	KEY_START_TIMEOUT,
	KEY_STOP_TIMEOUT,
	KEY_CONSOLE,
	KEY_LOG,
	KEY_COUNT,
};

/* docs/man/kosvm-manifest.5 says the same to people. */
static const struct manifest_key keys[KEY_COUNT] = {
	[KEY_NAME] = { .section = "agent",
		.name = "name",
		.parse = value_name,
		FIELD(name),
		.required = true,
		.expected = "1 to 63 lower-case letters, digits and -, no - at either end" },
	[KEY_VERSION] = { .section = "agent",
		.name = "version",
		.parse = value_u32,
		FIELD(version),
		.standard = "1",
		.min = 0,
		.max = UINT32_MAX,
		.expected = "a whole number such as 3",
		.range = "0 to 4294967295" },
	[KEY_KERNEL] = { .section = "image",
		.name = "kernel",
		.parse = value_digest,
		FIELD(kernel),
		.required = true,
		.expected = DIGEST_FORM },
	[KEY_INITRAMFS] = { .section = "image",
		.name = "initramfs",
		.parse = value_digest,
		FIELD(initramfs),
		.required = true,
		.expected = DIGEST_FORM },
	[KEY_ROOTFS] = { .section = "image",
		.name = "rootfs",
		.parse = value_digest,
		FIELD(rootfs),
		.required = true,
		.expected = DIGEST_FORM },
	[KEY_VCPUS] = { .section = "resources",
		.name = "vcpus",
		.parse = value_u32,
		FIELD(vcpus),
		.standard = "1",
		.min = 1,
		.max = 32,
		.expected = "a whole number such as 2",
		.range = "1 to 32" },
	[KEY_MEMORY] = { .section = "resources",
		.name = "memory",
		.parse = value_size,
		FIELD(memory),
		.standard = "128M",
		.min = 64 * MIB,
		.max = 64 * GIB,
		.step = MIB,
		.expected = "a size such as 128M",
		.range = "64M to 64G in steps of 1M" },
	[KEY_STATE] = { .section = "resources",
		.name = "state",
		.parse = value_size,
		FIELD(state),
		.standard = "0",
		.or_zero = true,
		.min = 8 * MIB,
		.max = 16 * TIB,
		.step = 4 * KIB,
		.expected = "a size such as 16M, or 0 for no state disk",
		.range = "0, or 8M to 16T in steps of 4K" },
	[KEY_COMMAND] = { .section = "run",
		.name = "command",
		.parse = value_command,
		FIELD(argv),
		.required = true,
		.expected = "the absolute path of a program of the guest, and its arguments" },
	[KEY_USER] = { .section = "run",
		.name = "user",
		.parse = value_user,
		FIELD(user),
		.standard = "1000:1000",
		.expected = USER_FORM },
	[KEY_WORKDIR] = { .section = "run",
		.name = "workdir",
		.parse = value_workdir,
		FIELD(workdir),
		.expected = "an absolute path of at most 255 bytes without . and .. in it" },
	[KEY_START_TIMEOUT] = { .section = "run",
		.name = "start-timeout",
		.parse = value_duration,
		FIELD(start_timeout_ns),
		.standard = "60s",
		.min = CLOCK_NS_PER_S,
		.max = 3600 * CLOCK_NS_PER_S,
		.expected = "a duration such as 60s",
		.range = "1s to 1h" },
	[KEY_STOP_TIMEOUT] = { .section = "run",
		.name = "stop-timeout",
		.parse = value_duration,
		FIELD(stop_timeout_ns),
		.standard = "10s",
		.min = CLOCK_NS_PER_S,
		.max = 3600 * CLOCK_NS_PER_S,
		.expected = "a duration such as 10s",
		.range = "1s to 1h" },
	[KEY_CONSOLE] = { .section = "run",
		.name = "console",
		.parse = value_size,
		FIELD(console_max),
		.standard = "1M",
		.min = 4 * KIB,
		.max = 64 * MIB,
		.expected = "a size such as 1M",
		.range = "4K to 64M" },
	[KEY_LOG] = { .section = "run",
		.name = "log",
		.parse = value_size,
		FIELD(log_max),
		.standard = "16M",
		.min = 4 * KIB,
		.max = 16 * GIB,
		.expected = "a size such as 16M",
		.range = "4K to 16G" },
};

enum { SECTION_AGENT, SECTION_IMAGE, SECTION_RESOURCES, SECTION_RUN, SECTION_ENV, SECTION_COUNT };

static const char *const sections[SECTION_COUNT] = {
	[SECTION_AGENT] = "agent",
	[SECTION_IMAGE] = "image",
	[SECTION_RESOURCES] = "resources",
	[SECTION_RUN] = "run",
	[SECTION_ENV] = "env",
};

struct parse {
	const char *file;
	struct manifest m;
	unsigned section_line[SECTION_COUNT]; /* 0: not seen */
	unsigned key_line[KEY_COUNT];
	unsigned env_line[MANIFEST_ENV_MAX];
	size_t env_count;
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
		"%s:%u: unknown section [%s]: expected [agent], [image], [resources], [run] or "
		"[env]",
		p->file, line, name);
}

static int unknown_key(
	struct parse *p, unsigned line, const char *section, const char *key, struct kerr *e)
{
	const struct manifest_key *close = NULL;
	unsigned best = UINT_MAX;

	for (size_t i = 0; i < KEY_COUNT; i++) {
		/* A key of the section at hand wins a tie. */
		unsigned d = nearest_distance(key, keys[i].name);
		bool here = strcmp(section, keys[i].section) == 0;

		if (nearest_plausible(key, keys[i].name, d) && 2 * d + !here < best) {
			best = 2 * d + !here;
			close = &keys[i];
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

static int on_env(struct parse *p, unsigned line, const char *name, const char *v, struct kerr *e)
{
	size_t name_len = strlen(name);
	size_t size = name_len + strlen(v) + 2;
	char *var;

	if (!value_env_name_ok(name)) {
		(void)kerr_set(e, EINVAL, "expected a name of letters, digits and _");
		return wrap_value(p, line, name, v, e);
	}
	for (size_t i = 0; i < p->env_count; i++) {
		if (strncmp(p->m.env[i], name, name_len) == 0 && p->m.env[i][name_len] == '=') {
			(void)kerr_set(e, EINVAL, "given already at line %u: expected it once",
				p->env_line[i]);
			return wrap_value(p, line, name, v, e);
		}
	}
	if (p->env_count == MANIFEST_ENV_MAX) {
		(void)kerr_set(e, E2BIG, "expected at most %u variables", MANIFEST_ENV_MAX);
		return wrap_value(p, line, name, v, e);
	}
	var = malloc(size);
	if (!var)
		return kerr_set(e, ENOMEM, "%s: out of memory", p->file);
	(void)snprintf(var, size, "%s=%s", name, v);
	p->env_line[p->env_count] = line;
	p->m.env[p->env_count++] = var;
	return 0;
}

static int on_pair(void *user, unsigned line, const char *section, const char *name, const char *v,
	struct kerr *e)
{
	struct parse *p = user;

	if (strcmp(section, sections[SECTION_ENV]) == 0)
		return on_env(p, line, name, v, e);
	for (size_t i = 0; i < KEY_COUNT; i++) {
		const struct manifest_key *k = &keys[i];

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
		const struct manifest_key *k = &keys[i];

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
	if (!p.m.env)
		return kerr_set(e, ENOMEM, "%s: out of memory", file);
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
	m->argv = NULL;
	m->env = NULL;
}
