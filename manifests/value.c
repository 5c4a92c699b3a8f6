#include "value.h"

#include <errno.h>
#include <string.h>

#include <base/units.h>

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int bad_form(const struct ini_key *k, struct kerr *e)
{
	return kerr_set(e, EINVAL, "expected %s", k->expected);
}

bool manifest_name_ok(const char *s)
{
	size_t len = strlen(s);

	if (len == 0 || len > MANIFEST_NAME_MAX || s[0] == '-' || s[len - 1] == '-')
		return false;
	for (const char *p = s; *p; p++) {
		if (!is_lower(*p) && !is_digit(*p) && *p != '-')
			return false;
	}
	return true;
}

bool manifest_label_ok(const char *s)
{
	size_t len = strlen(s);

	if (len == 0 || len > MANIFEST_LABEL_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		bool inside = i > 0 && i + 1 < len && strchr("-._/", s[i]);

		if (!is_lower(s[i]) && !is_digit(s[i]) && !inside)
			return false;
	}
	return true;
}

bool manifest_env_name_ok(const char *s)
{
	if (is_digit(*s) || *s == '\0')
		return false;
	for (; *s; s++) {
		if (!is_lower(*s) && !(*s >= 'A' && *s <= 'Z') && !is_digit(*s) && *s != '_')
			return false;
	}
	return true;
}

static void *field(const struct ini_key *k, void *out)
{
	return (char *)out + k->offset;
}

int value_name(const struct ini_key *k, const char *v, void *out, struct kerr *e)
{
	if (!manifest_name_ok(v))
		return bad_form(k, e);
	memcpy(field(k, out), v, strlen(v) + 1);
	return 0;
}

/* r: what the reading of v gave. */
static int check_range(const struct ini_key *k, int r, uint64_t v, struct kerr *e)
{
	if (r == -EINVAL)
		return bad_form(k, e);
	if (r == 0 && v == 0 && k->or_zero)
		return 0;
	if (r < 0 || v < k->min || v > k->max || (k->step && v % k->step))
		return kerr_set(e, EINVAL, "expected %s", k->range);
	return 0;
}

int value_u32(const struct ini_key *k, const char *v, void *out, struct kerr *e)
{
	uint64_t n = 0;
	int r = units_parse_u64(v, UINT32_MAX, &n);

	r = check_range(k, r, n, e);
	if (r == 0)
		*(uint32_t *)field(k, out) = (uint32_t)n;
	return r;
}

int value_u64(const struct ini_key *k, const char *v, void *out, struct kerr *e)
{
	uint64_t n = 0;
	int r = units_parse_u64(v, UINT64_MAX, &n);

	r = check_range(k, r, n, e);
	if (r == 0)
		*(uint64_t *)field(k, out) = n;
	return r;
}

int value_share(const struct ini_key *k, const char *v, void *out, struct kerr *e)
{
	uint64_t n = 0;
	int r = units_parse_share(v, &n);

	r = check_range(k, r, n, e);
	if (r == 0)
		*(uint64_t *)field(k, out) = n;
	return r;
}

int value_size(const struct ini_key *k, const char *v, void *out, struct kerr *e)
{
	uint64_t n = 0;
	int r = units_parse_size(v, &n);

	r = check_range(k, r, n, e);
	if (r == 0)
		*(uint64_t *)field(k, out) = n;
	return r;
}

int value_duration(const struct ini_key *k, const char *v, void *out, struct kerr *e)
{
	uint64_t n = 0;
	int r = units_parse_duration(v, &n);

	r = check_range(k, r, n, e);
	if (r == 0)
		*(uint64_t *)field(k, out) = n;
	return r;
}

int value_choice(const struct ini_key *k, const char *v, void *out, struct kerr *e)
{
	for (int i = 0; k->choices[i]; i++) {
		if (strcmp(v, k->choices[i]) == 0) {
			memcpy(field(k, out), &i, sizeof(i));
			return 0;
		}
	}
	return bad_form(k, e);
}

int value_digest(const struct ini_key *k, const char *v, void *out, struct kerr *e)
{
	return digest_parse(v, field(k, out)) < 0 ? bad_form(k, e) : 0;
}

/* Absolute, no empty, "." or ".." component: it means in the guest what it says. */
static bool plain_path(const char *s)
{
	if (*s != '/')
		return false;
	if (s[1] == '\0')
		return true;
	while (*s == '/') {
		size_t n = strcspn(++s, "/");

		if (n == 0 || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
			return false;
		s += n;
	}
	return true;
}

int value_command(const struct ini_key *k, const char *v, void *out, struct kerr *e)
{
	char **words = NULL;
	int r = manifest_split_words(v, &words, e);

	if (r < 0)
		return r;
	if (!words[0] || !plain_path(words[0]) || words[0][1] == '\0') {
		manifest_free_words(words);
		return bad_form(k, e);
	}
	*(char ***)field(k, out) = words;
	return 0;
}

/* A number that may stand for a user or group: not root, not (uid_t)-1. */
static bool id_ok(const char *s, size_t len)
{
	char text[11];
	uint64_t n;

	if (len == 0 || len >= sizeof(text) || (len > 1 && s[0] == '0'))
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	return units_parse_u64(text, UINT32_MAX - 1, &n) == 0 && n != 0;
}

static bool user_name_ok(const char *s)
{
	if ((!is_lower(*s) && *s != '_') || strcmp(s, "root") == 0)
		return false;
	for (; *s; s++) {
		if (!is_lower(*s) && !is_digit(*s) && *s != '_' && *s != '-')
			return false;
	}
	return true;
}

int value_user(const struct ini_key *k, const char *v, void *out, struct kerr *e)
{
	size_t len = strlen(v);
	size_t uid = strcspn(v, ":");
	bool ok;

	if (len >= sizeof(((struct manifest *)0)->user))
		return bad_form(k, e);
	if (is_digit(*v))
		ok = id_ok(v, uid) && (v[uid] == '\0' || id_ok(v + uid + 1, len - uid - 1));
	else
		ok = user_name_ok(v);
	if (!ok)
		return bad_form(k, e);
	memcpy(field(k, out), v, len + 1);
	return 0;
}

int value_workdir(const struct ini_key *k, const char *v, void *out, struct kerr *e)
{
	size_t len = strlen(v);

	if (len >= sizeof(((struct manifest *)0)->workdir) || !plain_path(v))
		return bad_form(k, e);
	memcpy(field(k, out), v, len + 1);
	return 0;
}
