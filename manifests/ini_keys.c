#include "ini_keys.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "nearest.h"
#include "text.h"

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

int ini_keys_wrap(
	const struct ini_keys *p, unsigned line, const char *key, const char *v, struct kerr *e)
{
	return kerr_wrap(e, "%s:%u: %s = %s", p->file, line, show(key).text, show(v).text);
}

/* "[agent], [image] or [run]" */
static void list_sections(const struct ini_keys *p, char *buf, size_t len)
{
	size_t used = 0;

	for (size_t i = 0; i < p->section_count && used < len; i++)
		used += (size_t)snprintf(buf + used, len - used, "%s[%s]",
			i == 0                              ? ""
				: i + 1 == p->section_count ? " or "
							    : ", ",
			p->sections[i]);
}

int ini_keys_section(struct ini_keys *p, unsigned line, const char *name, struct kerr *e)
{
	const char *close = NULL;
	unsigned best = UINT_MAX;
	char all[256] = "";

	for (size_t i = 0; i < p->section_count; i++) {
		unsigned d = nearest_distance(name, p->sections[i]);

		if (d == 0 && p->section_line[i] != 0)
			return kerr_set(e, EINVAL,
				"%s:%u: [%s] is given already at line %u: expected it once",
				p->file, line, name, p->section_line[i]);
		if (d == 0) {
			p->section_line[i] = line;
			return 0;
		}
		if (d < best && nearest_plausible(name, p->sections[i], d)) {
			best = d;
			close = p->sections[i];
		}
	}
	if (close)
		return kerr_set(e, EINVAL, "%s:%u: unknown section [%s]: did you mean [%s]?",
			p->file, line, name, close);
	list_sections(p, all, sizeof(all));
	return kerr_set(
		e, EINVAL, "%s:%u: unknown section [%s]: expected %s", p->file, line, name, all);
}

static int unknown_key(
	struct ini_keys *p, unsigned line, const char *section, const char *key, struct kerr *e)
{
	const struct ini_key *close = NULL;
	unsigned best = UINT_MAX;

	for (size_t i = 0; i < p->count; i++) {
		/* A key of the section at hand wins a tie. */
		unsigned d = nearest_distance(key, p->keys[i].name);
		bool here = strcmp(section, p->keys[i].section) == 0;

		if (nearest_plausible(key, p->keys[i].name, d) && 2 * d + !here < best) {
			best = 2 * d + !here;
			close = &p->keys[i];
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

int ini_keys_pair(struct ini_keys *p, unsigned line, const char *section, const char *name,
	const char *v, struct kerr *e)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct ini_key *k = &p->keys[i];

		if (strcmp(k->section, section) != 0 || strcmp(k->name, name) != 0)
			continue;
		if (p->key_line[i] != 0) {
			(void)kerr_set(e, EINVAL, "given already at line %u: expected it once",
				p->key_line[i]);
			return ini_keys_wrap(p, line, name, v, e);
		}
		p->key_line[i] = line;
		return k->parse(k, v, p->out, e) < 0 ? ini_keys_wrap(p, line, name, v, e) : 0;
	}
	return unknown_key(p, line, section, name, e);
}

int ini_keys_fill_in(struct ini_keys *p, struct kerr *e)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct ini_key *k = &p->keys[i];

		if (p->key_line[i] != 0)
			continue;
		if (k->required)
			return kerr_set(e, EINVAL, "%s: %s is missing in section [%s]: expected %s",
				p->file, k->name, k->section, k->expected);
		if (k->standard && k->parse(k, k->standard, p->out, e) < 0)
			return kerr_wrap(e, "default of %s", k->name);
	}
	return 0;
}
