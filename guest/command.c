#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <wire/guest_proto.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static int words_take(struct words *w, char *s)
{
	char **bigger;

	if (w->n >= COMMAND_WORDS_MAX)
		return -E2BIG;
	bigger = realloc(w->v, (w->n + 2) * sizeof(*w->v));
	if (!bigger)
		return -ENOMEM;
	w->v = bigger;
	w->v[w->n++] = s;
	w->v[w->n] = NULL;
	return 0;
}

int words_add(struct words *w, const char *s)
{
	_cleanup_free_ char *copy = strdup(s);
	int r;

	if (!copy)
		return -ENOMEM;
	r = words_take(w, copy);
	if (r == 0)
		copy = NULL;
	return r;
}

void words_done(struct words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i]);
	free(w->v);
	*w = (struct words){ 0 };
}

static bool same_name(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return n == strcspn(b, "=") && memcmp(a, b, n) == 0;
}

const char *words_env(const struct words *w, const char *name)
{
	for (size_t i = 0; i < w->n; i++) {
		if (same_name(w->v[i], name) && w->v[i][strlen(name)] == '=')
			return w->v[i] + strlen(name) + 1;
	}
	return NULL;
}

/* Adds NAME=value or replaces the one of that name. */
static int env_put(struct words *w, const char *var)
{
	for (size_t i = 0; i < w->n; i++) {
		if (same_name(w->v[i], var)) {
			char *copy = strdup(var);

			if (!copy)
				return -ENOMEM;
			free(w->v[i]);
			w->v[i] = copy;
			return 0;
		}
	}
	return words_add(w, var);
}

static int once_text(const struct guest_value *v, char **ret)
{
	if (*ret)
		return -EPROTO; /* given twice */
	return guest_value_text(v, ret);
}

static int list_text(const struct guest_value *v, struct words *w)
{
	_cleanup_free_ char *s = NULL;
	int r = guest_value_text(v, &s);

	if (r == 0)
		r = words_take(w, s);
	if (r == 0)
		s = NULL;
	return r;
}

static bool is_variable(const char *s)
{
	size_t n = strcspn(s, "=");

	return n > 0 && s[n] == '=';
}

static int take_value(struct command *c, const struct guest_value *v)
{
	uint32_t n;
	int r;

	switch (v->field) {
	case GUEST_F_ARGV:
		return list_text(v, &c->argv);
	case GUEST_F_ENV:
		r = list_text(v, &c->env);
		return r == 0 && !is_variable(c->env.v[c->env.n - 1]) ? -EPROTO : r;
	case GUEST_F_USER:
		return once_text(v, &c->user);
	case GUEST_F_CWD:
		r = once_text(v, &c->cwd);
		return r == 0 && c->cwd[0] != '/' ? -EPROTO : r;
	case GUEST_F_HOSTNAME:
		return once_text(v, &c->hostname);
	case GUEST_F_TIME_NS:
		return guest_value_u64(v, &c->time_ns);
	case GUEST_F_HAS_STATE:
		r = guest_value_u32(v, &n);
		if (r == 0)
			c->has_state = n != 0;
		return r;
	case GUEST_F_TTY:
		r = guest_value_u32(v, &n);
		c->tty = r == 0 && n != 0;
		return r;
	case GUEST_F_STDIN:
		r = guest_value_u32(v, &n);
		c->open_stdin = r == 0 && n != 0;
		return r;
	case GUEST_F_ROWS:
		return guest_value_u32(v, &c->rows);
	case GUEST_F_COLS:
		return guest_value_u32(v, &c->cols);
	default:
		return 0; /* of a later version */
	}
}

int command_decode(struct command *c, const uint8_t *payload, size_t len, struct kerr *e)
{
	struct guest_value v;
	size_t pos = 0;
	int r;

	while ((r = guest_field_next(payload, len, &pos, &v)) > 0) {
		r = take_value(c, &v);
		if (r < 0)
			return kerr_errno(
				e, -r, "field %d of the command from the host", (int)v.field);
	}
	if (r < 0)
		return kerr_set(e, EPROTO, "the command from the host is malformed");
	if (c->argv.n == 0 || c->argv.v[0][0] == '\0')
		return kerr_set(e, EPROTO, "the command from the host names no program");
	return 0;
}

void command_done(struct command *c)
{
	words_done(&c->argv);
	words_done(&c->env);
	free(c->user);
	free(c->cwd);
	free(c->hostname);
	*c = (struct command){ 0 };
}

static int env_put_pair(struct words *w, const char *name, const char *value)
{
	char var[512];
	int n = snprintf(var, sizeof(var), "%s=%s", name, value);

	return n < 0 || (size_t)n >= sizeof(var) ? -E2BIG : env_put(w, var);
}

int command_environ(const struct command *c, const struct command *base, const struct user *u,
	const char *home, struct words *ret)
{
	struct words w = { 0 };
	int r;

	r = env_put_pair(&w, "PATH", DEFAULT_PATH);
	if (r == 0)
		r = env_put_pair(&w, "HOME", home);
	if (r == 0)
		r = env_put_pair(&w, "USER", u->name);
	if (r == 0)
		r = env_put_pair(&w, "LOGNAME", u->name);
	if (r == 0 && c->tty)
		r = env_put_pair(&w, "TERM", "xterm");
	for (size_t i = 0; r == 0 && base && i < base->env.n; i++)
		r = env_put(&w, base->env.v[i]);
	for (size_t i = 0; r == 0 && i < c->env.n; i++)
		r = env_put(&w, c->env.v[i]);
	if (r < 0)
		words_done(&w);
	else
		*ret = w;
	return r;
}
