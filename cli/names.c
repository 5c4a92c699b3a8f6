#include <stdio.h>

#include "names.h"

int call_each(const char *verb, const char *api_verb, const char *key, int count, char **names,
	json_t *(*make)(void), void (*done)(const char *name, const struct call *c))
{
	int code = 0;

	for (int i = 0; i < count; i++) {
		struct call call = CALL_INIT;
		struct kerr err = { 0 };
		json_t *request = make ? make() : json_object();

		if (request && json_object_set_new(request, key, json_string(names[i])) < 0) {
			json_decref(request);
			request = NULL; /* which call_kosvmd reports */
		}
		if (call_kosvmd(api_verb, request, NULL, 0, NULL, NULL, &call, &err) < 0)
			code = cli_fail(verb, &err);
		else
			done(names[i], &call);
		call_done(&call);
	}
	return code;
}

int names_each(const char *verb, const char *api_verb, int count, char **names,
	json_t *(*make)(void), void (*done)(const char *name, const struct call *c))
{
	return call_each(verb, api_verb, "name", count, names, make, done);
}

void names_print(const char *name, const struct call *c)
{
	(void)c;
	(void)puts(name);
}
