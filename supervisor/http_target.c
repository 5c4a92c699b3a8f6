#include "http_target.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* jansson takes nothing but UTF-8 for a string. */
static bool is_utf8(const char *s)
{
	json_t *t = json_string(s);

	json_decref(t);
	return t;
}

/* In place; plus: '+' is a space, as in forms. */
static int decode(char *s, bool plus, struct kerr *e)
{
	char *out = s;

	for (const char *in = s; *in; in++) {
		int hi, lo;

		if (*in != '%') {
			*out++ = plus && *in == '+' ? ' ' : *in;
			continue;
		}
		hi = hex_digit(in[1]);
		lo = hi < 0 ? -1 : hex_digit(in[2]);
		if (lo < 0)
			return kerr_set(
				e, EINVAL, "address: expected two hexadecimal digits behind %%");
		if (hi == 0 && lo == 0)
			return kerr_set(e, EINVAL, "address: %%00 is in no name");
		*out++ = (char)(hi * 16 + lo);
		in += 2;
	}
	*out = '\0';
	return is_utf8(s) ? 0 : kerr_set(e, EINVAL, "address: expected UTF-8");
}

static int parse_path(struct http_target *t, char *path, struct kerr *e)
{
	char *next = path + 1; /* behind the first slash */
	int r = 0;

	while (next && r == 0) {
		char *part = next;
		char *slash = strchr(part, '/');

		next = slash ? slash + 1 : NULL;
		if (slash)
			*slash = '\0';
		if (t->nparts == HTTP_PARTS_MAX)
			return kerr_set(
				e, ENOENT, "no such address; docs/openapi.yaml has them all");
		t->parts[t->nparts++] = part;
		r = decode(part, false, e);
	}
	return r;
}

static int parse_query(struct http_target *t, char *query, struct kerr *e)
{
	char *save = NULL;
	int r = 0;

	for (char *p = strtok_r(query, "&", &save); p && r == 0; p = strtok_r(NULL, "&", &save)) {
		char *eq = strchr(p, '=');

		if (t->nquery == HTTP_QUERY_MAX)
			return kerr_set(e, EINVAL, "address: more than %u query parameters",
				HTTP_QUERY_MAX);
		if (eq)
			*eq = '\0';
		t->query[t->nquery].key = p;
		t->query[t->nquery].value = eq ? eq + 1 : "";
		t->nquery++;
		r = decode(p, true, e);
		if (r == 0 && eq)
			r = decode(eq + 1, true, e);
	}
	return r;
}

int http_target_parse(struct http_target *ret, const char *raw, struct kerr *e)
{
	static const char scheme[] = "http://";
	char *query;
	char *path;
	int r;

	if (strlen(raw) > HTTP_TARGET_MAX)
		return kerr_set(e, EINVAL, "address: longer than %u bytes", HTTP_TARGET_MAX);
	/* The absolute form, which every server has to understand. */
	if (strncmp(raw, scheme, strlen(scheme)) == 0)
		raw = strchrnul(raw + strlen(scheme), '/');
	if (raw[0] != '/')
		return kerr_set(e, EINVAL, "address: expected a path that begins with /");
	ret->text = strdup(raw);
	if (!ret->text)
		return kerr_errno(e, ENOMEM, "address");
	path = ret->text;
	query = strchr(path, '?');
	if (query)
		*query++ = '\0';
	r = parse_path(ret, path, e);
	return r == 0 && query ? parse_query(ret, query, e) : r;
}

void http_target_done(struct http_target *t)
{
	free(t->text);
	*t = (struct http_target){ 0 };
}

const char *http_target_query(const struct http_target *t, const char *key)
{
	for (size_t i = 0; i < t->nquery; i++) {
		if (strcmp(t->query[i].key, key) == 0)
			return t->query[i].value;
	}
	return NULL;
}
