#include "url.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct url {
	char *text;
	size_t len;
	bool queried;
};

static void append(struct url *u, const char *s, size_t n)
{
	char *bigger = realloc(u->text, u->len + n + 1);

	if (!bigger)
		abort();
	u->text = bigger;
	memcpy(u->text + u->len, s, n);
	u->len += n;
	u->text[u->len] = '\0';
}

/* RFC 3986, 2.3: unreserved characters stand for themselves. */
static bool unreserved(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		c == '-' || c == '_' || c == '~' || c == '.';
}

static void append_encoded(struct url *u, const char *s)
{
	/* "." and ".." alone are directions, not names. */
	bool dots = strcmp(s, ".") == 0 || strcmp(s, "..") == 0;

	for (; *s; s++) {
		char hex[4];

		if (unreserved((unsigned char)*s) && !dots) {
			append(u, s, 1);
			continue;
		}
		(void)snprintf(hex, sizeof(hex), "%%%02X", (unsigned char)*s);
		append(u, hex, 3);
	}
}

struct url *url_new(const char *begin)
{
	struct url *u = calloc(1, sizeof(*u));

	if (!u)
		abort();
	append(u, begin, strlen(begin));
	return u;
}

void url_segment(struct url *u, const char *text)
{
	append(u, "/", 1);
	append_encoded(u, text);
}

void url_query(struct url *u, const char *key, const char *value)
{
	append(u, u->queried ? "&" : "?", 1);
	u->queried = true;
	append(u, key, strlen(key));
	append(u, "=", 1);
	append_encoded(u, value);
}

void url_query_u64(struct url *u, const char *key, uint64_t value)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	url_query(u, key, text);
}

const char *url_text(const struct url *u)
{
	return u->text;
}

void url_free(struct url *u)
{
	if (!u)
		return;
	free(u->text);
	free(u);
}

struct url *url_agent(const char *ref, const char *action)
{
	struct url *u = url_new("/v1/agents");

	url_segment(u, ref);
	if (action)
		url_segment(u, action);
	return u;
}
