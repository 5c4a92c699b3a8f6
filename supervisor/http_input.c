#include "http_input.h"

#include <errno.h>
#include <string.h>

#include <base/units.h>

/* Before anything is built of it. Brackets in strings do not count. */
static int check_depth(const char *data, size_t len, struct kerr *e)
{
	unsigned depth = 0;
	bool text = false;

	for (size_t i = 0; i < len; i++) {
		char c = data[i];

		if (text && c == '\\')
			i++;
		else if (c == '"')
			text = !text;
		else if (!text && (c == '{' || c == '['))
			depth++;
		else if (!text && (c == '}' || c == ']') && depth > 0)
			depth--;
		if (depth > HTTP_DEPTH_MAX)
			return kerr_set(e, EINVAL, "body: nested deeper than %u", HTTP_DEPTH_MAX);
	}
	return 0;
}

static bool is_blank(const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] != ' ' && data[i] != '\t' && data[i] != '\r' && data[i] != '\n')
			return false;
	}
	return true;
}

int http_body_parse(const char *data, size_t len, json_t **ret, struct kerr *e)
{
	json_error_t je;
	json_t *body;
	int r;

	if (is_blank(data, len)) {
		*ret = json_object();
		return *ret ? 0 : kerr_errno(e, ENOMEM, "body");
	}
	r = check_depth(data, len, e);
	if (r < 0)
		return r;
	/* jansson takes UTF-8 only, and no NUL in a string. */
	body = json_loadb(data, len, JSON_REJECT_DUPLICATES, &je);
	if (!body)
		return kerr_set(
			e, EINVAL, "body: line %d, column %d: %s", je.line, je.column, je.text);
	if (!json_is_object(body)) {
		json_decref(body);
		return kerr_set(e, EINVAL, "body: expected a JSON object");
	}
	*ret = body;
	return 0;
}

static const struct http_field *find(const struct http_field *fields, const char *key)
{
	for (; fields && fields->key; fields++) {
		if (strcmp(fields->key, key) == 0)
			return fields;
	}
	return NULL;
}

static bool all_texts(const json_t *v)
{
	const json_t *item;
	const char *key;
	size_t i;

	if (json_is_array(v)) {
		json_array_foreach(v, i, item)
		{
			if (!json_is_string(item))
				return false;
		}
		return true;
	}
	json_object_foreach((json_t *)v, key, item)
	{
		if (!json_is_string(item))
			return false;
	}
	return json_is_object(v);
}

static int bad_number(const struct http_field *f, struct kerr *e)
{
	return kerr_set(e, EINVAL, "%s: expected a number from %lld to %lld", f->key,
		(long long)f->min, (long long)f->max);
}

static int check_value(const struct http_field *f, const json_t *v, struct kerr *e)
{
	switch (f->kind) {
	case HTTP_TEXT:
		if (!json_is_string(v))
			return kerr_set(e, EINVAL, "%s: expected a text", f->key);
		if (f->max && json_string_length(v) > (size_t)f->max)
			return kerr_set(
				e, EINVAL, "%s: longer than %lld bytes", f->key, (long long)f->max);
		return json_string_length(v) >= (size_t)f->min
			? 0
			: kerr_set(e, EINVAL, "%s: is empty", f->key);
	case HTTP_BOOL:
		return json_is_boolean(v)
			? 0
			: kerr_set(e, EINVAL, "%s: expected true or false", f->key);
	case HTTP_INT:
		return json_is_integer(v) && json_integer_value(v) >= f->min &&
				json_integer_value(v) <= f->max
			? 0
			: bad_number(f, e);
	case HTTP_LIST:
		if (!json_is_array(v) || !all_texts(v))
			return kerr_set(e, EINVAL, "%s: expected a list of texts", f->key);
		return json_array_size(v) >= (size_t)f->min && json_array_size(v) <= (size_t)f->max
			? 0
			: kerr_set(e, EINVAL, "%s: expected %lld to %lld texts", f->key,
				  (long long)f->min, (long long)f->max);
	case HTTP_MAP:
		return json_is_object(v) && all_texts(v)
			? 0
			: kerr_set(e, EINVAL, "%s: expected an object of texts", f->key);
	}
	return kerr_set(e, EINVAL, "%s: of no kind", f->key);
}

int http_body_check(const json_t *body, const struct http_field *fields, struct kerr *e)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)body, key, v)
	{
		const struct http_field *f = find(fields, key);
		int r;

		if (!f)
			return kerr_set(e, EINVAL, "body: nothing is named \"%.64s\" here", key);
		r = f->nullable && json_is_null(v) ? 0 : check_value(f, v, e);
		if (r < 0)
			return r;
	}
	for (; fields && fields->key; fields++) {
		if (fields->required && !json_object_get(body, fields->key))
			return kerr_set(e, EINVAL, "body: \"%s\" is missing", fields->key);
	}
	return 0;
}

static int parse_bool(const char *s)
{
	if (strcmp(s, "true") == 0 || strcmp(s, "1") == 0 || strcmp(s, "") == 0)
		return 1;
	return strcmp(s, "false") == 0 || strcmp(s, "0") == 0 ? 0 : -EINVAL;
}

static int check_parameter(const struct http_field *f, const char *value, struct kerr *e)
{
	uint64_t n;

	if (f->kind == HTTP_BOOL && parse_bool(value) < 0)
		return kerr_set(e, EINVAL, "%s: expected true or false", f->key);
	if (f->kind == HTTP_INT &&
		(units_parse_u64(value, (uint64_t)f->max, &n) < 0 || n < (uint64_t)f->min))
		return bad_number(f, e);
	return 0;
}

/* Is it there before `i`, too? */
static bool is_again(const struct http_target *t, size_t i)
{
	for (size_t j = 0; j < i; j++) {
		if (strcmp(t->query[j].key, t->query[i].key) == 0)
			return true;
	}
	return false;
}

int http_query_check(const struct http_target *t, const struct http_field *fields, struct kerr *e)
{
	for (size_t i = 0; i < t->nquery; i++) {
		const char *key = t->query[i].key;
		const struct http_field *f = find(fields, key);
		int r;

		if (!f)
			return kerr_set(e, EINVAL, "query: nothing is named \"%.64s\" here", key);
		if (!f->repeat && is_again(t, i))
			return kerr_set(e, EINVAL, "query: %s is there twice", key);
		r = check_parameter(f, t->query[i].value, e);
		if (r < 0)
			return r;
	}
	return 0;
}

bool http_query_bool(const struct http_target *t, const char *key, bool fallback)
{
	const char *s = http_target_query(t, key);

	return s ? parse_bool(s) == 1 : fallback;
}

int64_t http_query_int(const struct http_target *t, const char *key, int64_t fallback)
{
	const char *s = http_target_query(t, key);
	uint64_t n;

	return s && units_parse_u64(s, INT64_MAX, &n) == 0 ? (int64_t)n : fallback;
}
