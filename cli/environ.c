#include "environ.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int environ_add(json_t *env, const char *text, struct kerr *e)
{
	const char *eq = strchr(text, '=');
	size_t len = eq ? (size_t)(eq - text) : strlen(text);
	const char *value = eq ? eq + 1 : getenv(text);

	if (len == 0)
		return kerr_set(e, EINVAL, "--env %s: expected NAME=VALUE or NAME", text);
	if (!value)
		return 0;
	if (json_object_setn_new(env, text, len, json_string(value)) < 0)
		return kerr_set(e, EINVAL, "--env: a variable is no valid UTF-8 text");
	return 0;
}
