/* What a person chose for one agent beside its manifest, checked and kept. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <base/cleanup.h>
#include <base/clock.h>

#include "agent.h"

#define LAUNCH_ENV_BYTES  32768u   /* with the manifest's it must fit into one frame to the guest */
#define LAUNCH_SIDE_MAX   10000u   /* rows, columns */
#define LAUNCH_LINGER_MAX 3600000u /* milliseconds */

static void decrefp(json_t **o)
{
	json_decref(*o);
}

static int check_env(const json_t *env, struct kerr *e)
{
	const char *name;
	json_t *value;
	size_t total = 0;

	if (!json_is_object(env))
		return kerr_set(e, EINVAL, "env: expected an object of NAME: \"value\"");
	if (json_object_size(env) > MANIFEST_ENV_MAX)
		return kerr_set(e, E2BIG, "env: expected at most %u variables", MANIFEST_ENV_MAX);
	json_object_foreach((json_t *)env, name, value)
	{
		if (!manifest_env_name_ok(name))
			return kerr_set(e, EINVAL,
				"env: %.64s: expected a name of letters, digits and _", name);
		if (!json_is_string(value) ||
			strlen(json_string_value(value)) != json_string_length(value))
			return kerr_set(e, EINVAL, "env: %.64s: expected a text without NUL", name);
		total += strlen(name) + json_string_length(value) + 2;
	}
	if (total > LAUNCH_ENV_BYTES)
		return kerr_set(
			e, E2BIG, "env: %zu bytes: expected at most %u", total, LAUNCH_ENV_BYTES);
	return 0;
}

int launch_format(const struct agent_launch *l, char **ret_text, struct kerr *e)
{
	_cleanup_(decrefp) json_t *o = NULL;

	if (l->env && check_env(l->env, e) < 0)
		return -e->code;
	if (l->rows > LAUNCH_SIDE_MAX || l->cols > LAUNCH_SIDE_MAX)
		return kerr_set(e, EINVAL, "terminal of %u x %u: expected at most %u", l->rows,
			l->cols, LAUNCH_SIDE_MAX);
	if (l->linger_ms > LAUNCH_LINGER_MAX)
		return kerr_set(e, EINVAL, "linger_ms: expected at most %u", LAUNCH_LINGER_MAX);
	o = json_pack("{s:b, s:b, s:b, s:i, s:i, s:i}", "tty", l->tty, "stdin", l->open_stdin,
		"remove", l->remove, "linger_ms", (int)l->linger_ms, "rows", (int)l->rows, "cols",
		(int)l->cols);
	if (o && l->env && json_object_set(o, "env", (json_t *)l->env) < 0)
		return kerr_errno(e, ENOMEM, "launch");
	*ret_text = o ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	return *ret_text ? 0 : kerr_errno(e, ENOMEM, "launch");
}

static int take_env(const json_t *env, struct launch *l, struct kerr *e)
{
	const char *name;
	json_t *value;
	size_t n = 0;

	l->env = calloc(json_object_size(env) + 1, sizeof(*l->env));
	if (!l->env)
		return kerr_errno(e, ENOMEM, "launch");
	json_object_foreach((json_t *)env, name, value)
	{
		if (asprintf(&l->env[n], "%s=%s", name, json_string_value(value)) < 0) {
			l->env[n] = NULL;
			return kerr_errno(e, ENOMEM, "launch");
		}
		n++;
	}
	return 0;
}

int launch_parse(const char *text, struct launch *ret, struct kerr *e)
{
	_cleanup_(decrefp) json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const json_t *env = json_object_get(o, "env");
	struct launch l = { 0 };

	if (!json_is_object(o))
		return kerr_set(e, EINVAL, "database: launch is not a JSON object");
	if (env && check_env(env, e) < 0)
		return -e->code;
	l.tty = json_is_true(json_object_get(o, "tty"));
	l.open_stdin = json_is_true(json_object_get(o, "stdin"));
	l.remove = json_is_true(json_object_get(o, "remove"));
	l.linger_ns =
		(uint64_t)json_integer_value(json_object_get(o, "linger_ms")) * CLOCK_NS_PER_MS;
	l.rows = (unsigned)json_integer_value(json_object_get(o, "rows"));
	l.cols = (unsigned)json_integer_value(json_object_get(o, "cols"));
	if (env && take_env(env, &l, e) < 0) {
		launch_done(&l);
		return -e->code;
	}
	*ret = l;
	return 0;
}

void launch_done(struct launch *l)
{
	for (char **v = l->env; v && *v; v++)
		free(*v);
	free(l->env);
	l->env = NULL;
}
